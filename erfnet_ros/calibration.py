"""`erfnet calibrate`: prepare a checkpoint for precision int8, and say how well it answers in it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from erfnet_ros.sources import Source, open_source, spread_evenly

if TYPE_CHECKING:
    # --help must not wait for torch.
    from erfnet_ros.checkpoint import Checkpoint

Pixels = npt.NDArray[np.uint8]

FRAMES = 32
"""Images that a network is looked at over, unless asked otherwise."""


def main(arguments: Sequence[str]) -> int:
    """Write a checkpoint that can run in int8; return the exit status.

    Raises:
        ErfnetError: The checkpoint or the images cannot be read, or the new checkpoint cannot be written.
    """
    options = _parser().parse_args(arguments)
    from erfnet_ros import checkpoint as checkpoints

    checkpoint = checkpoints.load(options.checkpoint)
    images = calibration_images(open_source(str(options.images), checkpoint.class_set), options.frames)
    calibrated = calibrate(checkpoint, images)
    checkpoints.save(calibrated, options.out)
    if calibrated.calibration is not None:
        same = f"{100 * calibrated.calibration.agreement:.2f} % of their pixels"
        print(f"{options.out}: calibrated on {len(images)} images; int8 chooses the class of fp32 on {same}")
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

    Where this machine does not run int8, the agreement is taken for 0, so that nobody uses it unasked.
    """
    import torch

    from erfnet_ros.checkpoint import Calibration
    from erfnet_ros.engines.pytorch import PyTorchEngine
    from erfnet_ros.errors import EngineError
    from erfnet_ros.pipeline import Pipeline
    from erfnet_ros.quantisation import activation_ranges

    ranges = activation_ranges(Pipeline(checkpoint).eval(), (torch.from_numpy(image)[None] for image in images))
    calibrated = replace(checkpoint, calibration=Calibration(ranges, 0.0))
    try:
        bytewise = PyTorchEngine(calibrated, "cpu", "int8")
    except EngineError:
        return calibrated
    exact = PyTorchEngine(calibrated, "cpu", "fp32")
    same = [float((exact(image[None])[0] == bytewise(image[None])[0]).mean()) for image in images]
    return replace(calibrated, calibration=Calibration(ranges, sum(same) / len(same)))


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
