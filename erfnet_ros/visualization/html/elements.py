"""Elements of a page: plain data, which `render` turns into HTML and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

Verdict = Literal["plain", "good", "fair", "bad"]
"""The color that a figure or a note is shown in; plain says nothing about it."""

Color = tuple[int, int, int]

RUNS = ("this run", "other run")
"""Names of a run and of the one that it is compared with."""


@dataclass(frozen=True)
class Tile:
    """A number of the summary with its unit; `change` is the signed difference to another run, empty without one."""

    label: str
    value: str
    note: str = ""
    verdict: Verdict = "plain"
    change: str = ""
    change_verdict: Verdict = "plain"


@dataclass(frozen=True)
class Cell:
    """A table's cell; `color` (R, G, B) is shown as a small square before the text."""

    text: str
    verdict: Verdict = "plain"
    color: Color | None = None


@dataclass(frozen=True)
class Column:
    """A table's column: its title, and whether numbers stand in it (flush right) or words (flush left)."""

    title: str
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """Rows under titles; every row has a cell for each column. A wide one takes the page's whole width."""

    kind: ClassVar[str] = "table"
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Metadata:
    """Names with a value for each of `runs`, such as where a result comes from; `runs` is empty where there is one."""

    kind: ClassVar[str] = "metadata"
    rows: Sequence[tuple[str, tuple[str, ...]]]
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Code:
    """Text whose lines and blanks count, such as a file to take along."""

    kind: ClassVar[str] = "code"
    text: str
    title: str = ""
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Note:
    """A sentence that must not be overlooked."""

    kind: ClassVar[str] = "note"
    text: str
    verdict: Verdict = "plain"


@dataclass(frozen=True)
class Chart:
    """An <svg> element made by this package, which goes into the page as it is. A wide one takes the whole width."""

    kind: ClassVar[str] = "chart"
    svg: str
    title: str
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Picture:
    """An image as a data URI; screen readers read its title."""

    kind: ClassVar[str] = "picture"
    uri: str
    title: str
    caption: str = ""


Block = Table | Metadata | Code | Note | Chart | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what belongs under it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: The heading, also of the browser's tab.
        subtitle: What was run, in a line.
        sections: In reading order; empty ones are left out.
        notes: Shown above the tiles: what must be known before a number is believed.
    """

    title: str
    subtitle: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    notes: Sequence[Note] = ()
    footer: str = ""
