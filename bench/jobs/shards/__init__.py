"""The shards of a row's accuracy: which there are, which are to be run, and the workers that run them side by side."""
