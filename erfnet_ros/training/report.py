"""HTML report of a training run: curves, score by class, best and worst frames, provenance."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from erfnet_ros import __version__
from erfnet_ros.core.config_schema import encode
from erfnet_ros.core.errors import ImageError
from erfnet_ros.evaluation.metrics.segmentation_score import Score, ScoreStatistics
from erfnet_ros.training.history import CurvePoint, Evaluation, FrameResult, History
from erfnet_ros.visualization.html import render
from erfnet_ros.visualization.html.class_charts import class_bars, class_table, confusion_chart
from erfnet_ros.visualization.html.elements import Block, Code, Metadata, Note, Page, Picture, Section, Tile
from erfnet_ros.visualization.html.formatting import UNKNOWN, duration, number, percent
from erfnet_ros.visualization.html.histograms import calibration_chart
from erfnet_ros.visualization.html.images import file_uri
from erfnet_ros.visualization.html.line_charts import Series, curves

PAGE = "report.html"


def write_report(run: Path) -> Path:
    """Write `report.html` into a run's folder, from its history and its evaluation, if it has one; return its path."""
    return render.write(build_page(run, History.read(run), Evaluation.read(run)), run / PAGE)


def build_page(run: Path, history: History, evaluation: Evaluation | None) -> Page:
    """Return the page; see `write_report`."""
    statistics = None if evaluation is None else evaluation.score.statistics()
    sections = [Section("Curves", _curves(history))]
    notes = []
    if evaluation is None or statistics is None:
        notes.append(Note("Nothing was evaluated, so the score is unknown; see 'erfnet evaluate'.", "fair"))
    else:
        sections += [_score_section(evaluation.score, statistics, evaluation.split), _frames_section(run, evaluation)]
        if statistics.absent:
            absent = statistics.absent_classes()
            notes.append(Note(f"Without ground truth, and so left out of the means: {absent}."))
    sections += [_data_section(history), _provenance_section(history)]
    return Page(
        title=f"Training: {history.recipe_name} on {history.data}",
        subtitle=f"{history.hardware}, seed {history.seed}",
        tiles=_tiles(history, statistics, None if evaluation is None else evaluation.split),
        sections=sections,
        notes=notes,
        footer=f"Written by erfnet_ros {__version__}. This file is self-contained.",
    )


def _tiles(history: History, statistics: ScoreStatistics | None, split: str | None) -> list[Tile]:
    tiles = []
    if statistics is not None:
        frames = f"{split}, {number(statistics.frames)} frames"
        tiles += [
            Tile("mIoU", percent(statistics.miou, 2), frames),
            Tile("pixel accuracy", percent(statistics.pixel_accuracy)),
            Tile("boundary F-score", percent(statistics.boundary_f)),
            Tile("calibration error", percent(statistics.calibration_error), "confidence against hits"),
        ]
    mious = [point.val_miou for point in history.points if point.val_miou is not None]
    if mious:
        tiles.append(Tile("best mIoU while training", percent(max(mious), 2), f"on {history.validated_on}"))
    last = number(history.points[-1].loss, 3) if history.points else UNKNOWN
    return [
        *tiles,
        Tile("loss at the end", last),
        Tile("steps", number(history.steps), f"{number(history.images)} crops"),
        Tile("images per second", number(history.images / max(history.seconds, 1e-9))),
        Tile("time", duration(history.seconds), "in training steps"),
    ]


def _curves(history: History) -> list[Block]:
    """Return loss, validation mIoU and learning rate over steps, a line for each stage."""
    if not history.points:
        return []
    blocks: list[Block] = [curves(_by_stage(history, "loss"), "Training loss", "loss", x_label="step")]
    mious = _by_stage(history, "val_miou")
    if any((~np.isnan(line.y)).any() for line in mious):
        blocks.append(curves(mious, f"mIoU on {history.validated_on}", "mIoU", x_label="step", share=True))
    blocks.append(curves(_by_stage(history, "learning_rate"), "Learning rate", "rate", x_label="step"))
    return blocks


def _by_stage(history: History, quantity: str) -> list[Series]:
    stages: dict[str, list[CurvePoint]] = {}
    for point in history.points:
        stages.setdefault(point.stage, []).append(point)
    return [
        Series(
            stage,
            np.array([point.step for point in points], np.float64),
            np.array([np.nan if (y := getattr(point, quantity)) is None else y for point in points], np.float64),
        )
        for stage, points in stages.items()
    ]


def _score_section(score: Score, statistics: ScoreStatistics, split: str) -> Section:
    names = score.class_set.names
    shares = [statistics.iou[name] for name in names]
    blocks: list[Block] = [class_bars(names, shares, "IoU by class", mean=statistics.miou)]
    calibration = score.calibration
    if sum(calibration.pixels):
        blocks.append(calibration_chart(calibration.mean_confidence, calibration.accuracy, calibration.pixels))
    boundary = {"boundary F": [statistics.boundary_f_by_class.get(name) for name in names]}
    blocks.append(class_table(names, score.class_set.colors, score.matrix, iou=shares, more=boundary))
    blocks.append(confusion_chart(names, score.matrix))
    return Section(f"Score on {split}", blocks)


def _frames_section(run: Path, evaluation: Evaluation) -> Section:
    blocks = [_picture(run, "Worst", frame) for frame in evaluation.worst]
    blocks += [_picture(run, "Best", frame) for frame in evaluation.best]
    return Section("Frames to look at", blocks)


def _picture(run: Path, word: str, frame: FrameResult) -> Block:
    """Return a frame's strip, or a note where it is missing."""
    title = f"{word}: {frame.name}"
    try:
        return Picture(file_uri(run / frame.picture), title, f"mIoU {percent(frame.miou)} of this frame alone")
    except ImageError as error:
        return Note(f"{title}: {error}", "fair")


def _data_section(history: History) -> Section:
    import yaml

    caption = "Pixels with a class, in the training split."
    chart = class_bars(history.class_names, history.class_frequencies, "Share of each class", caption=caption)
    recipe = yaml.safe_dump(encode(history.recipe), sort_keys=False, default_flow_style=None, width=72)
    code = Code(recipe.rstrip(), "Recipe", "As a file, this is what --recipe takes.")
    return Section("Data and recipe", [chart, code])


def _provenance_section(history: History) -> Section:
    metadata = {
        "command": history.command,
        "data": history.data,
        "seed": str(history.seed),
        "hardware": history.hardware,
        **{f"version: {name}": text for name, text in history.versions.items()},
    }
    return Section("How to repeat this run", [Metadata([(name, (text,)) for name, text in metadata.items()])])
