"""Bar chart and table by class, for one run or two, and chart of the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import ConfusionMatrix
from erfnet_ros.visualization.html import svg
from erfnet_ros.visualization.html.elements import RUNS, Cell, Chart, Color, Column, Table
from erfnet_ros.visualization.html.formatting import UNKNOWN, percent, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Shares = Sequence[float | None]
Floats = npt.NDArray[np.float64]

_CELL = 44
_LEFT = 170
_TOP = 120
_SMALLEST_SHARE = 0.005
"""Below half a percent a cell stays empty: what is left is what a reader looks for."""


def class_bars(
    names: Sequence[str],
    shares: Shares,
    title: str,
    *,
    caption: str = "",
    mean: float | None = None,
    other: Shares | None = None,
    runs: tuple[str, str] = RUNS,
) -> Chart:
    """Draw a bar for each class, best first.

    Args:
        shares: 0..1 for each class; None where there is none, which is shown as a dash at the end.
        mean: Marked by a line, 0..1.
        other: The same classes in another run: a second bar each.
    """
    order = sorted(range(len(names)), key=lambda index: (shares[index] is None, -(shares[index] or 0.0), index))
    pair = other is not None
    row = 34 if pair else 21
    with svg.drawing():
        figure = svg.new_figure(svg.HALF_WIDTH, 52 + row * len(names) + (22 if pair else 0))
        axes = figure.add_subplot()
        groups = [(shares, svg.ACCENT, runs[0])]
        if other is not None:
            groups.append((other, svg.OTHER, runs[1]))
        height = 0.72 / len(groups)
        for number, (values, color, label) in enumerate(groups):
            shift = (number - (len(groups) - 1) / 2) * height
            places = [place + shift for place in range(len(order))]
            lengths = [values[index] or 0.0 for index in order]
            axes.barh(places, lengths, height=height * 0.94, color=color, label=svg.plain_text(label, 40))
            for place, index in zip(places, order, strict=True):
                _write_value(axes, values[index], place=place, mean=mean)
        if mean is not None:
            axes.axvline(mean, color=svg.FAINT, linewidth=1, linestyle=(0, (3, 3)))
            mark = f"mean {percent(mean)}"
            axes.text(mean, -0.62, mark, ha="right" if mean > 0.8 else "center", va="bottom", color=svg.FAINT)
        _scale(axes, [svg.plain_text(names[index]) for index in order])
        if pair:
            axes.legend(**svg.legend_above(2, 18 / (row * len(names))))
        return Chart(svg.to_svg(figure, title), title, caption)


def _scale(axes: Axes, names: Sequence[str]) -> None:
    """Name the bars from the top down, and label the shares."""
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelcolor=svg.INK)
    axes.set_ylim(len(names) - 0.5, -0.6)
    axes.set_xlim(0, 1.12)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    svg.percent_axis(axes, "x")
    axes.grid(axis="x")
    axes.spines["bottom"].set_visible(False)


def _write_value(axes: Axes, share: float | None, *, place: float, mean: float | None) -> None:
    """Write a bar's number behind its end, and keep the line of the mean out of it."""
    text = UNKNOWN if share is None else f"{100 * share:.1f}"
    end = share or 0.0
    hit = mean is not None and end < mean < end + 0.12
    axes.text(end + 0.012, place, text, va="center_baseline", color=svg.INK, bbox=svg.PLATE if hit else None)


def class_table(
    names: Sequence[str],
    colors: Sequence[Color],
    matrix: ConfusionMatrix,
    *,
    iou: Shares,
    more: Mapping[str, Shares],
    other_iou: Shares | None = None,
    caption: str = "",
) -> Table:
    """Return a row for each class, in the order of their ids.

    Args:
        colors: As the masks show them.
        matrix: (C, C + 1) pixels by true class and answer: precision, recall, share of ground truth.
        iou: 0..1 for each class; None where there is none.
        more: Further columns by title, 0..1 for each class; one without any value is left out.
        other_iou: The IoU in another run; adds two columns.
    """
    more = {title: values for title, values in more.items() if any(value is not None for value in values)}
    columns = [Column("class", numeric=False), Column("IoU")]
    columns += [Column(f"IoU, {RUNS[1]}"), Column("change")] if other_iou is not None else []
    columns += [Column(title) for title in ("precision", "recall", *more, "share of ground truth")]
    precision, recall, share = _rates(matrix)
    rows = []
    for index, (name, color) in enumerate(zip(names, colors, strict=True)):
        row = [Cell(name, color=color), Cell(percent(iou[index]))]
        if other_iou is not None:
            row += [Cell(percent(other_iou[index])), _change(iou[index], other_iou[index])]
        row += [Cell(percent(float(values[index]))) for values in (precision, recall)]
        row += [Cell(percent(values[index])) for values in more.values()]
        rows.append([*row, Cell(percent(float(share[index]), 2))])
    return Table(columns, rows, "Classes", caption, wide=True)


def _change(here: float | None, there: float | None) -> Cell:
    if here is None or there is None:
        return Cell("")
    text = points(here - there)
    if text == points(0.0):
        return Cell(text)
    return Cell(text, "good" if here > there else "bad")


def _rates(matrix: ConfusionMatrix) -> tuple[Floats, Floats, Floats]:
    """Return precision, recall and share of true pixels by class, 0..1; NaN where there is nothing to divide by."""
    hits = np.diag(matrix).astype(np.float64)
    answered = matrix[:, :-1].sum(axis=0).astype(np.float64)
    true = matrix.sum(axis=1).astype(np.float64)
    nothing = np.full(len(hits), np.nan)
    precision = np.divide(hits, answered, out=nothing.copy(), where=answered > 0)
    recall = np.divide(hits, true, out=nothing.copy(), where=true > 0)
    return precision, recall, true / max(1.0, float(true.sum()))


def confusion_chart(names: Sequence[str], matrix: ConfusionMatrix, title: str = "Confusion matrix") -> Chart:
    """Draw where the pixels of each true class went, in percent of that class.

    Args:
        matrix: (C, C) or (C, C + 1) pixels by true class (row) and answer (column); a last column of its own means
            "no answer", and is shown where it holds any.
    """
    classes = len(names)
    columns = list(names)
    counts = np.asarray(matrix, np.float64)
    if counts.shape[1] > classes:
        if counts[:, classes].any():
            columns.append("no answer")
        counts = counts[:, : len(columns)]
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    cell = min(_CELL, (svg.FULL_WIDTH - _LEFT) / len(columns))
    with svg.drawing():
        figure = svg.new_figure(_LEFT + cell * len(columns), _TOP + cell * 0.72 * classes)
        axes = figure.add_subplot()
        _fill(axes, shares)
        axes.hlines(np.arange(classes + 1) - 0.5, -0.5, len(columns) - 0.5, colors=svg.GRID, linewidth=0.6)
        axes.vlines(np.arange(len(columns) + 1) - 0.5, -0.5, classes - 0.5, colors=svg.GRID, linewidth=0.6)
        labels = [svg.plain_text(name) for name in columns]
        axes.set_xticks(range(len(columns)), labels, rotation=45, ha="left", rotation_mode="anchor")
        empty = [not total for total in totals[:, 0]]
        rows = [f"{label} (none)" if none else label for label, none in zip(labels, empty, strict=False)]
        axes.set_yticks(range(classes), rows)
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelcolor=svg.INK)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(classes - 0.5, -0.5)
        for spine in axes.spines.values():
            spine.set_visible(False)
        drawn = svg.to_svg(figure, f"{title}: rows are the true classes, columns the answers")
    caption = (
        "Rows are the true classes, columns the answers; each row in percent of its class. Green is right, "
        "red is wrong; shares below 0.5 % are left empty."
    )
    return Chart(drawn, title, caption, wide=True)


def _fill(axes: Axes, shares: npt.NDArray[np.float64]) -> None:
    """Draw a colored cell with its number for each share that is worth showing."""
    from matplotlib.patches import Rectangle

    for row, column in np.argwhere(shares >= _SMALLEST_SHARE):
        share = float(shares[row, column])
        # A wrong tenth must be seen: the root lifts small shares.
        strength = 0.12 + 0.78 * (share if row == column else share**0.6)
        color = svg.GOOD if row == column else svg.BAD
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=color, alpha=round(strength, 2)))
        ink = svg.SURFACE if strength > 0.66 else svg.INK
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center_baseline", color=ink)
