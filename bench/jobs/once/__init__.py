"""What the rows of one study have in common is found out once."""
