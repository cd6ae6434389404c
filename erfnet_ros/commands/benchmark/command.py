"""`erfnet benchmark`: compares the engines of this machine with the original PyTorch code."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.core.image_size import parse_input_size
from erfnet_ros.core.output_files import write_file
from erfnet_ros.inference.engine import DEVICES, PRECISIONS
from erfnet_ros.inference.factory import ENGINES

if TYPE_CHECKING:
    from erfnet_ros.commands.benchmark.statistics import Report

_ENGINES_HELP = (
    f"only these engines, of {', '.join(ENGINES[1:])}, each with or without a precision of {', '.join(PRECISIONS[1:])}"
)

SIZES = "480x360,640x480,1024x512,1920x1080"

ISA = {"avx2": "AVX2", "avx512": "AVX512_CORE", "vnni": "AVX512_CORE_VNNI"}
"""Values of ONEDNN_MAX_CPU_ISA by which oneDNN imitates an older processor."""

_RUNS, _QUICK_RUNS = 20, 3
_DAY_MIN = 1440


def main(arguments: Sequence[str]) -> int:
    """Measure, print; return the exit status."""
    options = make_parser().parse_args(arguments)
    if options.isa and os.environ.get("ONEDNN_MAX_CPU_ISA") != ISA[options.isa]:
        return _run_limited(arguments, ISA[options.isa])
    report = measure_engines(options)
    write_json(asdict(report), options.json)
    return 0


def measure_engines(options: argparse.Namespace) -> Report:
    """Measure what the options ask for, print it, and write the tables and the picture that they ask for."""
    node_minutes(options)
    sizes = camera_sizes(options.sizes)
    batch, runs = positive("batch", options.batch), positive("runs", options.runs)
    for path in (options.json, options.markdown, options.plot, options.report):
        _check_place(path)
    from erfnet_ros.commands.benchmark.issue_report import issue_report
    from erfnet_ros.commands.benchmark.plot import write_plot
    from erfnet_ros.commands.benchmark.run import Plan, benchmark
    from erfnet_ros.commands.benchmark.tables import as_markdown, as_text
    from erfnet_ros.models import checkpoint as checkpoints

    plan = Plan(
        checkpoint=Path(options.checkpoint).resolve() if options.checkpoint else checkpoints.DEFAULT,
        engines=tuple(filter(None, options.engines.split(","))),
        device=options.device,
        cameras=sizes,
        batch=batch,
        runs=min(runs, _QUICK_RUNS) if options.quick else runs,
        data=options.data,
        startup_times=not options.quick,
        quick=options.quick,
    )
    report = benchmark(plan, lambda line: print(f"erfnet benchmark: {line}", file=sys.stderr, flush=True))
    print(as_text(report), flush=True)
    if options.markdown:
        write_file(options.markdown, as_markdown(report))
    if options.plot:
        write_plot(report, options.plot)
    if options.report:
        write_file(options.report, issue_report(report))
    return report


def write_json(content: Mapping[str, Any], path: Path | None) -> None:
    """Write the statistics, where a file was named."""
    if path:
        write_file(path, json.dumps(content, indent=2) + "\n")


def _check_place(path: Path | None) -> None:
    """Refuse a place that is not there before minutes are spent."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise ParameterError(f"Expected a file in a folder that exists, got '{path}'; make the folder first.")


def _run_limited(arguments: Sequence[str], isa: str) -> int:
    """Run the command again with oneDNN's switch, which it reads only when torch is loaded."""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": isa}
    if isa == "AVX2":
        # PyTorch's own kernels have a switch of their own.
        environment["ATEN_CPU_CAPABILITY"] = "avx2"
    return subprocess.call([sys.executable, "-m", "erfnet_ros.commands", "benchmark", *arguments], env=environment)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="erfnet benchmark",
        description="Compare the engines of this machine with the original PyTorch code, in interleaved runs; "
        "with ROS 2 also measure the node and the transport of images.",
    )
    parser.add_argument("--engines", default="", metavar="A,B:PRECISION", help=_ENGINES_HELP)
    parser.add_argument("--device", default="auto", help=f"{DEVICES} (default: %(default)s)")
    parser.add_argument("--sizes", default=SIZES, metavar="WxH,...", help="camera image sizes (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="images in one run (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=_RUNS, help="runs of each engine (default: %(default)s)")
    parser.add_argument("--data", default="synthetic", metavar="DIR", help="folder of images (default: a drawn street)")
    parser.add_argument("--checkpoint", default="", metavar="FILE", help="weights (default: those that are shipped)")
    parser.add_argument("--isa", choices=ISA, help="limit oneDNN to the instructions of an older processor")
    parser.add_argument("--quick", action="store_true", help="3 runs, no startup times: a first look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the statistics to FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables to FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="also draw the times")
    parser.add_argument("--report", type=Path, metavar="FILE.md", help="also write all of it to paste into an issue")
    ros = parser.add_argument_group("with ROS 2", "measured instead of the engines, unless --all is given")
    ros.add_argument("--node", action="store_true", help="time that the node adds to the engine's")
    ros.add_argument("--transport", action="store_true", help="large images from one process to another")
    ros.add_argument("--all", action="store_true", help="engines, node and transport")
    ros.add_argument("--seconds", type=float, default=5.0, help="of each transport turn (default: %(default)g)")
    ros.add_argument("--frames", type=int, default=40, help="of each size for the node (default: %(default)s)")
    ros.add_argument("--minutes", type=float, default=0.0, help="with --node: measure its memory over so long")
    return parser


def node_minutes(options: argparse.Namespace) -> float:
    """Return how long the node is to run at a camera's rate; 0 where that was not asked for."""
    minutes: float = options.minutes
    if not 0 <= minutes <= _DAY_MIN:
        raise ParameterError(f"Expected --minutes from 0 to {_DAY_MIN}, got {minutes:g}.")
    if minutes and not (options.node or options.all):
        raise ParameterError(f"Expected --minutes with --node or --all, got --minutes {minutes:g} without.")
    return minutes


def camera_sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Return the sizes of `WxH,WxH`."""
    parts = [part.strip() for part in text.split(",")]
    sizes = [parse_input_size(part) for part in parts if "x" in part]
    found = tuple(dict.fromkeys(size for size in sizes if size))
    if len(found) != len(parts):
        raise ParameterError(f"Expected --sizes to be different sizes such as 640x480,1920x1080, got '{text}'.")
    return found


def positive(name: str, number: int) -> int:
    """Return an option's number."""
    if number < 1:
        raise ParameterError(f"Expected --{name} of 1 or more, got {number}.")
    return number
