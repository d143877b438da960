"""What a conversion costs: rows of runtimes against the row in torch of the same weights."""
