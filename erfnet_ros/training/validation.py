"""Watch a network while it trains: mIoU over whole frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from erfnet_ros.metrics import VOID, ConfusionMatrix
from erfnet_ros.network import ERFNet
from erfnet_ros.training.frames import MemoryFrames, TrainingFrames
from erfnet_ros.training.module import labels_of, logits_of
from erfnet_ros.training.plan import Plan


@dataclass(frozen=True)
class Watched:
    """What is validated on.

    Attributes:
        frames: The split's frames.
        numbers: Which of them are looked at.
        split: The split's name.
    """

    frames: TrainingFrames
    numbers: Sequence[int]
    split: str


@torch.no_grad()
def matrix_of(network: ERFNet, plan: Plan, watched: Watched, device: torch.device, numbers: Sequence[int]) -> Tensor:
    """Count pixels by true class (rows) and answered class (columns), frame by frame.

    Args:
        network: In training or evaluation mode; left in evaluation mode.
        plan: The stage, whose head answers: in an encoder stage at an eighth of the resolution.
        watched: What to look at.
        device: Where the network is; the precision is that of the caller's autocast.
        numbers: Which of the frames.

    Returns:
        (C, C) int64 on the device.
    """
    network.eval()
    classes = network.num_classes
    predict = logits_of(plan)
    matrix = torch.zeros(classes * classes, dtype=torch.int64, device=device)
    for number in numbers:
        image, labels = frame_of(watched.frames, number)
        x = image.to(device).permute(2, 0, 1)[None].float().div_(255).contiguous(memory_format=torch.channels_last)
        answer = predict(network, x).argmax(1)
        truth = labels_of(plan, labels.to(device)[None]).long()
        pairs = torch.where(truth == VOID, classes * classes, truth * classes + answer)
        matrix += torch.bincount(pairs.flatten(), minlength=classes * classes + 1)[:-1]
    return matrix.view(classes, classes)


def with_void_column(matrix: Tensor) -> ConfusionMatrix:
    """Return the matrix as `erfnet_ros.metrics` reads it; a network in training always answers a class."""
    counts: ConfusionMatrix = np.pad(matrix.cpu().numpy(), ((0, 0), (0, 1)))
    return counts


@torch.no_grad()
def answer(network: ERFNet, plan: Plan, image: Tensor, device: torch.device) -> Tensor:
    """Return the class ids (H', W') uint8 that the stage's head gives an image (H, W, 3) uint8."""
    network.eval()
    x = image.to(device).permute(2, 0, 1)[None].float().div_(255).contiguous(memory_format=torch.channels_last)
    return logits_of(plan)(network, x).argmax(1)[0].byte()


def frame_of(frames: TrainingFrames, number: int) -> tuple[Tensor, Tensor]:
    """Return image (H, W, 3) and labels (H, W) of a frame, uint8, wherever they lie."""
    if isinstance(frames, MemoryFrames):
        return frames.images[number], frames.labels[number]
    image, labels = frames.pixels(number)
    return torch.from_numpy(image), torch.from_numpy(labels)
