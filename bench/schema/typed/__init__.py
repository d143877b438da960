"""What is typed on a command line: overrides, their texts, and the names in free-form maps."""
