"""Renderer of synthetic street scenes with ground truth."""
