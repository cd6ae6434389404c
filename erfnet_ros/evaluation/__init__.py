"""Evaluation of bags and data sets: read, segment, score, report."""
