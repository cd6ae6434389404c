"""Plot of the benchmark report: a bar for each engine at each size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from erfnet_ros.commands.benchmark.statistics import AUTHORS, Report, Row, Workload
from erfnet_ros.commands.benchmark.tables import engine_name
from erfnet_ros.core.errors import ErfnetError
from erfnet_ros.visualization.html.svg import ACCENT, FAINT, GRID, INK, OTHER, PLATE, SURFACE, drawing, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LIGHT = {INK: "#1b1f26", FAINT: "#5b6472", GRID: "#dfe3e9", SURFACE: "#ffffff", ACCENT: "#2563c9", OTHER: "#c2600a"}
"""The colors of a page in light; a picture cannot follow the reader's."""

_WIDTH = 860
_BAR, _HEAD = 26, 48
_SHARPNESS = 144
"""Dots an inch where the drawing has 72."""


def write_plot(report: Report, path: Path) -> None:
    """Write the medians as bars, with p99 as a thin line, into a PNG file."""
    groups = [(each, [row for row in report.rows if row.workload == i]) for i, each in enumerate(report.workloads)]
    heights = [_HEAD + _BAR * len(rows) for _, rows in groups]
    with drawing():
        _in_light()
        figure = new_figure(_WIDTH, 40 + sum(heights))
        gpu = f", {report.machine.gpu}" if report.machine.gpu else ""
        figure.suptitle(f"{report.machine.processor}, {report.machine.cores} cores{gpu}", color=_LIGHT[INK])
        all_axes = figure.subplots(len(groups), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
        for axes, (workload, rows) in zip(all_axes, groups, strict=True):
            _bars(axes, workload, rows)
        all_axes[-1].set_xlabel("milliseconds; the thin line reaches to p99")
        try:
            figure.savefig(path, format="png", dpi=_SHARPNESS, facecolor=_LIGHT[SURFACE])
        except OSError as error:
            raise ErfnetError(f"Expected to write '{path}', got: {error.strerror}; choose another place.") from error


def _in_light() -> None:
    """Put real colors in place of the stand-ins of `page.drawing`."""
    import matplotlib

    entries = matplotlib.rcParams.items()
    stand_ins = {key: _LIGHT[value] for key, value in entries if isinstance(value, str) and value in _LIGHT}
    matplotlib.rcParams.update(stand_ins)


def _bars(axes: Axes, workload: Workload, rows: list[Row]) -> None:
    places = range(len(rows))
    medians = [row.times.p50 for row in rows]
    colors = [_LIGHT[OTHER if row.engine == AUTHORS else ACCENT] for row in rows]
    axes.barh(places, medians, height=0.68, color=colors)
    slowest = [row.times.p99 for row in rows]
    axes.hlines(places, medians, slowest, color=_LIGHT[FAINT], linewidth=1)
    longest = max(slowest, default=1.0)
    for place, row in zip(places, rows, strict=True):
        text = f"{row.times.p50:.1f} ms, {row.fps:.1f} images/s, {row.speedup:.1f}x"
        axes.text(
            row.times.p99 + 0.012 * longest,
            place,
            text,
            va="center_baseline",
            bbox=PLATE | {"facecolor": _LIGHT[SURFACE]},
        )
    axes.set_yticks(places, [engine_name(row.engine, row.precision) for row in rows])
    axes.tick_params(axis="y", length=0, labelcolor=_LIGHT[INK])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1.42 * longest)
    axes.set_title(workload.text, loc="left")
    axes.grid(axis="x")
    axes.spines["bottom"].set_visible(False)
