"""Processes beside the model's: they read images and evaluate, and leave Python's lock to the model."""
