"""Has a model predict images, each once, and what it found recorded: all of a data set, or a shard of it."""
