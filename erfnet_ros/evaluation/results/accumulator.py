"""Accumulator of per-bag metrics, which can be saved and resumed."""

from __future__ import annotations

import base64
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.config_schema import decode, encode
from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.evaluation.inputs.bag_frames import BagFrame
from erfnet_ros.evaluation.metrics.segmentation_score import Score
from erfnet_ros.evaluation.metrics.temporal_consistency import TemporalConsistency
from erfnet_ros.evaluation.results.example_frames import Candidate, ExampleFrames
from erfnet_ros.evaluation.results.frame_records import ANSWERED, REJECTED, FrameRecord, from_columns, to_columns
from erfnet_ros.inference.segmenter import Segmentation

STAGES = ("decode", "inference", "score")

_DIGITS = 6
"""Of a frame's own figures."""


@dataclass(frozen=True)
class Prediction:
    """What the network said of a frame.

    Attributes:
        segmentation: Labels, confidence and times.
        labels: (H, W) uint8, the labels with uncertain pixels void, as the threshold asks.
    """

    segmentation: Segmentation
    labels: Pixels


@dataclass
class Resources:
    """Time, processor time and largest memory that the evaluation of a bag took so far."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_bytes: int = 0
    gpu_memory_bytes: int = 0


class Accumulator:
    """Add up the frames of one bag."""

    def __init__(self, class_set: ClassSet, images: int, boundaries: bool) -> None:
        self._class_set = class_set
        self.score = Score(class_set, boundaries)
        self.temporal_consistency = TemporalConsistency(len(class_set))
        self.example_frames = ExampleFrames(class_set, images)
        self.records: list[FrameRecord] = []
        self.refusals: Counter[str] = Counter()
        self.stages_ms: dict[str, list[float]] = {stage: [] for stage in STAGES}
        self.notes: tuple[str, ...] = ()
        self.resources = Resources()

    def add(self, frame: BagFrame, answer: Prediction | None) -> None:
        """Add a frame and its prediction; None where the frame has a fault."""
        start_s = time.perf_counter()
        if frame.ground_truth_fault is not None:
            self.refusals[frame.ground_truth_fault] += 1
        if answer is None:
            self.records.append(FrameRecord(0, frame.index, frame.stamp_ns, REJECTED, frame.fault))
            return
        confidence = round(cv2.mean(answer.segmentation.confidence)[0] / VOID, _DIGITS)
        miou, weakest = None, {}
        if frame.ground_truth is not None:
            statistics = self.score.add(frame.ground_truth, answer.labels, answer.segmentation.confidence)
            miou = _rounded(statistics.miou)
            weakest = {name: round(iou, _DIGITS) for name, iou in statistics.weakest.items()}
        changed = _rounded(self.temporal_consistency.add(answer.labels))
        self.records.append(
            FrameRecord(0, frame.index, frame.stamp_ns, ANSWERED, miou=miou, confidence=confidence, changed=changed)
        )
        if frame.rgb is not None:
            candidate = Candidate(frame.index, frame.stamp_ns, miou, confidence, weakest)
            self.example_frames.add(candidate, rgb=frame.rgb, ground_truth=frame.ground_truth, labels=answer.labels)
        times = answer.segmentation.times
        self.stages_ms["decode"].append(round(frame.decode_ms, 3))
        self.stages_ms["inference"].append(round(times.preprocess_ms + times.inference_ms, 3))
        self.stages_ms["score"].append(round(1e3 * (time.perf_counter() - start_s), 3))

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in what JSON holds, the last mask included."""
        return {
            "score": self.score.to_dict(),
            "temporal_consistency": self.temporal_consistency.to_dict(),
            "last": None if self.temporal_consistency.last is None else _to_png(self.temporal_consistency.last),
            "example_frames": encode(self.example_frames.candidates()),
            "records": to_columns(self.records),
            "refusals": dict(self.refusals),
            "stages_ms": self.stages_ms,
            "notes": list(self.notes),
            "resources": encode(self.resources),
        }

    def restore(self, content: Any) -> None:
        """Go on from what `to_dict` returned.

        Raises:
            ErfnetError: Something is missing or of another type.
        """
        try:
            self.score = Score.from_dict(content["score"])
            self.temporal_consistency = TemporalConsistency.from_dict(content["temporal_consistency"])
            self.temporal_consistency.last = None if content["last"] is None else _from_png(content["last"])
            self.example_frames.restore(content["example_frames"])
            self.records = list(from_columns(content["records"], "the records"))
            self.refusals = Counter(decode(dict[str, int], content["refusals"], "the refusals"))
            stages_ms = decode(dict[str, tuple[float, ...]], content["stages_ms"], "the stages")
            self.stages_ms = {stage: list(stages_ms[stage]) for stage in STAGES}
            self.notes = decode(tuple[str, ...], content["notes"], "the notes")
            self.resources = decode(Resources, content["resources"], "the resources")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EvaluationError(f"Expected the counts of a bag, got damaged ones: {error!r}.") from error


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def _to_png(labels: Pixels) -> str:
    content = cv2.imencode(".png", labels, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1]
    return base64.b64encode(content.tobytes()).decode("ascii")


def _from_png(text: str) -> Pixels:
    labels = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED)
    if labels is None:
        raise EvaluationError("Expected a mask as PNG, got what cannot be decoded.")
    return labels.astype(np.uint8, copy=False)
