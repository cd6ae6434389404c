"""Command-line options that offline and live evaluation share."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.core.image_size import parse_input_size
from erfnet_ros.evaluation.settings import DEFAULT_TOLERANCE_S, Settings
from erfnet_ros.inference.factory import add_engine_options

if TYPE_CHECKING:
    # OpenCV and PyTorch are slow to import, and --help needs neither.
    from erfnet_ros.evaluation.results.result import Result
    from erfnet_ros.evaluation.thresholds import Requirement

MAX_TOLERANCE_S = 1.0
"""Farther apart, stamps do not mean one moment."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what both modes know: bags, output folder, topics, ground truth, engine, comparison and requirements."""
    parser.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="rosbag2 folder, .mcap or .db3 file")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder for the report")
    parser.add_argument("--live", action="store_true", help="play the bag to the real node over DDS (needs ROS 2)")
    parser.add_argument("--image-topic", metavar="T", help="topic of the images (default: the only one)")
    ground_truth = parser.add_mutually_exclusive_group()
    ground_truth.add_argument(
        "--ground-truth-topic", metavar="T", help="topic of class ids, mono8 (default: the only one with such a name)"
    )
    ground_truth.add_argument(
        "--ground-truth-dir",
        type=Path,
        metavar="DIR",
        help="PNG files of class ids, named by the image's index or by its stamp in nanoseconds",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=DEFAULT_TOLERANCE_S,
        metavar="S",
        help="largest distance between the stamps of image and ground truth, seconds (default: %(default)s)",
    )
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help=".safetensors file (default: the shipped one)")
    add_engine_options(parser)
    parser.add_argument("--input-size", default="auto", metavar="WxH", help="what the network sees (default: auto)")
    parser.add_argument("--threshold", type=float, default=0.0, help="pixels below this confidence become void (0..1)")
    parser.add_argument(
        "--boundaries", action="store_true", help="score outlines as well (offline it costs some speed)"
    )
    parser.add_argument("--output-bag", action="store_true", help="write the original topics and the masks to DIR/bags")
    parser.add_argument(
        "--storage", choices=("mcap", "sqlite3"), default="mcap", help="of the output bag (default: mcap)"
    )
    parser.add_argument("--compare", type=Path, metavar="FILE", help="result.json of another run to compare with")
    parser.add_argument(
        "--require",
        metavar="TEXT",
        help='what must hold, or the exit status is 1, such as "miou>=0.60 latency_p99<=0.100 dropped<=0.02"',
    )


@dataclass(frozen=True)
class Preparation:
    """What is read and checked before an evaluation begins."""

    settings: Settings
    compare: Result | None
    requirements: tuple[Requirement, ...]


def prepare(options: argparse.Namespace) -> Preparation:
    """Check the options that `add_options` added, so that a mistake is known before the first image."""
    from erfnet_ros.evaluation.results.result import Result
    from erfnet_ros.evaluation.thresholds import parse

    if not 0 <= options.threshold <= 1:
        raise ParameterError(f"Expected --threshold from 0 to 1, got {options.threshold}.")
    if not 0 <= options.tolerance <= MAX_TOLERANCE_S:
        raise ParameterError(f"Expected --tolerance from 0 to {MAX_TOLERANCE_S:g} seconds, got {options.tolerance:g}.")
    settings = Settings(
        image_topic=options.image_topic,
        ground_truth_topic=options.ground_truth_topic,
        ground_truth_dir=None if options.ground_truth_dir is None else options.ground_truth_dir.resolve(),
        tolerance_s=options.tolerance,
        checkpoint=None if options.checkpoint is None else options.checkpoint.resolve(),
        engine=options.engine,
        device=options.device,
        precision=options.precision,
        input_size=parse_input_size(options.input_size),
        threshold=options.threshold,
        boundaries=options.boundaries,
    )
    requirements = () if options.require is None else parse(options.require)
    compare = None if options.compare is None else Result.read(options.compare)
    check_bags(options.bags)
    if settings.ground_truth_dir is not None and len(options.bags) > 1:
        raise ParameterError(
            f"Expected one bag with --ground-truth-dir, got {len(options.bags)}: its files belong to one bag's images; "
            "put the ground truth of several bags into topics."
        )
    return Preparation(settings, compare, requirements)


def check_bags(bags: list[Path]) -> None:
    """Refuse bags that are not there, and a bag that is named twice."""
    from erfnet_ros.data.bags.storage_folder import find_files

    for bag in bags:
        find_files(bag)
    resolved = [bag.resolve() for bag in bags]
    twice = sorted({str(bag) for bag, place in zip(bags, resolved, strict=True) if resolved.count(place) > 1})
    if twice:
        raise ParameterError(f"Expected each bag once, got {', '.join(twice)}.")
