"""Jobs on other machines: Ray and Slurm. A node plans and runs a job as this machine would, and its folder comes back."""
