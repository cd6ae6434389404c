"""Command `erfnet calibrate`: prepares a checkpoint for precision int8, and prints how well it agrees with fp32."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

FRAMES = 32


def main(arguments: Sequence[str]) -> int:
    """Write a checkpoint that can run in int8; return the exit status."""
    options = _parser().parse_args(arguments)
    from erfnet_ros.data.frame_sources import open_source
    from erfnet_ros.models import checkpoint as checkpoints
    from erfnet_ros.training.calibration import calibrate, calibration_images

    checkpoint = checkpoints.load(options.checkpoint)
    images = calibration_images(open_source(str(options.images), checkpoint.class_set), options.frames)
    calibrated = calibrate(checkpoint, images)
    checkpoints.save(calibrated, options.out)
    agreement = calibrated.calibration.agreement if calibrated.calibration else 0.0
    found = f"; int8 chooses the class of fp32 on {100 * agreement:.2f} % of their pixels" if agreement else ""
    print(f"{options.out}: calibrated on {len(images)} images{found}")
    return 0


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
