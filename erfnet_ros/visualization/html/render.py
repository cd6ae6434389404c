"""HTML and Markdown of a page's elements."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from erfnet_ros.core.output_files import write_file
from erfnet_ros.visualization.html.elements import Block, Cell, Chart, Code, Column, Note, Page, Table, Tile, Verdict

_FOLDER = Path(__file__).parent
_TEMPLATE = "page.html.j2"
_STYLE = "page.css"


def render(page: Page) -> str:
    """Return the page as HTML; the same page gives the same text. All text is escaped, whatever it holds."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (_FOLDER / _STYLE).read_text(encoding="utf-8")
    sections = [replace(section, blocks=_paired(section.blocks)) for section in page.sections if section.blocks]
    return environment.get_template(_TEMPLATE).render(page=replace(page, sections=sections), style=style)


def _paired(blocks: Sequence[Block]) -> list[Block]:
    """Widen each half-width block that has no neighbor, so that it leaves no gap."""
    arranged: list[Block] = []
    left: Chart | Code | Table | None = None
    for block in blocks:
        half = block if isinstance(block, (Chart, Code, Table)) and not block.wide else None
        if left is not None and half is None:
            arranged[-1] = replace(left, wide=True)
        left = half if left is None else None
        arranged.append(block)
    if left is not None:
        arranged[-1] = replace(left, wide=True)
    return arranged


def write(page: Page, path: Path) -> Path:
    """Write the page to `path`, whole or not at all, and return it."""
    write_file(path, render(page))
    return path


_SIGNS: dict[Verdict, str] = {"plain": "", "good": "✅ ", "fair": "⚠️ ", "bad": "❌ "}
_DOTS: dict[Verdict, str] = {"plain": "", "good": "🟢 ", "fair": "🟡 ", "bad": "🔴 "}


def tiles_table(tiles: Sequence[Tile]) -> str:
    """Return summary tiles as a table; a column says what changed where any tile does."""
    changes = any(tile.change for tile in tiles)
    columns = [Column("figure", numeric=False), Column("value"), *([Column("change")] if changes else [])]
    columns.append(Column("", numeric=False))
    rows = []
    for tile in tiles:
        change = [Cell(tile.change, tile.change_verdict)] if changes else []
        rows.append([Cell(tile.label), Cell(f"{_SIGNS[tile.verdict]}{tile.value}"), *change, Cell(tile.note)])
    return table(Table(columns, rows))


def table(content: Table) -> str:
    """Return a table; a cell's verdict becomes a colored dot before its text."""
    lines = [
        _row([column.title for column in content.columns]),
        _row(["---:" if column.numeric else "---" for column in content.columns], escaped=True),
        *(_row([f"{_DOTS[cell.verdict]}{cell.text}" for cell in row]) for row in content.rows),
    ]
    return "\n".join(lines)


def note(content: Note) -> str:
    """Return a note as a quotation."""
    return f"> {_SIGNS[content.verdict]}{escape(content.text)}"


def escape(text: str) -> str:
    """Return `text` in one line so that Markdown shows it letter for letter."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", line)


def _row(cells: Sequence[str], escaped: bool = False) -> str:
    return f"| {' | '.join(cell if escaped else escape(cell) for cell in cells)} |"
