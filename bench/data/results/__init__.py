"""COCO results files as other tools write them: read, checked against the data set, and brought into one form."""
