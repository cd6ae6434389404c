"""Command `erfnet data`: import annotations, and check what a data set holds."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.core.printable_text import printable
from erfnet_ros.data.annotations import FORMATS, import_annotations
from erfnet_ros.data.datasets import KINDS, Entry, Layout, detect_kind, open_layout
from erfnet_ros.data.datasets.validate import DataSetCheck, SplitCheck, check_dataset
from erfnet_ros.data.frame_sources import spread_evenly
from erfnet_ros.data.image_files import read_rgb
from erfnet_ros.visualization.contact_sheet import Sample, contact_sheet, write_png
from erfnet_ros.visualization.overlay import blend

_SHEET_FRAMES = 8
_OVERLAY_ALPHA = 0.5


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0, or 1 where something in the data set or the export cannot be used."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _import(options: argparse.Namespace) -> int:
    imported = import_annotations(options.format, options.source, out=options.out, background=options.background)
    for number, name in enumerate(imported.class_set.names):
        print(f"class {number}: {name}")
    for (upper, lower), pixels in imported.overlaps.most_common():
        print(f"note: '{upper}' covers {pixels} pixels of '{lower}'; what comes later or higher in the export wins")
    for line in imported.left_out:
        print(printable(f"left out: {line}.", 1000))
    frames = ", ".join(f"{count} in {split}" if split else str(count) for split, count in imported.frames.items())
    print(f"frames: {frames}; next: erfnet data check {options.out}")
    return 1 if imported.left_out else 0


def _check(options: argparse.Namespace) -> int:
    layout = open_layout(options.kind or detect_kind(options.dir), options.dir)
    check = check_dataset(layout)
    print("\n".join(table(layout, check.splits)))
    for kind, lines in (("note", check.notes), ("fault", check.faults)):
        for line in lines:
            print(printable(f"{kind}: {line}", 1000))
    usable = [(split, entry) for split in check.splits for entry in split.usable]
    if usable:
        write_png(options.sheet, _sheet(layout, check.splits))
        print(f"contact sheet: {options.sheet}")
    print(f"{len(usable)} of {sum(split.listed for split in check.splits)} frames can be used; {_counted(check)}")
    return 1 if check.faults else 0


def table(layout: Layout, splits: Sequence[SplitCheck]) -> list[str]:
    """Return the lines that say what each split holds: frames, sizes, and pixels and share of each class."""
    names = [*layout.class_set.names, "void"]
    rows = [["", *(split.split for split in splits)], ["frames", *(_frames(split) for split in splits)]]
    rows.append(["size", *(_sizes(split) for split in splits)])
    cells = [_class_cells(split) for split in splits]
    rows += [[name, *(column[index] for column in cells)] for index, name in enumerate(names)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    what = layout.name if layout.name == layout.kind else f"{layout.name} ({layout.kind})"
    title = f"{what} in {layout.root}: {len(layout.class_set)} classes; pixels and their share"
    lines = [
        row[0].ljust(widths[0]) + "".join(f"  {c:>{w}}" for c, w in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]
    return [printable(line.rstrip(), 1000) for line in (title, "", *lines, "")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="erfnet data", description="Check data sets, and import annotations.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check",
        help="count what a data set holds and name what cannot be used",
        description="Count the frames and the pixels of each class, draw a contact sheet, and name every missing, "
        "unreadable or mis-sized pair, every label outside the class set and every class without a pixel. "
        "Exit status: 0 clean, 1 with faults, 2 where DIR is no data set.",
    )
    check.add_argument("dir", type=Path, metavar="DIR", help="the data set's folder")
    check.add_argument("--kind", choices=KINDS, help="its layout (default: recognized by its folders)")
    check.add_argument(
        "--sheet",
        type=Path,
        default=Path("data_check.png"),
        metavar="FILE.png",
        help="where the contact sheet goes (default: data_check.png)",
    )
    check.set_defaults(run=_check)
    importer = commands.add_parser(
        "import",
        help="turn an annotation tool's export into a data set",
        description="Copy the images of an export and draw its areas as label files, for 'erfnet data check' and "
        "'erfnet train folder'. Exit status: 0 all used, 1 some left out, 2 where SRC is no such export.",
    )
    importer.add_argument("format", choices=FORMATS, help="format of the export")
    importer.add_argument("source", type=Path, metavar="SRC", help="the export's folder")
    importer.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="new folder of the data set")
    importer.add_argument(
        "--background", metavar="NAME", help="class of the pixels in no area (default: void, which is not learned)"
    )
    importer.set_defaults(run=_import)
    return parser


def _frames(split: SplitCheck) -> str:
    usable = str(len(split.usable))
    return usable if len(split.usable) == split.listed else f"{usable} of {split.listed}"


def _sizes(split: SplitCheck) -> str:
    """Return the commonest size, and how many others there are."""
    if not split.sizes:
        return "-"
    width, height = next(iter(split.sizes))
    return f"{width}x{height}" + (f" and {len(split.sizes) - 1} more" if len(split.sizes) > 1 else "")


def _class_cells(split: SplitCheck) -> list[str]:
    """Return count and share of each class, then of void: shares of labeled pixels, void's of all pixels."""
    labeled = int(split.pixels.sum())
    if not labeled + split.void_pixels:
        return ["-"] * (len(split.pixels) + 1)
    cells = [_cell(int(count), labeled) for count in split.pixels]
    return [*cells, _cell(split.void_pixels, labeled + split.void_pixels)]


def _cell(count: int, total: int) -> str:
    return f"{count} {100 * count / max(1, total):6.2f} %"


def _counted(check: DataSetCheck) -> str:
    return "no faults" if not check.faults else f"{len(check.faults)} fault{'s' * (len(check.faults) > 1)}"


def _sheet(layout: Layout, splits: Sequence[SplitCheck]) -> Pixels:
    """Draw frames of each split, spread over its length, with their labels."""
    shown = [split for split in splits if split.usable and split.has_ground_truth] or [s for s in splits if s.usable]
    samples = [
        _sample(layout, split.split, split.usable[index])
        for split in shown
        for index in spread_evenly(len(split.usable), max(1, _SHEET_FRAMES // len(shown)))
    ]
    frames = sum(len(split.usable) for split in splits)
    return contact_sheet(samples, layout.class_set, title=layout.name, subtitle=f"{len(samples)} of {frames} frames")


def _sample(layout: Layout, split: str, entry: Entry) -> Sample:
    rgb = read_rgb(entry.image)
    labels = np.full(rgb.shape[:2], VOID, np.uint8) if entry.label is None else layout.read_ground_truth(entry.label)
    caption = f"{split}: {entry.name}".encode("ascii", "replace").decode()
    return Sample(caption, rgb, None, labels, blend(rgb, labels, layout.class_set.palette(), _OVERLAY_ALPHA))
