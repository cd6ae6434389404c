"""Progress file of a bag, from which a run that was stopped is resumed."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from erfnet_ros import __version__
from erfnet_ros.core.output_files import write_file
from erfnet_ros.evaluation.inputs.bag_scan import BagScan
from erfnet_ros.evaluation.offline.output_bag import OutputPlan
from erfnet_ros.evaluation.results.accumulator import Accumulator
from erfnet_ros.evaluation.results.provenance import EngineMetadata
from erfnet_ros.evaluation.settings import Settings

FOLDER = ".progress"

EVERY = 100
"""Frames between two entries."""


@dataclass(frozen=True)
class ProgressFile:
    """The progress of one bag, in a file that is whole or not there.

    Attributes:
        path: The file; its name holds what the progress belongs to, so that another run never goes on from it.
    """

    path: Path

    def read(self) -> Any:
        """Return what `Accumulator.restore` takes; None where there is nothing, or nothing that is whole."""
        try:
            return json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None

    def save(self, accumulator: Accumulator) -> None:
        """Write down where the accumulator is."""
        with suppress(OSError):
            # Writing the file then tells what is wrong.
            self.path.parent.mkdir(exist_ok=True)
        write_file(self.path, json.dumps(accumulator.to_dict(), allow_nan=False))


def open_progress_file(
    folder: Path, scan: BagScan, settings: Settings, *, engine: EngineMetadata, output: OutputPlan | None
) -> ProgressFile:
    """Return the progress file of a bag.

    Args:
        scan: Of the bag; its content, topics and pairs of image and ground truth belong to the key.
        output: The output bag, which a run that wrote none has not written.
    """
    key = {
        "version": __version__,
        "metadata": asdict(scan.metadata),
        "matches": None if scan.matches is None else scan.matches.ground_truth_of,
        "ground_truth_files": _ground_truth_files(scan.ground_truth_dir),
        "input_size": settings.input_size,
        "threshold": settings.threshold,
        "boundaries": settings.boundaries,
        "output": None if output is None else [str(output.path), output.storage],
        "engine": asdict(engine),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return ProgressFile(folder / FOLDER / f"{scan.metadata.name}-{digest}.json")


def _ground_truth_files(folder: Path | None) -> list[tuple[Any, ...]] | None:
    """Return what tells changed files of a ground-truth folder from unchanged ones."""
    if folder is None:
        return None
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(folder.glob("*.[pP][nN][gG]"))]
