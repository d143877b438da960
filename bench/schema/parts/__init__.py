"""The parts of a :class:`bench.schema.result.Result`, each written by one pass or by the training."""
