"""Install everything that needs no ROS; setup.cfg holds the metadata, CMakeLists.txt builds the ROS package."""

from setuptools import setup

setup()
