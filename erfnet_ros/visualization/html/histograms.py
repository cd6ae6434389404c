"""Histogram and calibration curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from erfnet_ros.visualization.html import svg
from erfnet_ros.visualization.html.elements import RUNS, Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

_MOST_BINS = 48
_FEWEST_BINS = 8


def histogram(
    values: Sequence[float] | Floats,
    title: str,
    *,
    unit: str,
    marks: Mapping[str, float],
    caption: str = "",
    other: Sequence[float] | Floats | None = None,
) -> Chart:
    """Draw how many values fall where, with lines at the percentiles.

    Args:
        values: At least one, in `unit`.
        marks: Names and values of the lines, e.g. {"p50": 41.2}.
        other: The values of another run, drawn as an outline; shares, not counts, are compared then.
    """
    own = np.asarray(values, np.float64)
    others = None if other is None else np.asarray(other, np.float64)
    pool = own if others is None else np.concatenate([own, others])
    edges = _edges(pool)
    with svg.drawing():
        figure = svg.new_figure(svg.HALF_WIDTH, 290)
        axes = figure.add_subplot()
        axes.stairs(_shares(own, edges), edges, fill=True, color=svg.ACCENT, label=RUNS[0])
        if others is not None:
            axes.stairs(_shares(others, edges), edges, color=svg.OTHER, linewidth=1.6, label=RUNS[1])
            axes.legend(**svg.legend_above(2))
        top = axes.get_ylim()[1]
        axes.set_ylim(0, top * (1.08 + 0.085 * len(marks)))
        axes.set_xlim(edges[0], edges[-1])
        _mark_values(axes, marks, top)
        axes.set_xlabel(unit)
        axes.grid(axis="y")
        svg.percent_axis(axes, "y")
        axes.set_ylabel("share of frames")
        drawn = svg.to_svg(figure, title)
    beyond = int((pool > edges[-1]).sum())
    if beyond:
        caption = f"{caption} The last bar holds all beyond the axis ({beyond}).".strip()
    return Chart(drawn, title, caption)


def _edges(pool: Floats) -> Floats:
    """Return the limits of the bars; a few values far out do not press all others into one bar."""
    low, high = float(pool.min()), float(pool.max())
    high = min(high, low + 2 * (float(np.percentile(pool, 99)) - low)) if len(pool) >= 20 else high
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    bins = min(_MOST_BINS, max(_FEWEST_BINS, round(2 * len(pool) ** 0.5)))
    return np.linspace(low, high, bins + 1)


def _shares(values: Floats, edges: Floats) -> Floats:
    counts: Floats = np.histogram(np.minimum(values, edges[-1]), edges)[0] / len(values)
    return counts


def _mark_values(axes: Axes, marks: Mapping[str, float], top: float) -> None:
    """Draw a line for each mark, with its name at a height of its own so that close ones do not run into each other."""
    low, high = axes.get_xlim()
    heights = [top * (1.05 + 0.085 * (len(marks) - number - 1)) for number in range(len(marks))]
    for value, height in zip(marks.values(), heights, strict=True):
        if value <= high:
            axes.vlines(value, 0, height, color=svg.INK, linewidth=1)
    for (name, value), height in zip(marks.items(), heights, strict=True):
        place = min(value, high)
        left = place > (low + high) / 2
        axes.annotate(
            f"{name} {value:.1f}" if value <= high else f"{name} {value:.1f} →",
            (place, height),
            (-4 if left else 4, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center_baseline",
            color=svg.INK,
            bbox=svg.PLATE,
        )


def calibration_chart(
    confidence: Sequence[float | None],
    accuracy: Sequence[float | None],
    pixels: Sequence[int],
    *,
    title: str = "Calibration",
) -> Chart:
    """Draw how often the network is right by how sure it says it is.

    Args:
        confidence: Mean confidence of each bin, 0..1; None where no pixel is in it. The bins are of equal width.
        accuracy: Share of right pixels in each bin, 0..1; None as above.
        pixels: Pixels in each bin, at least one in all.
    """
    weights = np.array(pixels, np.float64)
    share = weights / weights.sum()
    known = [(x, y) for x, y in zip(confidence, accuracy, strict=True) if x is not None and y is not None]
    sure, right = np.array(known, np.float64).T
    with svg.drawing():
        figure = svg.new_figure(svg.HALF_WIDTH, 360)
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3.2, 1)})
        upper.plot([0, 1], [0, 1], color=svg.FAINT, linewidth=1, linestyle=(0, (4, 3)), label="perfect")
        upper.vlines(sure, right, sure, color=svg.OTHER, linewidth=1.4)
        upper.plot(sure, right, color=svg.ACCENT, marker="o", markersize=5, label="measured")
        upper.set_ylim(0, 1.03)
        upper.set_xlim(0, 1)
        upper.set_ylabel("pixels right")
        upper.grid()
        upper.legend(loc="upper left")
        svg.percent_axis(upper, "y")
        edges = np.linspace(0, 1, len(weights) + 1)
        lower.bar((edges[:-1] + edges[1:]) / 2, share, width=0.9 / len(weights), color=svg.ACCENT)
        lower.set_ylabel("pixels")
        lower.set_xlabel("confidence")
        lower.grid(axis="y")
        lower.spines["bottom"].set_color(svg.GRID)
        svg.percent_axis(lower, "y")
        svg.percent_axis(lower, "x")
        caption = (
            "Below the dashed line the network is surer than it is right, above it less sure. "
            "The bars show how many pixels stand behind each point."
        )
        return Chart(svg.to_svg(figure, title), title, caption)
