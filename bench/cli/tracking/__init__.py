"""What a command tells a tracker: the figures of its rows as the report has them."""
