"""Runs the jobs of a study on the slots of this machine: which of them side by side, and which alone."""
