"""Summary tiles and table of a result: each figure with its unit, direction and verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from erfnet_ros.evaluation.results.result import LIVE, Result
from erfnet_ros.evaluation.thresholds import STATISTICS
from erfnet_ros.evaluation.thresholds import Verdict as ThresholdVerdict
from erfnet_ros.visualization.html.elements import RUNS, Cell, Column, Note, Table, Tile, Verdict
from erfnet_ros.visualization.html.formatting import (
    UNKNOWN,
    milliseconds,
    number,
    percent,
    points,
    signed_milliseconds,
    signed_number,
)

_FEW = 0.01
"""A share of dropped images up to which a run is fair, not bad."""


@dataclass(frozen=True)
class Unit:
    """How a figure and a difference of two are written."""

    value: Callable[[float], str]
    change: Callable[[float], str]


SHARE = Unit(percent, points)
SECONDS = Unit(lambda value: milliseconds(1e3 * value), lambda value: signed_milliseconds(1e3 * value))
RATE = Unit(lambda value: f"{number(value)} fps", lambda value: f"{signed_number(value)} fps")
PERCENT = Unit(lambda value: f"{number(value, 0)} %", lambda value: f"{signed_number(value, 0)} points")
MEGABYTES = Unit(lambda value: f"{number(value, 0)} MB", lambda value: f"{signed_number(value, 0)} MB")
COUNT = Unit(lambda value: number(value, 0), lambda value: signed_number(value, 0))


@dataclass(frozen=True)
class SummaryStatistic:
    """One statistic of a run.

    Attributes:
        statistic: Its name in `thresholds.STATISTICS`.
        better: 1 where more is better, -1 where less is, 0 where neither.
        tile: Whether the page's summary has a tile of it.
        note: What stands below it.
    """

    statistic: str
    label: str
    unit: Unit
    better: int
    tile: bool = False
    note: Callable[[Result], str] = lambda result: ""

    def value(self, result: Result | None) -> float | None:
        """Return it for a run; None where it was not measured or there is no run."""
        return None if result is None else STATISTICS[self.statistic](result)

    def text(self, result: Result | None) -> str:
        """Return it as text."""
        value = self.value(result)
        return UNKNOWN if value is None else self.unit.value(value)

    def change(self, result: Result, other: Result | None) -> tuple[str, Verdict]:
        """Return how it differs from another run's, and whether for the better; "" where it cannot be said."""
        here, there = self.value(result), self.value(other)
        if here is None or there is None:
            return "", "plain"
        text = self.unit.change(here - there)
        if not self.better or text == self.unit.change(0.0):
            return text, "plain"
        return text, "good" if (here - there) * self.better > 0 else "bad"


SUMMARY_STATISTICS = (
    SummaryStatistic(
        "miou", "mIoU", SHARE, 1, True, lambda result: f"over {number(result.frames.scored)} scored frames"
    ),
    SummaryStatistic("miou_with_false_classes", "mIoU, classes without ground truth as 0", SHARE, 1),
    SummaryStatistic("streaming_miou", "streaming mIoU", SHARE, 1, True, lambda result: "with lateness counted"),
    SummaryStatistic("pixel_accuracy", "pixel accuracy", SHARE, 1, True),
    SummaryStatistic("category_miou", "category mIoU", SHARE, 1),
    SummaryStatistic("frequency_weighted_iou", "frequency-weighted IoU", SHARE, 1),
    SummaryStatistic("boundary_f", "boundary F-score", SHARE, 1, True),
    SummaryStatistic(
        "calibration_error", "calibration error", SHARE, -1, True, lambda result: "confidence against hits"
    ),
    SummaryStatistic(
        "temporal_consistency", "temporal consistency", SHARE, 1, True, lambda result: "labels kept from mask to mask"
    ),
    SummaryStatistic(
        "latency_p50", "latency p50", SECONDS, -1, True, lambda result: "image published to mask received"
    ),
    SummaryStatistic("latency_p90", "latency p90", SECONDS, -1),
    SummaryStatistic("latency_p99", "latency p99", SECONDS, -1, True, lambda result: _latency_note(result)),
    SummaryStatistic("latency_max", "latency, longest", SECONDS, -1),
    SummaryStatistic("jitter", "jitter", SECONDS, -1),
    SummaryStatistic("age_p50", "age of the mask p50", SECONDS, -1),
    SummaryStatistic("age_p99", "age of the mask p99", SECONDS, -1),
    SummaryStatistic("dropped", "dropped", SHARE, -1, True, lambda result: _of_images(result, result.frames.dropped)),
    SummaryStatistic(
        "rejected", "rejected", SHARE, -1, True, lambda result: _of_images(result, result.frames.rejected)
    ),
    SummaryStatistic(
        "fps",
        "frame rate",
        RATE,
        1,
        True,
        lambda result: f"masks per second of {'replay' if result.mode == LIVE else 'evaluation'}",
    ),
    SummaryStatistic("cpu_percent", "CPU", PERCENT, -1, True, lambda result: f"{_process(result)}; 100 % is one core"),
    SummaryStatistic("memory_mb", "memory", MEGABYTES, -1, True, lambda result: f"{_process(result)}, at its largest"),
    SummaryStatistic("gpu_percent", "GPU", PERCENT, 0, True, lambda result: "mean utilization"),
    SummaryStatistic("gpu_memory_mb", "GPU memory", MEGABYTES, -1, True, lambda result: "at its largest"),
    SummaryStatistic("images", "images", COUNT, 0),
    SummaryStatistic("answered", "masks", COUNT, 0),
    SummaryStatistic("scored", "scored masks", COUNT, 0),
    SummaryStatistic("unmatched_ground_truths", "ground truths without an image", COUNT, -1),
    SummaryStatistic("unmatched_images", "images without a ground truth", COUNT, 0),
    SummaryStatistic("refused_ground_truths", "ground truths refused", COUNT, -1),
)
"""In reading order."""


def tiles(result: Result, other: Result | None, verdicts: Sequence[ThresholdVerdict]) -> list[Tile]:
    """Return the summary tiles that either run has; none is shown for what went as it should (nothing rejected)."""
    shown = []
    for entry in SUMMARY_STATISTICS:
        values = [entry.value(result), entry.value(other)]
        needless = entry.statistic == "rejected" and not any(values)
        if entry.tile and not needless and values != [None, None]:
            change, change_verdict = entry.change(result, other)
            note = entry.note(result) if values[0] is not None else "not measured in this run"
            verdict = _verdict(entry, result, verdicts)
            shown.append(Tile(entry.label, entry.text(result), note, verdict, change, change_verdict))
    return shown


def statistics_table(result: Result, other: Result | None) -> Table:
    """Return every figure that either run has, side by side where there are two."""
    columns = [Column("figure", numeric=False), Column(RUNS[0] if other else "value")]
    columns += [Column(RUNS[1]), Column("change")] if other else []
    rows = []
    for entry in SUMMARY_STATISTICS:
        if entry.value(result) is None and entry.value(other) is None:
            continue
        row = [Cell(entry.label), Cell(entry.text(result))]
        if other is not None:
            row += [Cell(entry.text(other)), Cell(*entry.change(result, other))]
        rows.append(row)
    return Table(columns, rows, title="All figures")


def requirement_notes(verdicts: Sequence[ThresholdVerdict]) -> list[Note]:
    """Return a note for each requirement that failed, or one where all are met."""
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if failed:
        return [Note(f"Requirement {verdict.text}", "bad") for verdict in failed]
    passed = ", ".join(str(verdict.requirement) for verdict in verdicts)
    return [Note(f"Requirements met: {passed}", "good")] if verdicts else []


def _verdict(entry: SummaryStatistic, result: Result, verdicts: Sequence[ThresholdVerdict]) -> Verdict:
    """Return the verdict of the requirements on a figure; without one, compare losses and latency with this bag."""
    own = [verdict.passed for verdict in verdicts if verdict.requirement.name == entry.statistic]
    value = entry.value(result)
    if own:
        return "good" if all(own) else "bad"
    if value is None:
        return "plain"
    if entry.statistic in ("dropped", "rejected"):
        return "good" if value == 0 else "fair" if value <= _FEW else "bad"
    period_s = _camera_period_s(result)
    if entry.statistic in ("latency_p50", "latency_p99") and period_s is not None:
        return "good" if value <= period_s else "fair" if value <= 2 * period_s else "bad"
    return "plain"


def _camera_period_s(result: Result) -> float | None:
    """Return the mean time from image to image in the replay: a mask that takes longer is older than the next image."""
    images = sum(bag.frames - 1 for bag in result.bags)
    seconds = sum(bag.duration_s for bag in result.bags) / (result.provenance.rate or 1.0)
    return seconds / images if images > 0 and seconds > 0 else None


def _latency_note(result: Result) -> str:
    period_s = _camera_period_s(result)
    camera = "" if period_s is None else f"; an image every {milliseconds(1e3 * period_s)}"
    longest = UNKNOWN if result.latency_ms is None else milliseconds(result.latency_ms.max)
    return f"longest {longest}{camera}"


def _of_images(result: Result, count: int) -> str:
    return f"{number(count)} of {number(result.frames.images)} images"


def _process(result: Result) -> str:
    return "the node" if result.mode == LIVE else "the evaluation"
