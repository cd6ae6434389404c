"""Benchmarks of the node and of the transport."""
