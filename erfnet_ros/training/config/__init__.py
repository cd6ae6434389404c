"""Training recipes and requests."""
