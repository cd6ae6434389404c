"""Table of a score for the terminal: classes, means, and provenance."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from erfnet_ros.evaluation.metrics.segmentation_score import Figures, Score


def print_score(score: Score, console: Console) -> None:
    """Print the figures of a score, percentages throughout."""
    figures = score.figures()
    console.print(_classes(score, figures))
    if figures.absent:
        console.print(Text(f"Without ground truth, left out of the means: {figures.absent_classes()}"))
    if figures.category_iou is not None:
        console.print(_categories(figures.category_iou))
    print_facts({name: percent(value, 2) for name, value in _summary(figures).items()}, console)


def print_facts(facts: Mapping[str, str], console: Console) -> None:
    """Print names and values, a line each; a long value is broken over lines, never cut."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        grid.add_row(Text(name), Text(value))
    console.print(grid)
    console.print()


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as a percentage; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def _summary(figures: Figures) -> dict[str, float | None]:
    return {
        "mIoU": figures.miou,
        "mIoU, false classes as 0": figures.miou_with_false_classes,
        "category mIoU": figures.category_miou,
        "frequency-weighted IoU": figures.frequency_weighted_iou,
        "pixel accuracy": figures.pixel_accuracy,
        "boundary F-score": figures.boundary_f,
        "calibration error": figures.calibration_error,
    }


def _classes(score: Score, figures: Figures) -> Table:
    table = Table("class")
    for name in ("share of truth", "IoU", "boundary F"):
        table.add_column(name, justify="right")
    true = score.matrix.sum(axis=1)
    total = max(1, int(true.sum()))
    for name, pixels in zip(score.class_set.names, true.tolist(), strict=True):
        iou = "no truth" if name in figures.absent else percent(figures.iou[name])
        table.add_row(Text(name), percent(pixels / total), iou, percent(figures.boundary_f_by_class.get(name)))
    table.add_section()
    table.add_row("mean", "", percent(figures.miou), percent(figures.boundary_f))
    return table


def _categories(iou: Mapping[str, float | None]) -> Table:
    table = Table("category")
    table.add_column("IoU", justify="right")
    for name, value in iou.items():
        table.add_row(Text(name), "no truth" if value is None else percent(value))
    return table
