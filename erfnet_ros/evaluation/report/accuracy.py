"""Accuracy sections of the report: by class, by confidence, over time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from erfnet_ros.evaluation.metrics.segmentation_score import ScoreStatistics
from erfnet_ros.evaluation.report.timing import event_times_s
from erfnet_ros.evaluation.results.result import Result
from erfnet_ros.visualization.html.class_charts import class_bars, class_table, confusion_chart
from erfnet_ros.visualization.html.elements import Block, Section, Table
from erfnet_ros.visualization.html.histograms import calibration_chart
from erfnet_ros.visualization.html.line_charts import Series, timeline


def accuracy_section(result: Result, other: Result | None) -> Section:
    """Return bars and a table by class, calibration and the confusion matrix; empty where nothing had ground truth."""
    statistics, score = result.statistics, result.score
    if statistics is None or score is None:
        return Section("Accuracy", [])
    names = result.class_set.names
    shares = [statistics.iou[name] for name in names]
    theirs = None if other is None else other.statistics
    others = None if theirs is None else [theirs.iou.get(name) for name in names]
    blocks: list[Block] = [class_bars(names, shares, "IoU by class", mean=statistics.miou, other=others)]
    if result.streaming_statistics is not None:
        streaming = [result.streaming_statistics.iou[name] for name in names]
        caption = "Streaming: the newest mask that had arrived when each image was published counts."
        title = "What lateness costs: IoU by class"
        blocks.append(
            class_bars(names, shares, title, caption=caption, other=streaming, runs=("every mask", "streaming"))
        )
    calibration = score.calibration
    if sum(calibration.pixels):
        blocks.append(calibration_chart(calibration.mean_confidence, calibration.accuracy, calibration.pixels))
    if statistics.category_iou is not None:
        blocks.append(_category_bars(statistics, theirs))
    blocks += [classes_table(result, other), confusion_chart(names, score.matrix)]
    return Section("Accuracy", blocks)


def classes_table(result: Result, other: Result | None) -> Table:
    """Return what is known of each class of a scored result, in the order of their ids."""
    statistics, score = result.statistics, result.score
    if statistics is None or score is None:
        raise ValueError("Expected a result with ground truth for a table by class, got one without.")
    names = result.class_set.names
    theirs = None if other is None else other.statistics
    return class_table(
        names,
        result.class_set.colors,
        score.matrix,
        iou=[statistics.iou[name] for name in names],
        more={
            "boundary F": [statistics.boundary_f_by_class.get(name) for name in names],
            "temporal consistency": [result.temporal_consistency.by_class.get(name) for name in names],
        },
        other_iou=None if theirs is None else [theirs.iou.get(name) for name in names],
        caption="Temporal consistency: the share of the class's pixels that keep their label in the next mask.",
    )


def stability_section(result: Result) -> Section:
    """Return how accuracy, confidence and labels change over the run."""
    times = event_times_s(result)
    charts = (
        (("miou", "confidence"), "mIoU and mean confidence of each frame", "A frame's mIoU is over its own classes."),
        (("changed",), "Share of labels that changed since the mask before", ""),
    )
    blocks: list[Block] = []
    for attributes, title, caption in charts:
        lines = [_line(result, attribute, times) for attribute in attributes]
        series = [line for line in lines if len(line.x) >= 2]
        if series:
            blocks.append(timeline(series, title, "", caption=caption, share=True))
    return Section("Over time", blocks)


def _line(result: Result, attribute: str, times: npt.NDArray[np.float64]) -> Series:
    known = [
        (time_s, value)
        for time_s, record in zip(times.tolist(), result.records, strict=True)
        if (value := getattr(record, attribute)) is not None
    ]
    event_times, values = np.array(known, np.float64).reshape(-1, 2).T
    return Series({"miou": "mIoU"}.get(attribute, attribute), event_times, values)


def _category_bars(statistics: ScoreStatistics, other: ScoreStatistics | None) -> Block:
    categories = statistics.category_iou or {}
    shares = list(categories.values())
    theirs = None if other is None else other.category_iou
    others = None if theirs is None else [theirs.get(name) for name in categories]
    caption = "A confusion within a category counts as a hit."
    title = "IoU by category"
    return class_bars(list(categories), shares, title, caption=caption, mean=statistics.category_miou, other=others)
