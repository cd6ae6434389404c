"""Style of matplotlib's figures and their export as SVG inside a page.

Charts are drawn in placeholder colors, which become the page's CSS variables: one drawing serves light, dark and print.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from erfnet_ros.core.errors import ErfnetError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_VARIABLES = {
    f"#0101{number:02}": f"--{name}"
    for number, name in enumerate(("ink", "faint", "grid", "surface", "accent", "other", "good", "bad", "third"), 1)
}
INK, FAINT, GRID, SURFACE, ACCENT, OTHER, GOOD, BAD, THIRD = _VARIABLES

PLATE = {"facecolor": SURFACE, "edgecolor": "none", "pad": 1.0}
"""The box of a text that must be read across lines."""

SERIES = (ACCENT, OTHER, THIRD, GOOD, BAD)
"""Colors of lines in one chart, in the order in which they are taken."""

FONT_SIZE = 11
"""Of the charts' text, in pixels where a chart is shown at its own size."""

HALF_WIDTH = 520
FULL_WIDTH = 1060
"""Widths of charts in pixels: two in a row, and one alone."""

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, found by a search, in the reader's font
    "svg.hashsalt": "erfnet_ros",  # ids follow from the content
    "font.family": "DejaVu Sans",  # comes with matplotlib; wide, so that text in another font fits where this one does
    "font.size": FONT_SIZE,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": FAINT,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": FONT_SIZE,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "xtick.labelsize": FONT_SIZE,
    "ytick.labelsize": FONT_SIZE,
    "legend.frameon": False,
    "legend.fontsize": FONT_SIZE,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "path.simplify": True,
    "path.simplify_threshold": 0.2,
}

_LONGEST_NAME = 22


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the page's style; what matplotlib was set to before holds again afterwards.

    Raises:
        ErfnetError: matplotlib is not installed, as on a robot without a screen.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ErfnetError(
            "Charts need matplotlib, which is not installed (apt: python3-matplotlib, or pip install matplotlib)."
        ) from error

    with matplotlib.rc_context(), warnings.catch_warnings():
        # The reader's browser has the glyphs of other scripts even where the font here has not.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of `width` x `height` pixels; call inside `drawing`."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none", layout="constrained")


def to_svg(figure: Figure, description: str) -> str:
    """Return an <svg> element for the inside of an HTML page; call inside `drawing`.

    Args:
        figure: What to show; its colors are the constants of this module.
        description: What is read to those who do not see it.
    """
    from html import escape

    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    body = stream.getvalue().partition("<defs>")[2]
    for color, variable in _VARIABLES.items():
        body = body.replace(color, f"var({variable})")
    width, height = (72 * float(side) for side in figure.get_size_inches())
    label = escape(description, quote=True)
    # On a phone a wide chart is scrolled before its text gets too small to read; others fit there.
    style = f"width:{width:g}px" + (f";min-width:{0.8 * width:g}px" if width > HALF_WIDTH else "")
    return f'<svg role="img" aria-label="{label}" viewBox="0 0 {width:g} {height:g}" style="{style}"><defs>{body}'


def plain_text(text: str, longest: int = _LONGEST_NAME) -> str:
    """Return `text` as matplotlib shows it letter for letter: one line, no mathematics, at most `longest` letters."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if len(line) > longest:
        line = f"{line[: longest - 1]}…"
    return line.replace("$", r"\$")


def percent_axis(axes: Axes, which: str) -> None:
    """Label the x or y axis, whose values are shares 0..1, in percent."""
    from matplotlib.ticker import FuncFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))


def legend_above(entries: int, lift: float = 0.0) -> dict[str, Any]:
    """Return the arguments for a legend in one line above the axes, raised by `lift` of their height."""
    return {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0 + lift), "ncol": entries, "borderaxespad": 0.0}
