"""ERFNet, its checkpoints and the Pipeline around it."""
