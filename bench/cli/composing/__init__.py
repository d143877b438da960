"""Hydra as this command uses it: without work that it does not need, and with errors in one line."""
