"""`erfnet calibrate`: measure how large a network's activations become, for precision int8."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path


def main(arguments: Sequence[str]) -> int:
    """Write a checkpoint with activation ranges measured on a folder of images, and print what int8 makes of them.

    Raises:
        ErfnetError: The checkpoint or the images cannot be read, or the new checkpoint cannot be written.
    """
    options = _parser().parse_args(arguments)
    import torch

    from erfnet_ros import checkpoint as checkpoints
    from erfnet_ros.pipeline import Pipeline
    from erfnet_ros.quantisation import CALIBRATION_FRAMES, activation_ranges
    from erfnet_ros.segmenter import Segmenter
    from erfnet_ros.sources import open_source, spread_evenly

    checkpoint = checkpoints.load(options.checkpoint)
    source = open_source(str(options.images), checkpoint.class_set)
    frames = CALIBRATION_FRAMES if options.frames is None else options.frames
    images = [source[index].rgb for index in spread_evenly(len(source), frames)]
    pipeline = Pipeline(checkpoint).eval()
    ranges = activation_ranges(pipeline, (torch.from_numpy(image)[None] for image in images))
    calibrated = replace(checkpoint, activation_ranges=ranges)
    exact, bytewise = (Segmenter(calibrated, "pytorch", "cpu", precision) for precision in ("fp32", "int8"))
    same = [float((exact(image).labels == bytewise(image).labels).mean()) for image in images]
    checkpoints.save(calibrated, options.out)
    print(
        f"{options.out}: ranges of {len(ranges)} activations over {len(images)} images; int8 chooses the class of fp32 "
        f"on {100 * sum(same) / len(same):.2f} % of their pixels (worst image {100 * min(same):.2f} %)"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="erfnet calibrate", description="Prepare a checkpoint for precision int8.")
    parser.add_argument("checkpoint", type=Path, help="a .safetensors file of this package")
    parser.add_argument(
        "--images", required=True, type=Path, metavar="FOLDER", help="images like those that the camera will give"
    )
    parser.add_argument("--frames", type=int, help="how many of them, evenly spread (default: 32)")
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="FILE", help="the new checkpoint")
    return parser
