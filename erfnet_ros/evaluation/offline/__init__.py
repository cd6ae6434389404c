"""Evaluation of bags without ROS, in one process or many."""
