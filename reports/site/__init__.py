"""A static site over many runs and machines: leaderboards, pages of models and runs, trends, a search."""
