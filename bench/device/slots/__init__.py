"""The slots of this machine: one GPU with its share of the cores near it, or a set of cores."""
