"""Command `erfnet bag`: make bags of images, and inspect bags."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.core.rate import parse_rate

_ENCODINGS = ("rgb8", "bgr8", "jpeg", "png")

_STREET_FRAMES = 150


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status: 0, or 1 where a bag could not be read as a whole."""
    options = _parser().parse_args(arguments)
    return _make(options) if options.command == "make" else _info(options)


def _make(options: argparse.Namespace) -> int:
    from erfnet_ros.core.class_set import named
    from erfnet_ros.data.bags.create import BagSettings, make
    from erfnet_ros.data.frame_sources import open_source

    for option in ("topic", "ground_truth_topic"):
        _check_topic(option, getattr(options, option))
    settings = BagSettings(
        out=options.out,
        topic=options.topic,
        ground_truth_topic=options.ground_truth_topic,
        rate_hz=options.rate,
        encoding=options.encoding,
        storage=options.storage,
        compression=options.compression,
        split_bytes=None if options.split_size is None else options.split_size << 20,
        force=options.force,
        with_depth=options.depth,
    )
    class_set = named(options.classes)
    settings.check()
    source = open_source(options.source, class_set, frames=_length(options))
    if options.depth:
        # Before a bag is begun.
        source.depth(0)
    frames = make(source, class_set, settings, options.frames)
    ground_truth = (
        f", with ground truth on {options.ground_truth_topic}" if source.has_ground_truth else ", without ground truth"
    )
    size_mb = sum(file.stat().st_size for file in options.out.iterdir()) / 1e6
    print(f"{options.out}: {frames} frames on {settings.image_topic}{ground_truth}; {size_mb:.1f} MB")
    return 0


def _length(options: argparse.Namespace) -> int:
    """Return how many frames to ask a source for: a street has no end, a video is taken whole."""
    if options.frames is not None:
        return int(options.frames)
    return _STREET_FRAMES if options.source.partition(":")[0] == "synthetic" else sys.maxsize


def _info(options: argparse.Namespace) -> int:
    import json

    from erfnet_ros.data.bags.info import inspect

    reports = []
    for bag in options.bags:
        report = inspect(bag)
        reports.append(report)
        if not options.json:
            print("\n".join(report.lines()))
    if options.json:
        print(json.dumps([report.to_dict() for report in reports], indent=2))
    return int(any(report.faults for report in reports))


def _check_topic(option: str, topic: str) -> None:
    if not re.fullmatch(r"(/[A-Za-z_][A-Za-z0-9_]*)+", topic):
        raise ParameterError(
            f"Expected --{option.replace('_', '-')} like /camera/image_raw (letters, digits and _), got '{topic}'."
        )


def _positive(text: str) -> int:
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, got '{text}'")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="erfnet bag", description="Make rosbags of images, and list what they hold.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

    make = commands.add_parser(
        "make",
        help="make a bag of images, and of their ground truth where there is one",
        description="Make a rosbag2 bag of images, and of their ground truth as mono8 class ids (255 is void) where "
        "there is one. Frame i is stamped 1000000000 s + i / rate, so that the same source makes the same bag.",
    )
    make.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder of images, one with images/ and labels/, a video, or synthetic[:SEED]",
    )
    make.add_argument("-o", "--out", type=Path, required=True, metavar="BAG", help="the folder to write")
    make.add_argument(
        "--topic",
        default="/camera/image_raw",
        help="images; jpeg and png go to TOPIC/compressed, camera_info and label_info next to it (%(default)s)",
    )
    make.add_argument("--ground-truth-topic", default="/camera/truth", metavar="TOPIC", help="default: %(default)s")
    make.add_argument(
        "--depth", action="store_true", help="write the synthetic street's depth as well, to depth/image_raw next to it"
    )
    make.add_argument("--rate", type=parse_rate, default=15.0, metavar="HZ", help="default: %(default)g")
    make.add_argument("--encoding", choices=_ENCODINGS, default="rgb8", help="of the images (default: %(default)s)")
    make.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap", help="default: %(default)s")
    make.add_argument("--compression", choices=("none", "zstd"), default="none", help="default: %(default)s")
    make.add_argument(
        "--classes", default="camvid", help="what label files mean: camvid, cityscapes or a YAML file (%(default)s)"
    )
    make.add_argument(
        "--frames", type=_positive, metavar="N", help=f"at most (default: all; synthetic: {_STREET_FRAMES})"
    )
    make.add_argument("--split-size", type=_positive, metavar="MIB", help="begin a new file at this size")
    make.add_argument("--force", action="store_true", help="replace an existing bag")

    info = commands.add_parser(
        "info",
        help="list topics, counts, rates, gaps and what is damaged",
        description="List the topics of bags with counts, rates and gaps (by header stamps where there are any), "
        "and what cannot be read. Exit status: 0, or 1 where something cannot be read.",
    )
    info.add_argument(
        "bags", nargs="+", type=Path, metavar="BAG", help="rosbag2 folder, or an .mcap or .db3 file, compressed or not"
    )
    info.add_argument("--json", action="store_true", help="print a list of objects, one for each bag")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
