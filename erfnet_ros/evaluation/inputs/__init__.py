"""Frames and ground truth of a bag."""
