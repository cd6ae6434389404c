"""A fresh process for each engine: how long to the first mask, caches empty and filled, and how much memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from erfnet_ros.commands.benchmark.cold_start import used_gpu_memory_mb
from erfnet_ros.commands.benchmark.statistics import Size, StartupTime
from erfnet_ros.core.errors import EngineError

_LONGEST_S = 1200
"""TensorRT builds for minutes where its caches are empty."""

_CACHES = {"ERFNET_ROS_CACHE": "erfnet_ros", "TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}


def measure_startup(checkpoint: Path, engine: str, precision: str, device: str, size: Size) -> StartupTime:
    """Start an engine twice, each time in a process of its own.

    Args:
        checkpoint: The file.
        engine: Its word.
        precision: What it computes in.
        device: The user's word.
        size: (width, height) of the first image.

    Raises:
        EngineError: It did not come to a first mask.
    """
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
    command = [sys.executable, "-m", "erfnet_ros.commands.benchmark.cold_start", *arguments]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_LONGEST_S, check=True)
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"Expected a first mask within {_LONGEST_S} s in a fresh process, got none.") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"status {error.returncode}"]
        raise EngineError(f"Expected a first mask in a fresh process, got: {lines[-1]}") from error
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
