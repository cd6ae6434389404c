"""Changes of cropped images on the training device: color jitter."""

from __future__ import annotations

import torch
from torch import Tensor

_GRAY = (0.299, 0.587, 0.114)


def apply_color_jitter(images: Tensor, color_jitter: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and gamma.

    Args:
        images: (N, 3, H, W) uint8.
        color_jitter: (N, 4) float32, `Crop.color_jitter` of each.

    Returns:
        (N, 3, H, W) float32 in 0..1.
    """
    brightness, contrast, saturation, gamma = (part.view(-1, 1, 1, 1) for part in color_jitter.unbind(1))
    x = images.float().div_(255).pow_(gamma)
    x = x.sub_(0.5).mul_(contrast).add_(0.5).mul_(brightness).clamp_(0, 1)
    # Factors as numbers: a tensor of them would have to travel to the device at each step.
    red, green, blue = (part * factor for part, factor in zip(x.tensor_split(3, 1), _GRAY, strict=True))
    gray = red.add_(green).add_(blue)
    return torch.lerp(gray.expand_as(x), x, saturation).clamp_(0, 1)
