"""Evaluation report as one HTML page."""
