"""Inference engines: uint8 images in, uint8 labels and confidence out."""
