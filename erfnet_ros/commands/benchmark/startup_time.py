"""Startup time of an engine in a fresh process: cold (empty caches) and warm, and the memory that it needs.

As a program, this module is that process: it loads, segments one image and writes JSON.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from erfnet_ros.commands.benchmark.statistics import Size, StartupTime
from erfnet_ros.core.errors import EngineError

_LONGEST_S = 1200
"""TensorRT builds for minutes where its caches are empty."""

_CACHES = {"ERFNET_ROS_CACHE": "erfnet_ros", "TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}


def measure_startup(checkpoint: Path, engine: str, precision: str, *, device: str, size: Size) -> StartupTime:
    """Start an engine twice, each time in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="erfnet-benchmark-") as folder:
        environment = os.environ | {name: str(Path(folder) / place) for name, place in _CACHES.items()}
        arguments = [str(checkpoint), engine, precision, device, str(size[0]), str(size[1])]
        cold = _start(arguments, environment)
        before_mb = 0.0 if cold["device"] == "cpu" else used_gpu_memory_mb(cold["device"])
        warm = _start(arguments, environment)
    after_mb = warm["gpu_memory_mb"]
    gpu_memory_mb = None if after_mb is None else after_mb - before_mb
    return StartupTime(engine, precision, cold["seconds"], warm["seconds"], warm["memory_mb"], gpu_memory_mb)


def _start(arguments: list[str], environment: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "erfnet_ros.commands.benchmark.startup_time", *arguments]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_LONGEST_S, check=True)
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"Expected a first mask within {_LONGEST_S} s in a fresh process, got none.") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"status {error.returncode}"]
        raise EngineError(f"Expected a first mask in a fresh process, got: {lines[-1]}") from error
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(arguments: Sequence[str]) -> int:
    """Take checkpoint, engine, precision, device, width and height; print seconds and memory."""
    checkpoint, engine, precision, device, width, height = arguments
    image = np.zeros((int(height), int(width), 3), np.uint8)
    start = time.perf_counter()
    from erfnet_ros.inference.segmenter import Segmenter

    segmenter = Segmenter(checkpoint, engine=engine, device=device, precision=precision)
    segmenter(image)
    seconds = time.perf_counter() - start
    device = segmenter.engine.device
    found = {
        "seconds": seconds,
        "memory_mb": _most_memory_mb(),
        "device": device,
        "gpu_memory_mb": None if device == "cpu" else used_gpu_memory_mb(device),
    }
    print(json.dumps(found))
    return 0


def _most_memory_mb() -> float:
    """Return the largest resident size so far; getrusage would count what the parent held before exec."""
    status = Path("/proc/self/status").read_text()
    match = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(match[1]) / 1024 if match else float("nan")


def used_gpu_memory_mb(device: str) -> float:
    """Return what is taken of the memory of GPU "cuda:N", by this process and all others."""
    import torch

    free, total = torch.cuda.mem_get_info(torch.device(device))
    return (total - free) / 2**20


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
