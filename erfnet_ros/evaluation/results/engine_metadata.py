"""Engine metadata: engine, precision, device and weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from erfnet_ros.core.errors import CheckpointError
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.models.checkpoint import DEFAULT


@dataclass(frozen=True)
class EngineMetadata:
    """What computed.

    Attributes:
        engine, precision, device: As they ran, never auto.
        checkpoint_sha256: Hash of the weights' file.
        notes: What was chosen for want of something better, a sentence each.
    """

    engine: str
    precision: str
    device: str
    checkpoint_sha256: str
    notes: tuple[str, ...]


def engine_metadata(segmenter: Segmenter, checkpoint: Path | None) -> EngineMetadata:
    """Return what a segmenter computes with.

    Args:
        segmenter: The segmenter.
        checkpoint: The file that it was loaded from; None for the shipped weights.
    """
    engine = segmenter.engine
    return EngineMetadata(engine.name, engine.precision, engine.device, checkpoint_sha256(checkpoint), engine.notes)


def checkpoint_sha256(checkpoint: Path | None) -> str:
    """Return the SHA-256 of a checkpoint's file in hexadecimal; None stands for the shipped weights.

    Raises:
        CheckpointError: The file cannot be read.
    """
    path = checkpoint or DEFAULT
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"Cannot read checkpoint {path}: {error.strerror}; check the path.") from error
