"""`erfnet benchmark`: the engines of this machine against the authors' way."""

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

from erfnet_ros.commands.benchmark.options import ISA, camera_sizes, make_parser, node_minutes, positive
from erfnet_ros.core.errors import ErfnetError, ParameterError

if TYPE_CHECKING:
    from erfnet_ros.commands.benchmark.statistics import Report

_QUICK_ROUNDS = 3


def main(arguments: Sequence[str]) -> int:
    """Measure, print; return the exit status: 0, 2 for an error, 130 when interrupted."""
    options = make_parser().parse_args(arguments)
    if options.isa and os.environ.get("ONEDNN_MAX_CPU_ISA") != ISA[options.isa]:
        return _in_imitated_processor(arguments, ISA[options.isa])
    report = measure_engines(options)
    write_json(asdict(report), options.json)
    return 0


def measure_engines(options: argparse.Namespace) -> Report:
    """Measure what the options ask for, print it, and write the tables and the picture that they ask for.

    Raises:
        ErfnetError: An option is of no use, or a file cannot be written.
    """
    node_minutes(options)
    sizes = camera_sizes(options.sizes)
    batch, rounds = positive("batch", options.batch), positive("rounds", options.rounds)
    for path in (options.json, options.markdown, options.plot):
        _check_place(path)
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
        rounds=min(rounds, _QUICK_ROUNDS) if options.quick else rounds,
        data=options.data,
        startup_times=not options.quick,
        quick=options.quick,
    )
    report = benchmark(plan, lambda line: print(f"erfnet benchmark: {line}", file=sys.stderr, flush=True))
    print(as_text(report), flush=True)
    if options.markdown:
        _write(options.markdown, as_markdown(report))
    if options.plot:
        write_plot(report, options.plot)
    return report


def write_json(content: Mapping[str, Any], path: Path | None) -> None:
    """Write figures, where a file was named.

    Raises:
        ErfnetError: It cannot be written.
    """
    if path:
        _write(path, json.dumps(content, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise ErfnetError(f"Expected to write '{path}', got: {error.strerror}; choose another place.") from error


def _check_place(path: Path | None) -> None:
    """Refuse a place that is not there before minutes are spent."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise ParameterError(f"Expected a file in a folder that exists, got '{path}'; make the folder first.")


def _in_imitated_processor(arguments: Sequence[str], isa: str) -> int:
    """Run the command again where torch finds the switch when it is loaded: it reads it only then."""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": isa}
    if isa == "AVX2":
        # PyTorch's own kernels have a switch of their own.
        environment["ATEN_CPU_CAPABILITY"] = "avx2"
    return subprocess.call([sys.executable, "-m", "erfnet_ros.commands.cli", "benchmark", *arguments], env=environment)
