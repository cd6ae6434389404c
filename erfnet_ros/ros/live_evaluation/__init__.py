"""Evaluation of a bag through the live node."""
