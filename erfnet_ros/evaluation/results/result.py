"""Result of an evaluation: everything that the JSON, the Markdown and the HTML page say.

`Result.to_dict` puts the figures that a CI job reads at the top, under names that stay; `docs/bags.md` lists them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.config_schema import decode_fields, encode
from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.core.output_files import write_file
from erfnet_ros.evaluation.metadata import BagMetadata, FrameCounts, Picture, Provenance, Usage
from erfnet_ros.evaluation.metrics.latency import LatencyStatistics
from erfnet_ros.evaluation.metrics.segmentation_score import Score, ScoreStatistics
from erfnet_ros.evaluation.metrics.temporal_consistency import TemporalConsistencyStatistics
from erfnet_ros.evaluation.results.frame_records import FrameRecord, from_columns, to_columns

FORMAT = "erfnet_ros evaluation"
VERSION = 1
OFFLINE, LIVE = "offline", "live"


@dataclass(frozen=True)
class Result:
    """One evaluation, of one bag or of many.

    Attributes:
        mode: offline or live.
        bags: The bags, in the order of the command line.
        class_set: What the labels mean.
        frames: Counts.
        score: Counts of pixels over all scored frames; None where nothing had ground truth.
        streaming_score: The same of the newest mask that had arrived when each image was published; None offline.
        fps: Masks per second of evaluation (offline), or per second of replay (live).
        latency_ms: Image published to mask received; None offline.
        jitter_ms: See `latency.jitter_ms`; None offline.
        age_ms: At each image's publication, how long ago the image of the newest mask that had arrived by then was
            published; None offline.
        stages_ms: Time that each part of the way takes per frame, by name: offline decode, inference and score; live
            what the node says of itself, and `harness`, the delay that the measuring itself adds to each latency.
        temporal_consistency: Label changes between consecutive masks.
        usage: Of the process that ran the network; None where it was not measured.
        provenance: Checkpoint, engine, machine, versions.
        records: One per image, in the order of bags and frames.
        pictures: Best, worst and most uncertain frames.
        notes: Findings about these bags that a reader must know to trust the numbers, a sentence each.
        methods: How the numbers were measured, a sentence or paragraph each.
    """

    mode: str
    bags: tuple[BagMetadata, ...]
    class_set: ClassSet
    frames: FrameCounts
    score: Score | None
    streaming_score: Score | None
    fps: float
    latency_ms: LatencyStatistics | None
    jitter_ms: float | None
    age_ms: LatencyStatistics | None
    stages_ms: Mapping[str, LatencyStatistics]
    temporal_consistency: TemporalConsistencyStatistics
    usage: Usage | None
    provenance: Provenance
    records: tuple[FrameRecord, ...]
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]
    methods: tuple[str, ...] = ()

    @cached_property
    def statistics(self) -> ScoreStatistics | None:
        """Accuracy of the scored masks; None where nothing had ground truth."""
        return None if self.score is None else self.score.statistics()

    @cached_property
    def streaming_statistics(self) -> ScoreStatistics | None:
        """Accuracy with lateness counted; None offline and where nothing had ground truth."""
        return None if self.streaming_score is None else self.streaming_score.statistics()

    @property
    def miou(self) -> float | None:
        """Mean IoU, 0..1."""
        return None if self.statistics is None else self.statistics.miou

    @property
    def streaming_miou(self) -> float | None:
        """Mean IoU with lateness counted, 0..1."""
        return None if self.streaming_statistics is None else self.streaming_statistics.miou

    @property
    def dropped(self) -> float | None:
        """Share of the images that were dropped, 0..1; None offline, where nothing can be dropped."""
        return self._share(self.frames.dropped) if self.mode == LIVE else None

    @property
    def rejected(self) -> float:
        """Share of the images that were rejected, 0..1."""
        return self._share(self.frames.rejected)

    def _share(self, count: int) -> float:
        return count / self.frames.images if self.frames.images else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain lists and numbers; what can be read off the rest is there as well."""
        statistics = {} if self.statistics is None else dict(self.statistics.to_dict())
        statistics.pop("frames", None)
        summary = {
            "format": FORMAT,
            "version": VERSION,
            "mode": self.mode,
            "miou": self.miou,
            "streaming_miou": self.streaming_miou,
            "fps": self.fps,
            "latency_ms": encode(self.latency_ms),
            "jitter_ms": self.jitter_ms,
            "dropped": self.dropped,
            "rejected": self.rejected,
        }
        parts = (
            "frames",
            "age_ms",
            "stages_ms",
            "temporal_consistency",
            "usage",
            "bags",
            "provenance",
            "notes",
            "methods",
            "pictures",
        )
        return {
            **summary,
            **{name: value for name, value in statistics.items() if name not in summary},
            **{name: encode(getattr(self, name)) for name in parts},
            "class_set": self.class_set.to_dict(),
            "score": encode(self.score),
            "streaming_score": encode(self.streaming_score),
            "records": to_columns(self.records),
        }

    @classmethod
    def from_dict(cls, content: Any, where: str = "the result") -> Result:
        """Read what `to_dict` gave; unknown keys are left alone, figures are computed anew from the counts."""
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise EvaluationError(
                f"Expected a result of 'erfnet evaluate-bag' in {where}, got something else; "
                "name the result.json of another run."
            )
        version = content.get("version")
        if type(version) is not int or version > VERSION:
            raise EvaluationError(
                f"{where} has version {version!r}, and this program reads up to {VERSION}; update erfnet_ros."
            )
        if content.get("mode") not in (OFFLINE, LIVE):
            raise EvaluationError(f"Expected mode {OFFLINE} or {LIVE} in {where}, got {content.get('mode')!r}.")
        records = from_columns(content.get("records"), f"{where}.records")
        # The columns are read above; the codec would look for a list of objects.
        return replace(decode_fields(cls, {**content, "records": []}, where), records=records)

    def write(self, path: Path) -> None:
        """Write the result as JSON."""
        # A line per key: the records of a long bag would take a hundred thousand lines.
        lines = (f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in self.to_dict().items())
        write_file(path, "{\n" + ",\n".join(lines) + "\n}\n")

    @classmethod
    def read(cls, path: Path) -> Result:
        """Read a result.json, or the one in a folder."""
        file = path / "result.json" if path.is_dir() else path
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise EvaluationError(f"Cannot read the result '{file}': {error.strerror}; check the path.") from error
        except (ValueError, RecursionError) as error:
            raise EvaluationError(f"Expected JSON in the result '{file}', got: {error}.") from error
        return cls.from_dict(content, str(file))
