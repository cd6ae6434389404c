"""Evaluation results as typed objects and JSON."""
