"""The accuracy pass in shards: each worker predicts a share of the images, and one merges and evaluates them all."""
