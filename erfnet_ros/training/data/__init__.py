"""Training frames, augmentation and batches."""
