"""PyTorch engine on CPU and GPU."""
