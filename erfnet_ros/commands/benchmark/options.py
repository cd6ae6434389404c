"""The options of `erfnet benchmark`; reading them imports no torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.core.image_size import parse_input_size
from erfnet_ros.inference.engine import DEVICES

SIZES = "480x360,640x480,1024x512,1920x1080"

ISA = {"avx2": "AVX2", "avx512": "AVX512_CORE", "vnni": "AVX512_CORE_VNNI"}
"""What a processor without the newest units is imitated with: words for oneDNN's ONEDNN_MAX_CPU_ISA."""

_ROUNDS = 20
_DAY_MIN = 1440


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="erfnet benchmark",
        description="Measure the engines of this machine against the authors' way, in interleaved rounds; "
        "with ROS 2 also the node and the transport of images.",
    )
    parser.add_argument("--engines", default="", metavar="A,B:PRECISION", help="of the engines only these")
    parser.add_argument("--device", default="auto", help=f"{DEVICES} (default: %(default)s)")
    parser.add_argument("--sizes", default=SIZES, metavar="WxH,...", help="of the images (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="images in one run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="runs of each engine (default: %(default)s)")
    parser.add_argument("--data", default="synthetic", metavar="DIR", help="folder of images (default: a drawn street)")
    parser.add_argument("--checkpoint", default="", metavar="FILE", help="weights (default: those that are shipped)")
    parser.add_argument("--isa", choices=ISA, help="hold oneDNN to an older processor's instructions")
    parser.add_argument("--quick", action="store_true", help="3 runs, no startup times: a first look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there as well")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the times there as well")
    ros = parser.add_argument_group(
        "with ROS 2", "these measure their own instead of the engines, unless --all is given"
    )
    ros.add_argument("--node", action="store_true", help="what the node adds to the engine's time")
    ros.add_argument("--transport", action="store_true", help="large images from one process to another")
    ros.add_argument("--all", action="store_true", help="engines, node and transport")
    ros.add_argument("--seconds", type=float, default=5.0, help="of each transport turn (default: %(default)g)")
    ros.add_argument("--frames", type=int, default=40, help="of each size for the node (default: %(default)s)")
    ros.add_argument("--minutes", type=float, default=0.0, help="with --node: also run it so long, for its memory")
    return parser


def node_minutes(options: argparse.Namespace) -> float:
    """Return how long the node is to run at a camera's rate; 0 where that was not asked for.

    Raises:
        ParameterError: It is negative or above a day, or the node is not measured.
    """
    minutes: float = options.minutes
    if not 0 <= minutes <= _DAY_MIN:
        raise ParameterError(f"Expected --minutes from 0 to {_DAY_MIN}, got {minutes:g}.")
    if minutes and not (options.node or options.all):
        raise ParameterError(f"Expected --minutes with --node or --all, got --minutes {minutes:g} without.")
    return minutes


def camera_sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Return the sizes of `WxH,WxH`.

    Raises:
        ParameterError: One is no size.
    """
    sizes = [parse_input_size(part.strip()) for part in text.split(",")]
    found = tuple(dict.fromkeys(size for size in sizes if size))
    if len(found) != len(sizes):
        raise ParameterError(f"Expected --sizes to be different sizes such as 640x480,1920x1080, got '{text}'.")
    return found


def positive(name: str, number: int) -> int:
    """Return an option's number.

    Raises:
        ParameterError: It is below 1.
    """
    if number < 1:
        raise ParameterError(f"Expected --{name} of 1 or more, got {number}.")
    return number
