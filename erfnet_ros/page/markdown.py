"""A page's figures as GitHub-flavoured Markdown, fit for a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Sequence

from erfnet_ros.visualization.html.elements import Cell, Column, Note, Table, Tile, Verdict

_SIGNS: dict[Verdict, str] = {"plain": "", "good": "✅ ", "fair": "⚠️ ", "bad": "❌ "}
_DOTS: dict[Verdict, str] = {"plain": "", "good": "🟢 ", "fair": "🟡 ", "bad": "🔴 "}


def tiles_table(tiles: Sequence[Tile]) -> str:
    """Return headline numbers as a table; a column says what changed where any tile does."""
    changes = any(tile.change for tile in tiles)
    columns = [Column("figure", numeric=False), Column("value"), *([Column("change")] if changes else [])]
    columns.append(Column("", numeric=False))
    rows = []
    for tile in tiles:
        change = [Cell(tile.change, tile.change_verdict)] if changes else []
        rows.append([Cell(tile.label), Cell(f"{_SIGNS[tile.verdict]}{tile.value}"), *change, Cell(tile.note)])
    return table(Table(columns, rows))


def table(content: Table) -> str:
    """Return a table; a cell's verdict becomes a coloured dot before its text."""
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
