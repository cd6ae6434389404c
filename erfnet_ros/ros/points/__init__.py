"""Labeled point clouds of a depth camera: the node `projector`."""
