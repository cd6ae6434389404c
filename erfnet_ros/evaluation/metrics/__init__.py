"""Segmentation, boundary, temporal and latency metrics."""
