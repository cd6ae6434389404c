"""Augmentation of cropped images on the training device: color, blur, noise and pasting.

Sources: color jitter and blur: Chen et al. 2020 ("SimCLR", appendix A); noise: Hendrycks and Dietterich 2019; pasting:
Olsson et al. 2021 ("ClassMix") and Ghiasi et al. 2021 ("Simple Copy-Paste").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from erfnet_ros.core.array_types import VOID
from erfnet_ros.training.config.recipe import Phase
from erfnet_ros.training.data.augmentation import to_device

_GRAY = (0.299, 0.587, 0.114)
_BLUR_RADIUS = 4
"""Pixels: two of the largest standard deviations that a recipe may name."""


def apply_color_jitter(images: Tensor, color_jitter: Tensor, phase: Phase) -> Tensor:
    """Change brightness, contrast, saturation, gamma and tint; blur, and add noise from PyTorch's default generator.

    Args:
        images: (N, 3, H, W) uint8.
        color_jitter: (N, 9) float32, `Crop.color_jitter` of each, drawn for `phase`.

    Returns:
        (N, 3, H, W) float32 in 0..1.
    """
    brightness, contrast, saturation, gamma = (part.view(-1, 1, 1, 1) for part in color_jitter[:, :4].unbind(1))
    x = images.float().div_(255).pow_(gamma)
    x = x.sub_(0.5).mul_(contrast).add_(0.5).mul_(brightness).clamp_(0, 1)
    # Factors as numbers: a tensor of them would be copied to the device at each step.
    red, green, blue = (part * factor for part, factor in zip(x.tensor_split(3, 1), _GRAY, strict=True))
    gray = red.add_(green).add_(blue)
    x = torch.lerp(gray.expand_as(x), x, saturation).clamp_(0, 1)
    if phase.tint:
        x = x.mul_(color_jitter[:, 4:7, None, None]).clamp_(0, 1)
    if phase.blur:
        x = _blurred(x, color_jitter[:, 7])
    if phase.noise:
        x = x.addcmul_(color_jitter[:, 8].view(-1, 1, 1, 1), torch.randn_like(x)).clamp_(0, 1)
    return x


def paste(
    images: Tensor, labels: Tensor, *, classes: Sequence[int], fraction: float, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Paste the pixels of some classes onto a crop from the crop before it (onto the first, from the last).

    Each class is pasted with a probability of one half.

    Args:
        images: (N, 3, H, W) uint8; not changed, as the labels.
        labels: (N, H, W) uint8 class ids, void 255.
        classes: Which may be pasted.
        fraction: Share of the crops that are pasted onto.
        random: Generator on the CPU.
    """
    chosen = torch.rand(len(images), 1, generator=random) < fraction
    pasted = torch.zeros(len(images), VOID + 1, dtype=torch.bool)
    pasted[:, list(classes)] = chosen & (torch.rand(len(images), len(classes), generator=random) < 0.5)
    source_images, source_labels = images.roll(1, 0), labels.roll(1, 0)
    mask = to_device(pasted, labels.device).gather(1, source_labels.flatten(1).long()).view_as(labels)
    return torch.where(mask.unsqueeze(1), source_images, images), torch.where(mask, source_labels, labels)


def _blurred(x: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image of (N, 3, H, W) by a Gaussian of its own standard deviation (N,), pixels; 0 keeps it."""
    offsets = torch.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1, device=x.device)
    kernel = torch.exp(-((offsets / sigma.clamp(min=1e-3)[:, None]) ** 2) / 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)[:, None, None]
    padded = F.pad(x.reshape(1, -1, *x.shape[2:]), (_BLUR_RADIUS,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel, groups=len(kernel))
    return F.conv2d(rows, kernel.transpose(2, 3), groups=len(kernel)).view_as(x)
