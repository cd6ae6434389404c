"""Line charts: the time line of a run, and the curves of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from erfnet_ros.visualization.html import svg
from erfnet_ros.visualization.html.elements import Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

_EVENT_SLICES = 120
_SLICES = 240
"""Longest time line in points: more than that is summed up, so that an hour's run still makes a small page."""


@dataclass(frozen=True)
class Series:
    """A line: its name, and as many x as y, x ascending; y may hold NaN where there is no value."""

    name: str
    x: Floats
    y: Floats


def timeline(
    series: Sequence[Series],
    title: str,
    unit: str,
    *,
    caption: str = "",
    events: Sequence[float] = (),
    event: str = "",
    share: bool = False,
) -> Chart:
    """Draw values over seconds, and below them when something happened.

    Args:
        series: One run or more; x in seconds from its start. A long one is cut into slices: the line is the median of
            each, the band reaches from the least to the greatest value.
        events: Seconds at which a frame was dropped, or the like; counted by slice of time.
        event: Label of the events' axis; empty leaves that axis out.
        share: The values are 0..1 and are shown in percent.
    """
    end = max([*(float(line.x[-1]) for line in series if len(line.x)), *events, 1e-6])
    with svg.drawing():
        figure = svg.new_figure(svg.FULL_WIDTH, 330 if event else 230)
        if event:
            upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1)})
        else:
            upper, lower = figure.add_subplot(), None
        for line, color in zip(series, svg.SERIES, strict=False):
            times, least, middle, greatest = _slices(line)
            upper.fill_between(times, least, greatest, color=color, alpha=0.25, linewidth=0)
            upper.plot(times, middle, color=color, linewidth=1.4, label=svg.plain_text(line.name, 40))
        upper.set_ylabel(unit)
        upper.set_ylim(bottom=0)
        if share:
            svg.percent_axis(upper, "y")
            upper.set_ylim(top=min(1.0, upper.get_ylim()[1]))
        upper.set_xlim(0, end)
        upper.grid(axis="y")
        if len(series) > 1:
            upper.legend(**svg.legend_above(len(series)))
        if lower is not None:
            _draw_events(lower, events, event=event, end=end)
        (lower or upper).set_xlabel("seconds")
        drawn = svg.to_svg(figure, title)
    if any(len(line.x) > _SLICES for line in series):
        caption = f"{caption} Line: median of a slice of time; band: from its least to its greatest value."
    return Chart(drawn, title, caption.strip(), wide=True)


def _draw_events(axes: Axes, events: Sequence[float], *, event: str, end: float) -> None:
    """Draw how many events fall into each slice of time from 0 to `end` seconds."""
    from matplotlib.ticker import MaxNLocator

    edges = np.linspace(0, end, _EVENT_SLICES + 1)
    axes.stairs(np.histogram(np.asarray(events), edges)[0], edges, fill=True, color=svg.BAD)
    axes.set_ylim(0, max(1.0, axes.get_ylim()[1]))
    axes.set_ylabel(event)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
    axes.grid(axis="y")


def _slices(line: Series) -> tuple[Floats, Floats, Floats, Floats]:
    """Return times, least, median and greatest value of at most `_SLICES` slices of a line."""
    parts = np.array_split(np.arange(len(line.x)), min(_SLICES, max(1, len(line.x))))
    times = np.array([line.x[part].mean() for part in parts if len(part)])
    values = [line.y[part] for part in parts if len(part)]
    return (
        times,
        np.array([part.min() for part in values]),
        np.array([np.median(part) for part in values]),
        np.array([part.max() for part in values]),
    )


def curves(series: Sequence[Series], title: str, y_label: str, *, x_label: str = "epoch", share: bool = False) -> Chart:
    """Draw lines over epochs or steps.

    Args:
        series: The lines, at most five.
        y_label: Below which quantity, with its unit.
        x_label: The same for x.
        share: The values are 0..1 and are shown in percent.
    """
    with svg.drawing():
        figure = svg.new_figure(svg.HALF_WIDTH, 280)
        axes = figure.add_subplot()
        for line, color in zip(series, svg.SERIES, strict=False):
            known = ~np.isnan(line.y)
            marker = "o" if known.sum() < 12 else None
            axes.plot(
                line.x[known], line.y[known], color=color, marker=marker, markersize=4, label=svg.plain_text(line.name)
            )
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.grid()
        if share:
            axes.set_ylim(0, 1)
            svg.percent_axis(axes, "y")
        elif all((line.y[~np.isnan(line.y)] >= 0).all() for line in series):
            axes.set_ylim(bottom=0)
        if len(series) > 1:
            axes.legend()
        return Chart(svg.to_svg(figure, title), title)
