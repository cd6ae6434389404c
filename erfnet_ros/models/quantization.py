"""Quantization ranges: how large each activation of a network becomes, which int8 engines need.

Post-training quantization (Jacob et al. 2018; Nagel et al. 2021): weights need no data, activations are looked at over
a few frames. Each tensor's range is a percentile, not the largest value ever seen, which a single pixel may set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import torch
from torch import Tensor

from erfnet_ros.core.errors import EngineError
from erfnet_ros.models.checkpoint import Calibration
from erfnet_ros.models.erfnet import ACTIVATIONS
from erfnet_ros.models.pipeline import Pipeline

LEVELS = 255
"""Steps of an unsigned byte; every activation but the logits is a ReLU's, so 0 is its least value."""

_EXCEEDING = 1e-5
"""Share of an activation's values that may lie above its range."""


def ranges_of(calibration: Calibration | None) -> Mapping[str, float]:
    """Return the activations' ranges of a checkpoint's calibration; raise EngineError where there is none."""
    if calibration is None:
        raise EngineError(
            "Precision 'int8' was asked for, but the checkpoint does not say how large its activations become; "
            "measure that on images like the robot's with: erfnet calibrate CHECKPOINT --images FOLDER -o NEW"
        )
    return calibration.ranges


def activation_ranges(pipeline: Pipeline, images: Iterable[Tensor]) -> dict[str, float]:
    """Return the range of each of the network's `ACTIVATIONS`, averaged over one image or more.

    It is the value that all but 1 in 100,000 of the activation's values do not exceed; above 0.

    Args:
        pipeline: In fp32 on the CPU.
        images: (N, H, W, 3) uint8 RGB each, of any size.
    """
    totals = dict.fromkeys(ACTIVATIONS, 0.0)
    count = 0

    def record(name: str, *call: Tensor) -> None:
        # A convolution's output is made its ReLU only by the next line of its layer.
        values = call[-1].flatten()
        totals[name] += max(float(values.topk(1 + int(_EXCEEDING * values.numel())).values[-1]), 0.0)

    hooks = [pipeline.network.get_submodule(name).register_forward_hook(partial(record, name)) for name in ACTIVATIONS]
    try:
        with torch.inference_mode():
            for image in images:
                pipeline(image)
                count += 1
    finally:
        for hook in hooks:
            hook.remove()
    return {name: max(total / count, torch.finfo(torch.float32).eps) for name, total in totals.items()}
