"""The demo: the real node on a played camera."""
