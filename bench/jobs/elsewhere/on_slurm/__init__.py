"""Slurm: an array over the jobs of a command, which share its folder of results; submitted through submitit."""
