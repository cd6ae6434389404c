"""How output bags are stored and called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

STORAGES = ("mcap", "sqlite3")

OUTPUT_BAGS = "bags"
"""Folder within the output folder."""


def output_names(bags: Sequence[Path]) -> list[str]:
    """Return a folder name for each output bag: that of the bag, numbered where several are called alike."""
    names: list[str] = []
    for bag in bags:
        stem = bag.resolve().name.removesuffix(".zstd").removesuffix(".mcap").removesuffix(".db3")
        name, count = stem, 1
        while name in names:
            count += 1
            name = f"{stem}_{count}"
        names.append(name)
    return names
