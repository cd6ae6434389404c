"""Processor, NVIDIA driver and package versions of this machine, and how its cores are shared."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path


def share_cores() -> None:
    """Let OpenMP's threads sleep while they wait for each other; to be called before PyTorch is imported.

    By default (GCC's libgomp) they spin for up to a millisecond after every layer, which keeps the thread that is
    waited for from running where other programs need the cores. A 640x480 image in int8 on 2 cores: 3.9 s and now
    0.4 s among 11 busy programs, 60 ms before and now with the cores to itself. A setting of the user's own stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def processor() -> str:
    """Return the processor's name, or its kind where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def nvidia_driver() -> str | None:
    """Return what the system says of NVIDIA's driver, or None where it has none."""
    try:
        return Path("/proc/driver/nvidia/version").read_text().partition("\n")[0]
    except OSError:
        return None


def version_of(*distributions: str) -> str | None:
    """Return the version of the first of some distributions that is installed by pip, or None."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None
