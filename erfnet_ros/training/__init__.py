"""Offline training. Nothing here is imported by the node."""
