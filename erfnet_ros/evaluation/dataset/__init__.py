"""Scores of a checkpoint on a labeled data set."""
