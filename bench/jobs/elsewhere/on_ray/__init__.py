"""Ray: each job is a task on a node of its own choice of ours, and its folder comes back through the object store."""
