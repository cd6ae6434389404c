"""Provenance of an evaluation: weights, engine, machine, versions."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from erfnet_ros import __version__
from erfnet_ros.core.errors import CheckpointError
from erfnet_ros.core.system_info import processor, version_of
from erfnet_ros.evaluation.metadata import Provenance
from erfnet_ros.evaluation.settings import Settings
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.models.checkpoint import DEFAULT, Checkpoint

_LIBRARIES = ("torch", "numpy", "opencv-python-headless", "rosbags")


@dataclass(frozen=True)
class EngineMetadata:
    """What computed.

    Attributes:
        engine, precision, device: As they ran, never auto.
        notes: What was chosen for want of something better, a sentence each.
    """

    engine: str
    precision: str
    device: str
    checkpoint_sha256: str
    notes: tuple[str, ...]


def engine_metadata(segmenter: Segmenter, checkpoint: Path | None) -> EngineMetadata:
    """Return what a segmenter computes with."""
    engine = segmenter.engine
    return EngineMetadata(engine.name, engine.precision, engine.device, checkpoint_sha256(checkpoint), engine.notes)


def checkpoint_sha256(checkpoint: Path | None) -> str:
    """Return the SHA-256 of a checkpoint's file in hexadecimal; None stands for the shipped weights."""
    path = checkpoint or DEFAULT
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"Cannot read checkpoint {path}: {error.strerror}; check the path.") from error


def provenance(
    settings: Settings,
    engine: EngineMetadata,
    checkpoint: Checkpoint,
    *,
    command: str,
    started: str,
    rate: float | None = None,
) -> Provenance:
    """Return where the figures come from; how long the evaluation took is not known yet.

    Args:
        started: ISO 8601, with the zone.
        rate: Replay speed against the bag's own; None offline.
    """
    width, height = checkpoint.input_size
    metadata = {"data": checkpoint.data, "license": checkpoint.license, "trained_size": f"{width}x{height}"}
    if checkpoint.miou is not None:
        metadata["miou"] = f"{checkpoint.miou:.4f}"
    size = settings.input_size
    return Provenance(
        checkpoint=(settings.checkpoint or DEFAULT).name,
        checkpoint_sha256=engine.checkpoint_sha256,
        checkpoint_metadata=metadata,
        engine=engine.engine,
        precision=engine.precision,
        device=engine.device,
        input_size="auto" if size is None else f"{size[0]}x{size[1]}",
        threshold=settings.threshold,
        tolerance_s=settings.tolerance_s,
        rate=rate,
        command=command,
        started=started,
        duration_s=0.0,
        machine=machine(engine.device),
        versions=versions(),
    )


def machine(device: str) -> Mapping[str, str]:
    """Return what this machine is; the network runs on `device`, "cpu" or "cuda:N"."""
    metadata = {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
    }
    if device.startswith("cuda"):
        import torch

        metadata["gpu"] = torch.cuda.get_device_name(device)
    return metadata


def versions() -> Mapping[str, str]:
    """Return the versions of this package, of Python and of the libraries that decide about numbers and speed."""
    found = {"erfnet_ros": __version__, "python": platform.python_version()}
    # Some are missing, such as OpenCV under another of its package names.
    return found | {name: version for name in _LIBRARIES if (version := version_of(name))}
