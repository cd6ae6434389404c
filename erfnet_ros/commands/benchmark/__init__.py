"""How fast the engines are on this machine, without ROS: `erfnet benchmark`."""
