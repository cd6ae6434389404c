"""Bars by class, one run or two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from erfnet_ros.visualization.html.elements import Chart
from erfnet_ros.visualization.html.formatting import UNKNOWN, percent
from erfnet_ros.visualization.html.svg import (
    ACCENT,
    FAINT,
    HALF_WIDTH,
    INK,
    OTHER,
    PLATE,
    drawing,
    legend_above,
    new_figure,
    percent_axis,
    plain_text,
    to_svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Shares = Sequence[float | None]


def class_bars(
    names: Sequence[str],
    shares: Shares,
    title: str,
    caption: str = "",
    mean: float | None = None,
    other: Shares | None = None,
    runs: tuple[str, str] = ("this run", "other run"),
) -> Chart:
    """Draw a bar for each class, best first.

    Args:
        names: Of the classes.
        shares: 0..1 for each class; None where there is none, which is shown as a dash at the end.
        title: What stands above the chart.
        caption: What stands below it.
        mean: Marked by a line, 0..1.
        other: The same classes in another run: a second bar each.
        runs: What the two runs are called.
    """
    order = sorted(range(len(names)), key=lambda index: (shares[index] is None, -(shares[index] or 0.0), index))
    pair = other is not None
    row = 34 if pair else 21
    with drawing():
        figure = new_figure(HALF_WIDTH, 52 + row * len(names) + (22 if pair else 0))
        axes = figure.add_subplot()
        groups = [(shares, ACCENT, runs[0])] if other is None else [(shares, ACCENT, runs[0]), (other, OTHER, runs[1])]
        height = 0.72 / len(groups)
        for number, (values, color, label) in enumerate(groups):
            shift = (number - (len(groups) - 1) / 2) * height
            places = [place + shift for place in range(len(order))]
            lengths = [values[index] or 0.0 for index in order]
            axes.barh(places, lengths, height=height * 0.94, color=color, label=plain_text(label, 40))
            for place, index in zip(places, order, strict=True):
                _write_value(axes, values[index], place, mean)
        if mean is not None:
            axes.axvline(mean, color=FAINT, linewidth=1, linestyle=(0, (3, 3)))
            mark = f"mean {percent(mean)}"
            axes.text(mean, -0.62, mark, ha="right" if mean > 0.8 else "center", va="bottom", color=FAINT)
        _scale(axes, [plain_text(names[index]) for index in order])
        if pair:
            axes.legend(**legend_above(2, 18 / (row * len(names))))
        return Chart(to_svg(figure, title), title, caption)


def _scale(axes: Axes, names: Sequence[str]) -> None:
    """Name the bars from the top down, and label the shares."""
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(len(names) - 0.5, -0.6)
    axes.set_xlim(0, 1.12)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    percent_axis(axes, "x")
    axes.grid(axis="x")
    axes.spines["bottom"].set_visible(False)


def _write_value(axes: Axes, share: float | None, place: float, mean: float | None) -> None:
    """Write a bar's number behind its end, and keep the line of the mean out of it."""
    text = UNKNOWN if share is None else f"{100 * share:.1f}"
    end = share or 0.0
    hit = mean is not None and end < mean < end + 0.12
    axes.text(end + 0.012, place, text, va="center_baseline", color=INK, bbox=PLATE if hit else None)
