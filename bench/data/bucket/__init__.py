"""Data sets in a bucket, or elsewhere that fsspec reads."""
