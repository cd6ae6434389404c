"""`erfnet calibrate`: prepare a checkpoint for precision int8, and say how well it answers in it."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.data.frame_sources import Source, open_source, spread_evenly

if TYPE_CHECKING:
    # --help must not wait for torch.
    from erfnet_ros.models.checkpoint import Checkpoint

log = logging.getLogger(__name__)

FRAMES = 32
"""Images that a network is looked at over, unless asked otherwise."""


def main(arguments: Sequence[str]) -> int:
    """Write a checkpoint that can run in int8; return the exit status.

    Raises:
        ErfnetError: The checkpoint or the images cannot be read, or the new checkpoint cannot be written.
    """
    options = _parser().parse_args(arguments)
    from erfnet_ros.models import checkpoint as checkpoints

    checkpoint = checkpoints.load(options.checkpoint)
    images = calibration_images(open_source(str(options.images), checkpoint.class_set), options.frames)
    calibrated = calibrate(checkpoint, images)
    checkpoints.save(calibrated, options.out)
    agreement = calibrated.calibration.agreement if calibrated.calibration else 0.0
    found = f"; int8 chooses the class of fp32 on {100 * agreement:.2f} % of their pixels" if agreement else ""
    print(f"{options.out}: calibrated on {len(images)} images{found}")
    return 0


def calibration_images(source: Source, frames: int = FRAMES) -> list[Pixels]:
    """Return (H, W, 3) uint8 images of a source, evenly spread.

    Raises:
        ParameterError: `frames` is below 1.
        SourceError: An image cannot be decoded.
    """
    return [source[index].rgb for index in spread_evenly(len(source), frames)]


def calibrate(checkpoint: Checkpoint, images: Sequence[Pixels]) -> Checkpoint:
    """Return a checkpoint with the calibration that int8 needs, measured over (H, W, 3) uint8 images of any sizes.

    Where this machine does not run int8, the agreement is taken for 0, so that nobody uses it unasked, and the log says
    why.
    """
    import torch

    from erfnet_ros.inference.pytorch.cpu import fused_pipeline
    from erfnet_ros.inference.pytorch.engine import PyTorchEngine
    from erfnet_ros.models.checkpoint import Calibration
    from erfnet_ros.models.pipeline import Pipeline
    from erfnet_ros.models.quantization import activation_ranges

    pipeline = Pipeline(checkpoint).eval()
    ranges = activation_ranges(pipeline, (torch.from_numpy(image)[None] for image in images))
    bytewise, reason = fused_pipeline(pipeline, "int8", ranges)
    if bytewise is None:
        log.warning("int8 cannot be tried on this machine, so precision auto will not take it: %s.", reason)
        return replace(checkpoint, calibration=Calibration(ranges, 0.0))
    exact = PyTorchEngine(checkpoint, "cpu", "fp32")
    same = [float((exact(image[None])[0] == bytewise(image[None])[0]).mean()) for image in images]
    return replace(checkpoint, calibration=Calibration(ranges, sum(same) / len(same)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="erfnet calibrate", description="Prepare a checkpoint for precision int8.")
    parser.add_argument("checkpoint", type=Path, help="a .safetensors file of this package")
    parser.add_argument(
        "--images", required=True, type=Path, metavar="FOLDER", help="images like those that the camera will give"
    )
    parser.add_argument(
        "--frames", type=int, default=FRAMES, help="how many of them, evenly spread (default: %(default)s)"
    )
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="FILE", help="the new checkpoint")
    return parser
