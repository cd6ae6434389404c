"""How far a bag has come, on the disk: a run that was killed goes on from there."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from erfnet_ros import __version__
from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.evaluation.inputs.bag_scan import Survey
from erfnet_ros.evaluation.offline.output_bag import OutputPlan
from erfnet_ros.evaluation.results.accumulator import Tally
from erfnet_ros.evaluation.results.engine_metadata import EngineFacts
from erfnet_ros.evaluation.settings import Settings

FOLDER = ".progress"

EVERY = 100
"""Frames between two entries."""

_FORMAT = 1


@dataclass(frozen=True)
class Journal:
    """The progress of one bag, in a file that is whole or not there.

    Attributes:
        path: The file; its name holds what the progress belongs to, so that another run never goes on from it.
    """

    path: Path

    def read(self) -> Any:
        """Return what `Tally.restore` takes; None where there is nothing, or nothing that is whole."""
        try:
            return json.loads(self.path.read_text(encoding="utf-8"))["tally"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def save(self, tally: Tally) -> None:
        """Write down where the tally is.

        Raises:
            EvaluationError: The disk does not take it.
        """
        text = json.dumps({"format": _FORMAT, "tally": tally.to_dict()}, allow_nan=False)
        partial = self.path.with_name(f"{self.path.name}.{os.getpid()}.partial")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, self.path)
        except OSError as error:
            raise EvaluationError(f"Cannot write '{self.path}': {error.strerror}; free some space.") from error
        finally:
            partial.unlink(missing_ok=True)


def open_journal(
    folder: Path, survey: Survey, settings: Settings, engine: EngineFacts, output: OutputPlan | None
) -> Journal:
    """Return the journal of a bag.

    Args:
        folder: Output folder of the run.
        survey: Of the bag; its content, topics and pairs of image and truth belong to the key.
        settings: Of the run.
        engine: What computes.
        output: The output bag, which a run that wrote none has not written.
    """
    key = {
        "format": _FORMAT,
        "version": __version__,
        "facts": asdict(survey.facts),
        "matches": None if survey.matches is None else survey.matches.truth_of,
        "truth_files": _truth_files(survey.truth_dir),
        "input_size": settings.input_size,
        "threshold": settings.threshold,
        "boundaries": settings.boundaries,
        "output": None if output is None else [str(output.path), output.storage],
        "engine": asdict(engine),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return Journal(folder / FOLDER / f"{survey.facts.name}-{digest}.json")


def _truth_files(folder: Path | None) -> list[tuple[Any, ...]] | None:
    """Return what tells changed files of a truth folder from unchanged ones."""
    if folder is None:
        return None
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(folder.glob("*.[pP][nN][gG]"))]
