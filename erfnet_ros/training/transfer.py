"""Small numbers on their way to the device that trains."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(host: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the CPU's memory without waiting for what the GPU has still to do.

    Only pinned memory is copied so. PyTorch hands its bytes to nobody else before the copy is done, also where the
    pinned tensor is forgotten at once.
    """
    if device.type != "cuda":
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)
