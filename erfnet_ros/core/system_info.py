"""Processor, NVIDIA driver and package versions of this machine."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path


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
