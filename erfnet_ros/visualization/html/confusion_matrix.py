"""Chart of the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from erfnet_ros.visualization.html import svg
from erfnet_ros.visualization.html.elements import Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CELL = 44
_LEFT = 170
_TOP = 120
_SMALLEST_SHARE = 0.005
"""Below half a percent a cell stays empty: what is left is what a reader looks for."""


def confusion_chart(names: Sequence[str], matrix: npt.NDArray[np.int64], title: str = "Confusion matrix") -> Chart:
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
        _rule(axes, classes, len(columns))
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


def _rule(axes: Axes, rows: int, columns: int) -> None:
    """Draw thin lines between the cells."""
    axes.hlines(np.arange(rows + 1) - 0.5, -0.5, columns - 0.5, colors=svg.GRID, linewidth=0.6)
    axes.vlines(np.arange(columns + 1) - 0.5, -0.5, rows - 0.5, colors=svg.GRID, linewidth=0.6)
