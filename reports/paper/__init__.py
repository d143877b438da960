"""A table for a paper: the columns and rows that its author chooses."""
