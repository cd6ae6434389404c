"""Errors, array types, class sets, images and configuration: the bottom layer."""
