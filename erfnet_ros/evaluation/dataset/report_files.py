"""Outputs of `erfnet evaluate`: terminal, JSON and pictures, with their provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from erfnet_ros import __version__
from erfnet_ros.core.output_files import write_file
from erfnet_ros.data.datasets import DataSet
from erfnet_ros.evaluation.dataset.measure import Confusion, FrameScore, Measurement, Segment
from erfnet_ros.evaluation.dataset.protocol import Protocol
from erfnet_ros.evaluation.metrics.segmentation_score import Score, ScoreStatistics
from erfnet_ros.evaluation.results.provenance import EngineMetadata
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.models.pipeline import network_size
from erfnet_ros.visualization.contact_sheet import Sample, contact_sheet, write_png
from erfnet_ros.visualization.overlay import blend

_CONFUSIONS = 3
_PICTURES = 4
"""Frames on each contact sheet."""


@dataclass(frozen=True)
class Evaluation:
    """An evaluated data set: what was segmented, how, and what it scored.

    Attributes:
        frames: Number of frames that were segmented.
        path: File of the checkpoint.
        augmentation: What was averaged over each image, in words.
    """

    data: DataSet
    frames: int
    checkpoint: Checkpoint
    path: Path
    protocol: Protocol
    segment: Segment
    engine: EngineMetadata
    augmentation: str
    measurement: Measurement

    def provenance(self) -> dict[str, str]:
        """Return where the figures come from, by name: the data as they were scored, the weights, and the engine."""
        trained, asked, sizes = self.checkpoint.input_size, self.protocol.input_size, self.measurement.sizes
        seen = dict.fromkeys(network_size(size, trained, asked) for size in sizes)
        spread = "" if self.frames == len(self.data) else f" of {len(self.data)}, evenly spread"
        return {
            "data_set": self.data.name,
            "split": self.data.split,
            "frames": f"{self.frames}{spread}",
            "protocol": self.protocol.name,
            "scored_size": _sizes(sizes),
            "input_size": _sizes(tuple(seen)),
            "augmentation": self.augmentation,
            "checkpoint": str(self.path),
            "checkpoint_sha256": self.engine.checkpoint_sha256,
            "trained_on": self.checkpoint.data,
            "engine": self.engine.engine,
            "device": self.engine.device,
            "precision": self.engine.precision,
            "versions": f"erfnet_ros {__version__}, PyTorch {torch.__version__}",
        }


def _sizes(sizes: Sequence[tuple[int, int]]) -> str:
    """Name up to three sizes; of more, the first and the last."""
    names = [f"{width}x{height}" for width, height in sizes]
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} sizes from {names[0]} to {names[-1]}"


def show(evaluation: Evaluation, console: Console) -> None:
    """Print the figures, where there was ground truth to take them from, and their provenance."""
    if evaluation.measurement.frames:
        _print_score(evaluation.measurement.score, console)
        confusions = enumerate(evaluation.measurement.confusions(_CONFUSIONS), 1)
        _print_values({f"confusion {number}": _text(each) for number, each in confusions}, console)
    else:
        console.print("No ground truth to score against.")
    _print_values({name.replace("_", " "): value for name, value in evaluation.provenance().items()}, console)


def write_json(path: Path, evaluation: Evaluation) -> None:
    """Write all figures, the counts behind them, each frame's own and the provenance; complete or not there."""
    measurement = evaluation.measurement
    content = {
        **measurement.score.statistics().to_dict(),
        "provenance": evaluation.provenance(),
        "by_frame": [{"name": frame.name, **asdict(frame.statistics)} for frame in measurement.frames],
        "score": measurement.score.to_dict(),
    }
    write_file(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_pictures(folder: Path, evaluation: Evaluation) -> None:
    """Write best.png and worst.png, the frames of the highest and of the lowest mIoU, and confusions.png."""
    data, measurement = evaluation.data, evaluation.measurement
    for name, frames in (("best", measurement.best(_PICTURES)), ("worst", measurement.worst(_PICTURES))):
        if not frames:
            continue
        samples = [_sample(frame, evaluation) for frame in frames]
        title = f"{name} frames of {data.name} {data.split}"
        overall = f"mIoU {_percent(measurement.score.statistics().miou, 2)} over {measurement.score.frames} frames"
        write_png(folder / f"{name}.png", contact_sheet(samples, data.class_set, title=_ascii(title), subtitle=overall))
    confusions = measurement.confusions(_CONFUSIONS)
    if confusions:
        samples = [replace(_sample(each.frame, evaluation), caption=_ascii(_text(each))) for each in confusions]
        title = f"worst confusions of {data.name} {data.split}"
        write_png(folder / "confusions.png", contact_sheet(samples, data.class_set, title=_ascii(title)))


def _text(confusion: Confusion) -> str:
    share = _percent(confusion.share)
    return f"{confusion.true} labeled as {confusion.labeled}: {share} of its pixels, most in {confusion.frame.name}"


def _sample(frame: FrameScore, evaluation: Evaluation) -> Sample:
    prepared = evaluation.protocol(evaluation.data[frame.index])
    labels = evaluation.segment(prepared.rgb).labels
    overlay = blend(prepared.rgb, labels, evaluation.data.class_set.palette(), 0.5)
    caption = f"{_ascii(frame.name)}  mIoU {_percent(frame.statistics.miou)}"
    return Sample(caption, prepared.rgb, prepared.ground_truth, labels, overlay)


def _ascii(text: str) -> str:
    """Return what OpenCV's fonts can show of a text."""
    return text.encode("ascii", "replace").decode()


def _print_score(score: Score, console: Console) -> None:
    """Print the figures of a score, percentages throughout."""
    statistics = score.statistics()
    console.print(_classes(score, statistics))
    if statistics.absent:
        console.print(Text(f"Without ground truth, left out of the means: {statistics.absent_classes()}"))
    if statistics.category_iou is not None:
        console.print(_categories(statistics.category_iou))
    _print_values({name: _percent(value, 2) for name, value in _summary(statistics).items()}, console)


def _print_values(values: Mapping[str, str], console: Console) -> None:
    """Print names and values, a line each; a long value is broken over lines, never cut."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")
    for name, value in values.items():
        grid.add_row(Text(name), Text(value))
    console.print(grid)
    console.print()


def _percent(value: float | None, digits: int = 1) -> str:
    """Return a share as a percentage; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def _summary(statistics: ScoreStatistics) -> dict[str, float | None]:
    return {
        "mIoU": statistics.miou,
        "mIoU, false classes as 0": statistics.miou_with_false_classes,
        "category mIoU": statistics.category_miou,
        "frequency-weighted IoU": statistics.frequency_weighted_iou,
        "pixel accuracy": statistics.pixel_accuracy,
        "boundary F-score": statistics.boundary_f,
        "calibration error": statistics.calibration_error,
    }


def _classes(score: Score, statistics: ScoreStatistics) -> Table:
    table = Table("class")
    for name in ("share of ground truth", "IoU", "boundary F"):
        table.add_column(name, justify="right")
    true = score.matrix.sum(axis=1)
    total = max(1, int(true.sum()))
    for name, pixels in zip(score.class_set.names, true.tolist(), strict=True):
        iou = "no ground truth" if name in statistics.absent else _percent(statistics.iou[name])
        table.add_row(Text(name), _percent(pixels / total), iou, _percent(statistics.boundary_f_by_class.get(name)))
    table.add_section()
    table.add_row("mean", "", _percent(statistics.miou), _percent(statistics.boundary_f))
    return table


def _categories(iou: Mapping[str, float | None]) -> Table:
    table = Table("category")
    table.add_column("IoU", justify="right")
    for name, value in iou.items():
        table.add_row(Text(name), "no ground truth" if value is None else _percent(value))
    return table
