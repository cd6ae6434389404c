"""Benchmark of the engines on this machine, without ROS: `erfnet benchmark`."""
