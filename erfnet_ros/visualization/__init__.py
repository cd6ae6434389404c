"""Overlays, contact sheets and HTML pages."""
