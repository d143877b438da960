"""Jobs on other machines, of Ray and of Slurm: a node plans and runs a job as this machine would, and gives it back."""
