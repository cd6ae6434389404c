"""Benchmark workloads: sizes of image and network, their number of operations, and the frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from erfnet_ros.commands.benchmark.statistics import Size, Workload
from erfnet_ros.core.array_types import Pixels
from erfnet_ros.data.frame_sources import open_source
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.models.erfnet import STRIDE, ERFNet
from erfnet_ros.models.pipeline import network_size

FULL = (1024, 512)
"""The size of the paper's figures: here the network also sees the whole image."""


def make_workloads(checkpoint: Checkpoint, cameras: Sequence[Size], batch: int) -> list[Workload]:
    """Return a workload for each camera size, the network size following; for `FULL` also one with both the same."""
    pairs: list[tuple[Size, Size | None]] = [(camera, None) for camera in cameras]
    if FULL in cameras and network_size(FULL, checkpoint.input_size, None) != FULL:
        pairs.insert(pairs.index((FULL, None)) + 1, (FULL, FULL))
    workloads = []
    for camera, input_size in pairs:
        network = network_size(camera, checkpoint.input_size, input_size)
        gmacs = network_macs(len(checkpoint.class_set), network) / 1e9
        workloads.append(Workload(camera, network, input_size, batch, gmacs))
    return workloads


def network_macs(num_classes: int, size: Size) -> int:
    """Return the multiplications of the convolutions for one image of (width, height), as the network computes them."""
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.ConvTranspose2d):
            # Each input is multiplied by the whole kernel, for each output channel.
            total += inputs[0].numel() * module.weight[0].numel()

    with torch.device("meta"):
        network = ERFNet(num_classes).eval()
        hooks = [module.register_forward_hook(count) for module in network.modules()]
        width, height = (-(-side // STRIDE) * STRIDE for side in size)
        network(torch.empty(1, 3, height, width))
    for hook in hooks:
        hook.remove()
    return total


def read_frames(spec: str, checkpoint: Checkpoint, workload: Workload, number: int) -> list[Pixels]:
    """Return batches (N, H, W, 3) uint8 RGB of a source, spread over its length.

    Args:
        spec: What `sources.open_source` opens; synthetic frames are rendered at the camera's size, others resized.
        checkpoint: Its class set reads the labels that a folder may have.
        workload: Size and batch.
        number: How many batches.

    Raises:
        SourceError: The source is missing, empty or damaged.
    """
    wanted = number * workload.batch
    # Synthetic frames at 15 Hz hardly differ from one to the next.
    source = open_source(spec, checkpoint.class_set, frames=15 * wanted, size=workload.camera)
    chosen = np.linspace(0, len(source) - 1, wanted).astype(int)
    frames = [_fitted(source[int(index)].rgb, workload.camera) for index in chosen]
    return [np.stack(frames[first : first + workload.batch]) for first in range(0, wanted, workload.batch)]


def _fitted(rgb: Pixels, size: Size) -> Pixels:
    if (rgb.shape[1], rgb.shape[0]) == size:
        return rgb
    method = cv2.INTER_AREA if rgb.shape[1] > size[0] else cv2.INTER_LINEAR
    resized: Any = cv2.resize(rgb, size, interpolation=method)
    return np.asarray(resized, np.uint8)
