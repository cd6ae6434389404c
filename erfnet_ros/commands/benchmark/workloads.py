"""Benchmark workloads: sizes of image and network, their number of operations, and the frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from erfnet_ros.commands.benchmark.statistics import Size, Workload
from erfnet_ros.core.array_types import Pixels
from erfnet_ros.data.frame_sources import open_source
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.models.erfnet import STRIDE, ERFNet
from erfnet_ros.models.pipeline import network_size

FULL = (1024, 512)
"""The size of the paper's figures: here the network also sees the whole image."""


@dataclass(frozen=True)
class Setup:
    """What is run, and on what.

    Attributes:
        device: auto, cpu, cuda or cuda:N.
        frames: For each workload, batches (N, H, W, 3) uint8 RGB of images.
        say: Called with each line of progress.
    """

    checkpoint: Checkpoint
    device: str
    workloads: Sequence[Workload]
    frames: Sequence[Sequence[Pixels]]
    say: Callable[[str], None]


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
    width, height = (-(-side // STRIDE) * STRIDE for side in size)
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        ERFNet(num_classes).eval()(torch.empty(1, 3, height, width))
    # A multiplication and its addition count as two.
    return int(counter.get_total_flops()) // 2


def read_frames(spec: str, checkpoint: Checkpoint, workload: Workload, *, number: int) -> list[Pixels]:
    """Return batches (N, H, W, 3) uint8 RGB of a source, spread over its length.

    Synthetic frames are rendered at the camera's size, others resized.
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
