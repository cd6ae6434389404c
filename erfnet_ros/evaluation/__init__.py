"""Bags: read, replay, score, report."""
