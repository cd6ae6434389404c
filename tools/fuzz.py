"""Fuzz what reads strangers' files: make fuzz. Guided by coverage where atheris is installed, else at random."""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

try:
    import atheris
except ImportError:
    atheris = None

if TYPE_CHECKING:
    from support.fuzz_targets import Target


def main() -> None:
    """Fuzz one target for a time; a fault ends the process with its traceback, and its input is left in a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", help="images, classes, checkpoints or bags")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    # What is imported in the block tells atheris where an input leads.
    with atheris.instrument_imports(["erfnet_ros", "rosbags"]) if atheris else contextlib.nullcontext():
        from support.fuzz_targets import TARGETS
    (_guided if atheris else _at_random)(TARGETS[options.target], options)


def _guided(target: Target, options: argparse.Namespace) -> None:
    limits = {"max_total_time": options.seconds, "seed": options.seed, "timeout": 30, "rss_limit_mb": 4000}
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds()):
            (Path(corpus) / f"{number}").write_bytes(seed)
        arguments = [f"-{name}={value}" for name, value in limits.items()]
        atheris.Setup([sys.argv[0], *arguments, "-max_len=65536", "-print_final_stats=1", corpus], target.try_one)
        atheris.Fuzz()


def _at_random(target: Target, options: argparse.Namespace) -> None:
    end_s, tried = time.monotonic() + options.seconds, 0
    for content in target.damaged(random.Random(options.seed)):
        try:
            target.try_one(content)
        except BaseException:
            Path(f"crash-{options.target}").write_bytes(content)
            raise
        tried += 1
        if time.monotonic() > end_s:
            break
    print(f"{options.target}: {tried} inputs, no fault.")


if __name__ == "__main__":
    main()
