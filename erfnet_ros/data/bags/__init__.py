"""Rosbag2 bags read, written and described without ROS."""
