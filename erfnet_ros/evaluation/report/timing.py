"""Timing section of the report: latency, dropped frames, and time by stage."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from erfnet_ros.evaluation.metrics.latency import LatencyStatistics
from erfnet_ros.evaluation.results.frame_records import ANSWERED
from erfnet_ros.evaluation.results.result import Result
from erfnet_ros.visualization.html.elements import RUNS, Block, Cell, Column, Section, Table
from erfnet_ros.visualization.html.formatting import milliseconds, number
from erfnet_ros.visualization.html.histograms import histogram
from erfnet_ros.visualization.html.line_charts import Series, timeline


def timing_section(result: Result, other: Result | None) -> Section:
    """Return latency as histogram and time line, frames without a mask by reason, and times by stage."""
    blocks: list[Block] = []
    line = _latency_line(result, RUNS[0])
    lost_s = [
        float(time_s)
        for time_s, record in zip(event_times_s(result), result.records, strict=True)
        if record.outcome != ANSWERED
    ]
    if line is not None and result.latency_ms is not None:
        theirs = None if other is None else _latency_line(other, RUNS[1])
        marks = {name: float(getattr(result.latency_ms, name)) for name in ("p50", "p90", "p99", "max")}
        caption = "Image published to mask received."
        others = None if theirs is None else theirs.y
        blocks.append(histogram(line.y, "Latency", unit="milliseconds", marks=marks, caption=caption, other=others))
        blocks.append(_stages_table(result))
        series = [line] if theirs is None else [line, theirs]
        title = "Latency, and frames without a mask" if lost_s else "Latency over time"
        caption = "Seconds of the bag." if len(result.bags) == 1 else "Seconds of the bags, one after another."
        event = "no mask" if lost_s else ""
        blocks.append(timeline(series, title, "milliseconds", caption=caption, events=lost_s, event=event))
    elif result.stages_ms:
        blocks.append(_stages_table(result))
    if lost_s:
        blocks.append(_reasons_table(result))
    return Section("Timing", blocks)


def event_times_s(result: Result) -> npt.NDArray[np.float64]:
    """Return each record's seconds since the first image of its bag, one bag a frame's time after another.

    Stamps that jump back are held at the greatest before, so that the axis runs one way: the event times ascend.
    """
    event_times = np.zeros(len(result.records))
    bags = np.array([record.bag for record in result.records], np.int64)
    stamps = np.array([record.stamp_ns for record in result.records], np.int64)
    end = 0.0
    for bag in dict.fromkeys(bags.tolist()):
        own = bags == bag
        first = int(stamps[own][0])
        event_times[own] = end + np.maximum.accumulate((stamps[own] - first) / 1e9)
        span = float(event_times[own][-1]) - end
        end += span + span / max(1, int(own.sum()) - 1)
    return np.maximum.accumulate(event_times) if len(event_times) else event_times


def _latency_line(result: Result, name: str) -> Series | None:
    known = [
        (float(time_s), record.latency_ms)
        for time_s, record in zip(event_times_s(result), result.records, strict=True)
        if record.latency_ms is not None
    ]
    if not known:
        return None
    times, values = np.array(known, np.float64).T
    return Series(name, times, values)


def _stages_table(result: Result) -> Table:
    """Return the percentiles of the whole way and of its parts."""
    whole = {"latency": result.latency_ms, "age of the mask": result.age_ms}
    spreads: dict[str, LatencyStatistics] = {name: found for name, found in whole.items() if found is not None}
    columns = [Column("for each frame", numeric=False), *(Column(name) for name in _PARTS)]
    rows = [
        [Cell(name), *(Cell(milliseconds(getattr(times, part))) for part in _PARTS)]
        for name, times in [*spreads.items(), *result.stages_ms.items()]
    ]
    caption = (
        "Age of the mask: when each image was published, how long ago the image of the newest mask was."
        if result.age_ms is not None
        else ""
    )
    return Table(columns, rows, "Where the time goes", caption)


_PARTS = ("mean", "p50", "p90", "p99", "max")


def _reasons_table(result: Result) -> Table:
    """Return how many frames have no mask, by what became of them and why, the commonest first."""
    counts = Counter((r.outcome, r.reason or "") for r in result.records if r.outcome != ANSWERED)
    columns = [Column("outcome", numeric=False), Column("why", numeric=False), Column("frames")]
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rows = [[Cell(outcome), Cell(reason), Cell(number(count))] for (outcome, reason), count in ordered[:_REASONS]]
    rest = sum(count for _, count in ordered[_REASONS:])
    if rest:
        rows.append([Cell("others"), Cell(f"{len(ordered) - _REASONS} more reasons"), Cell(number(rest))])
    return Table(columns, rows, "Frames without a mask")


_REASONS = 12
