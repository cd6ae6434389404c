"""What is known of each class, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from erfnet_ros.evaluation.metrics.confusion_matrix import ConfusionMatrix
from erfnet_ros.visualization.html.elements import Cell, Color, Column, Table
from erfnet_ros.visualization.html.formatting import percent, points

Shares = Sequence[float | None]
Floats = npt.NDArray[np.float64]


def class_table(
    names: Sequence[str],
    colors: Sequence[Color],
    matrix: ConfusionMatrix,
    iou: Shares,
    more: Mapping[str, Shares],
    other_iou: Shares | None = None,
    other_run: str = "other run",
    caption: str = "",
) -> Table:
    """Return a row for each class, in the order of their ids.

    Args:
        names: Of the C classes.
        colors: As the masks show them.
        matrix: (C, C + 1) pixels by true class and answer: precision, recall, share of truth.
        iou: 0..1 for each class; None where there is none.
        more: Further columns by title, 0..1 for each class; one without any value is left out.
        other_iou: The IoU in another run; adds two columns.
        other_run: What that run is called.
        caption: What stands below the table.
    """
    more = {title: values for title, values in more.items() if any(value is not None for value in values)}
    columns = [Column("class", numeric=False), Column("IoU")]
    columns += [Column(f"IoU, {other_run}"), Column("change")] if other_iou is not None else []
    columns += [Column(title) for title in ("precision", "recall", *more, "share of truth")]
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
