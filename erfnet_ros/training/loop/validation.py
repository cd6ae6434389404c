"""Validation of a network during training, on whole frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from erfnet_ros.core.array_types import VOID, ConfusionMatrix, Pixels
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.config.schedule import Plan
from erfnet_ros.training.data.augmentation import to_device
from erfnet_ros.training.data.frame_store import MemoryFrames, TrainingFrames
from erfnet_ros.training.loop.lightning_module import labels_of, logits_of

_PIXELS_AT_ONCE = 2**22
"""Pixels that a GPU segments together: 24 frames of CamVid, 2 of Cityscapes; enough to keep it busy."""


@dataclass(frozen=True)
class ValidationSet:
    """Frames of a split, and the numbers of those that are segmented while training."""

    frames: TrainingFrames
    numbers: Sequence[int]
    split: str


@torch.no_grad()
def count_pixels(network: ERFNet, plan: Plan, frames: TrainingFrames, *, numbers: Sequence[int]) -> Tensor:
    """Count pixels of some frames by true class (rows) and predicted class (columns), in the caller's autocast.

    An encoder stage predicts at an eighth of the resolution. The network is left in evaluation mode.

    Returns:
        (C, C) int64 on the network's device.
    """
    network.eval()
    classes, device = network.num_classes, device_of(network)
    logits = logits_of(plan)
    # One more for void.
    counts = torch.zeros(classes * classes + 1, dtype=torch.int64, device=device)
    at_once = _frames_at_once(frames, device)
    for first in range(0, len(numbers), at_once):
        images, labels = _gathered(frames, numbers[first : first + at_once], device)
        x = images.permute(0, 3, 1, 2).float().div_(255).contiguous(memory_format=torch.channels_last)
        predicted = logits(network, x).argmax(1)
        ground_truth = labels_of(plan, labels).long()
        pairs = torch.where(ground_truth == VOID, classes * classes, ground_truth * classes + predicted).flatten()
        # Not bincount: on a GPU it waits for the largest of the numbers.
        counts.scatter_add_(0, pairs, torch.ones_like(pairs))
    return counts[:-1].view(classes, classes)


def with_void_column(matrix: Tensor) -> ConfusionMatrix:
    """Return the matrix as the metrics read it; a network in training always predicts a class."""
    counts: ConfusionMatrix = np.pad(matrix.cpu().numpy(), ((0, 0), (0, 1)))
    return counts


@torch.no_grad()
def predict(network: ERFNet, plan: Plan, image: Pixels) -> Pixels:
    """Return the class ids (H', W') uint8 that the stage's head predicts for an image (H, W, 3) uint8."""
    network.eval()
    pixels = torch.from_numpy(image).to(device_of(network)).permute(2, 0, 1)[None]
    x = pixels.float().div_(255).contiguous(memory_format=torch.channels_last)
    labels: Pixels = logits_of(plan)(network, x).argmax(1)[0].byte().cpu().numpy()
    return labels


def device_of(network: ERFNet) -> torch.device:
    """Return where a network's weights are."""
    return next(network.parameters()).device


def _frames_at_once(frames: TrainingFrames, device: torch.device) -> int:
    """Return how many frames are segmented together: on a GPU many small ones of one size, elsewhere one."""
    if device.type != "cuda" or frames.size is None:
        return 1
    return max(1, _PIXELS_AT_ONCE // (frames.size[0] * frames.size[1]))


def _gathered(frames: TrainingFrames, numbers: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return images (N, H, W, 3) and labels (N, H, W) of frames of one size, uint8, on the device."""
    if isinstance(frames, MemoryFrames):
        index = to_device(torch.tensor(numbers), frames.images.device)
        return frames.images[index].to(device), frames.labels[index].to(device)
    images, labels = zip(*(frames.pixels(number) for number in numbers), strict=True)
    return to_device(torch.from_numpy(np.stack(images)), device), to_device(torch.from_numpy(np.stack(labels)), device)
