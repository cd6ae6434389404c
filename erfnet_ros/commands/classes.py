"""Command `erfnet classes`: prints a class set as table, YAML or CSV, and draws its legend."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from erfnet_ros.core.array_types import VOID
from erfnet_ros.core.class_set import ClassSet, named


def main(arguments: Sequence[str]) -> int:
    """Print a class set, or write its legend; return the exit status.

    Raises:
        ErfnetError: The class set cannot be read, or the legend cannot be written.
    """
    options = _parser().parse_args(arguments)
    class_set = named(options.classes)
    if options.legend:
        from erfnet_ros.visualization.contact_sheet import class_legend, write_png

        write_png(options.legend, class_legend(class_set))
    elif options.yaml:
        print(class_set.to_yaml(), end="")
    elif options.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("name", "red", "green", "blue", "alpha", "id"))
        writer.writerows((name, *color, 255, class_id) for class_id, name, color in _rows(class_set))
    else:
        categories = (*(class_set.categories or [""] * len(class_set)), "")
        print(f"{'id':>3}  {'name':20}  {'color (RGB)':13}  category")
        for (class_id, name, color), category in zip(_rows(class_set), categories, strict=True):
            print(f"{class_id:>3}  {name:20}  {'{:>3}, {:>3}, {:>3}'.format(*color)}  {category}".rstrip())
    return 0


def _rows(class_set: ClassSet) -> Iterator[tuple[int, str, tuple[int, int, int]]]:
    """Yield id, name and color of each class and of void, as they are in a mask."""
    for class_id, (name, color) in enumerate(zip(class_set.names, class_set.colors, strict=True)):
        yield class_id, name, color
    yield VOID, "void", (0, 0, 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="erfnet classes", description="Print ids, names and colors of a class set.")
    parser.add_argument(
        "classes",
        nargs="?",
        default="camvid",
        metavar="SET",
        help="camvid, cityscapes, a YAML file, or a checkpoint (default: %(default)s)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--yaml", action="store_true", help="as a class set file, to copy and change")
    form.add_argument("--csv", action="store_true", help="as the label space of Kimera and Hydra")
    form.add_argument("--legend", type=Path, metavar="FILE.png", help="write a picture of names and colors")
    return parser
