"""Calibration of a checkpoint for int8: activation ranges, and the agreement of int8 with fp32."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.data.frame_sources import Source, spread_evenly
from erfnet_ros.inference.engine import EngineRequest
from erfnet_ros.inference.pytorch.cpu import fused_pipeline
from erfnet_ros.inference.pytorch.engine import PyTorchEngine
from erfnet_ros.models.checkpoint import Calibration, Checkpoint
from erfnet_ros.models.pipeline import Pipeline
from erfnet_ros.models.quantization import activation_ranges

log = logging.getLogger(__name__)

FRAMES = 32
"""Images that a network is calibrated on by default."""


def calibration_images(source: Source, frames: int = FRAMES) -> list[Pixels]:
    """Return (H, W, 3) uint8 images of a source, evenly spread; raise SourceError where one cannot be decoded."""
    return [source[index].rgb for index in spread_evenly(len(source), frames)]


def calibrate(checkpoint: Checkpoint, images: Sequence[Pixels]) -> Checkpoint:
    """Return a checkpoint with the calibration that int8 needs, measured over (H, W, 3) uint8 images of any sizes.

    Where this machine does not run int8, the agreement is 0, so that precision auto does not take it, with a warning.
    """
    pipeline = Pipeline(checkpoint).eval()
    ranges = activation_ranges(pipeline, (torch.from_numpy(image)[None] for image in images))
    bytewise, reason = fused_pipeline(pipeline, "int8", ranges)
    if bytewise is None:
        log.warning("int8 cannot be tried on this machine, so precision auto will not take it: %s.", reason)
        return replace(checkpoint, calibration=Calibration(ranges, 0.0))
    exact = PyTorchEngine(EngineRequest(checkpoint, "cpu", "fp32"))
    same = [float((exact(image[None])[0] == bytewise(image[None])[0]).mean()) for image in images]
    return replace(checkpoint, calibration=Calibration(ranges, sum(same) / len(same)))
