"""Thresholds that a result must meet, such as those of a CI job.

    miou>=0.60 latency_p99<=0.100 dropped<=0.02 iou.road>0.9

Requirements are separated by blanks or commas, and all must hold. Each is a statistic's name, one of >= <= > < ==, and
a plain number: shares from 0 to 1, durations in seconds. `STATISTICS` has the names; `iou.CLASS` is one more per
class, blanks in the class's name written as underscores.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.evaluation.metrics.latency import LatencyStatistics
from erfnet_ros.evaluation.results.result import LIVE, Result

Statistic = Callable[[Result], "float | None"]

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_REQUIREMENT = re.compile(r"([^<>=]+)(>=|<=|==|>|<)([^<>=]+)")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_CLASS_IOU = "iou."


def _seconds(statistics: Callable[[Result], LatencyStatistics | None], part: str) -> Statistic:
    def statistic(result: Result) -> float | None:
        found = statistics(result)
        return None if found is None else float(getattr(found, part)) / 1e3

    return statistic


def _accuracy(name: str) -> Statistic:
    return lambda result: None if result.statistics is None else getattr(result.statistics, name)


def _usage(name: str) -> Statistic:
    return lambda result: None if result.usage is None else getattr(result.usage, name)


_PARTS = ("p50", "p90", "p99", "max", "mean")
_ACCURACY = (
    "miou_with_false_classes",
    "pixel_accuracy",
    "frequency_weighted_iou",
    "category_miou",
    "boundary_f",
    "calibration_error",
)

STATISTICS: dict[str, Statistic] = {
    "miou": lambda result: result.miou,
    "streaming_miou": lambda result: result.streaming_miou,
    **{name: _accuracy(name) for name in _ACCURACY},
    "temporal_consistency": lambda result: result.temporal_consistency.share,
    "fps": lambda result: result.fps,
    **{f"latency_{part}": _seconds(lambda result: result.latency_ms, part) for part in _PARTS},
    **{f"age_{part}": _seconds(lambda result: result.age_ms, part) for part in _PARTS},
    **{f"inference_{part}": _seconds(lambda result: result.stages_ms.get("inference"), part) for part in _PARTS},
    "jitter": lambda result: None if result.jitter_ms is None else result.jitter_ms / 1e3,
    "dropped": lambda result: result.dropped,
    "rejected": lambda result: result.rejected,
    "images": lambda result: float(result.frames.images),
    "answered": lambda result: float(result.frames.answered),
    "scored": lambda result: float(result.frames.scored),
    "unmatched_ground_truths": lambda result: float(result.frames.unmatched_ground_truths),
    "unmatched_images": lambda result: float(result.frames.unmatched_images),
    "refused_ground_truths": lambda result: float(result.frames.refused_ground_truths),
    **{name: _usage(name) for name in ("cpu_percent", "memory_mb", "gpu_percent", "gpu_memory_mb")},
}
"""What may be required, by name; None where the run did not measure it."""


@dataclass(frozen=True)
class Requirement:
    """One bound: a figure's name, the comparison, and the number as it was written and as it is."""

    name: str
    comparison: str
    bound: float
    written: str

    def __str__(self) -> str:
        return f"{self.name}{self.comparison}{self.written}"


@dataclass(frozen=True)
class Verdict:
    """Whether a requirement holds.

    Attributes:
        value: What the run measured; None where it did not.
        passed: False as well where there is no value.
    """

    requirement: Requirement
    value: float | None
    passed: bool
    text: str


def parse(text: str) -> tuple[Requirement, ...]:
    """Read requirements such as "miou>=0.60 latency_p99<=0.100"."""
    # Without blanks around the comparisons each word is a requirement.
    words = re.sub(r"\s*(>=|<=|==|>|<)\s*", r"\1", text).replace(",", " ").split()
    if not words:
        raise EvaluationError("Expected a requirement such as miou>=0.60 after --require, got nothing.")
    return tuple(map(_requirement, words))


def _requirement(word: str) -> Requirement:
    match = _REQUIREMENT.fullmatch(word)
    if match is None:
        raise EvaluationError(
            f"Expected NAME, one of {' '.join(_COMPARISONS)} and a number, such as miou>=0.60, "
            f"got '{word}' in --require."
        )
    name, comparison, written = match.groups()
    if name not in STATISTICS and not (name.startswith(_CLASS_IOU) and len(name) > len(_CLASS_IOU)):
        raise EvaluationError(
            f"Expected a figure out of {', '.join(STATISTICS)} or {_CLASS_IOU}CLASS in --require, got '{name}'."
        )
    if _NUMBER.fullmatch(written) is None:
        raise EvaluationError(
            f"Expected a plain number after {name}{comparison} in --require (shares from 0 to 1, durations in "
            f"seconds), got '{written}'."
        )
    return Requirement(name, comparison, float(written), written)


def check_classes(requirements: Sequence[Requirement], class_set: ClassSet) -> None:
    """Refuse `iou.CLASS` of a class that the class set does not have."""
    known = [_CLASS_IOU + _word(name) for name in class_set.names]
    for requirement in requirements:
        if requirement.name.startswith(_CLASS_IOU) and requirement.name not in known:
            raise EvaluationError(
                f"Expected a class of '{class_set.name}' in --require ({', '.join(known)}), got '{requirement.name}'."
            )


def check(requirements: Sequence[Requirement], result: Result) -> tuple[Verdict, ...]:
    """Compare a result with requirements; what the run did not measure has failed."""
    check_classes(requirements, result.class_set)
    return tuple(_verdict(requirement, result) for requirement in requirements)


def _verdict(requirement: Requirement, result: Result) -> Verdict:
    value = _value(requirement.name, result)
    if value is None:
        return Verdict(requirement, None, False, f"{requirement}: failed, {_why_not(requirement.name, result)}")
    passed = _COMPARISONS[requirement.comparison](value, requirement.bound)
    # A rounded value that seems to lie on the other side of the bound would make a riddle of the verdict.
    short = f"{value:.4g}"
    shown = short if _COMPARISONS[requirement.comparison](float(short), requirement.bound) == passed else repr(value)
    return Verdict(requirement, value, passed, f"{requirement}: {'passed' if passed else 'failed'}, got {shown}")


def _value(name: str, result: Result) -> float | None:
    if not name.startswith(_CLASS_IOU):
        return STATISTICS[name](result)
    if result.statistics is None:
        return None
    return {_CLASS_IOU + _word(key): iou for key, iou in result.statistics.iou.items()}[name]


def _why_not(name: str, result: Result) -> str:
    live_only = name.startswith(("latency_", "age_", "streaming_")) or name in ("jitter", "dropped")
    if live_only and result.mode != LIVE:
        return f"there is no {name} in {result.mode} mode; run with --live"
    if result.statistics is None and (name in ("miou", "streaming_miou", *_ACCURACY) or name.startswith(_CLASS_IOU)):
        return "nothing was scored without ground truth; name it with --ground-truth-topic or --ground-truth-dir"
    if name.startswith(_CLASS_IOU):
        return "the class has no ground truth in the bags; leave it out"
    return "this run did not measure it; leave it out, or see docs/bags.md for what measures it"


def _word(name: str) -> str:
    return re.sub(r"\s+", "_", name)
