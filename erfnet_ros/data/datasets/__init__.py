"""Data sets to train on, to score with and to play: CamVid, Cityscapes, and your own folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from erfnet_ros.core.errors import ParameterError, SourceError
from erfnet_ros.data.datasets.camvid import open_camvid
from erfnet_ros.data.datasets.cityscapes import open_cityscapes
from erfnet_ros.data.datasets.dataset import DataSet, Entry, Layout, Listing, similar_label
from erfnet_ros.data.datasets.folder import open_folder

_KINDS: dict[str, Callable[[Path], Layout]] = {
    "camvid": open_camvid,
    "cityscapes": open_cityscapes,
    "folder": open_folder,
}

KINDS = tuple(_KINDS)
"""The kinds of data sets that can be opened."""

__all__ = ["KINDS", "DataSet", "Entry", "Layout", "Listing", "detect_kind", "open_dataset", "open_layout"]


def open_dataset(kind: str, root: str | Path, split: str) -> DataSet:
    """Open a split of a data set; its files are listed and paired, and decoded one by one when they are asked for.

    Args:
        kind: One of `KINDS`.
        root: The data set's folder.
        split: A split, or several joined by `+` such as `train+val`. Where a name occurs in two of them, the frames'
            names get the split in front.

    Raises:
        ParameterError: The kind is unknown.
        ClassSetError: A folder's classes.yaml is not a class set.
        SourceError: The folder is not such a data set, has no such split, or the split is empty or lacks labels.
    """
    layout = open_layout(kind, root)
    wanted = split.split("+")
    unknown = [name for name in wanted if name not in layout.splits or wanted.count(name) > 1]
    if unknown:
        raise SourceError(
            f"Expected a split of '{layout.root}' ({', '.join(layout.splits)}), or several joined by '+', each once; "
            f"got '{split}'."
        )
    listings = {name: layout.listing(name) for name in wanted}
    for name, listing in listings.items():
        _check(layout, name, listing)
    if len({listing.has_ground_truth for listing in listings.values()}) > 1:
        raise SourceError(f"Expected splits that all have labels, or none, got '{split}'; name them one by one.")
    return DataSet(layout, split, _joined(listings))


def open_layout(kind: str, root: str | Path) -> Layout:
    """Open a data set's folder without listing its files.

    Raises:
        ParameterError: The kind is unknown.
        ClassSetError: A folder's classes.yaml is not a class set.
        SourceError: The folder is not such a data set.
    """
    if kind not in _KINDS:
        raise ParameterError(f"Expected a data set of kind {', '.join(KINDS)}, got '{kind}'.")
    root = Path(root).expanduser()
    if not root.is_dir():
        raise SourceError(
            f"Expected the folder of a {kind} data set at '{root}', got "
            f"{'a file' if root.exists() else 'no such folder'}; check the path."
        )
    return _KINDS[kind](root)


def detect_kind(root: str | Path) -> str:
    """Tell by the folders in it which kind of data set a folder is.

    Raises:
        SourceError: It does not look like any.
    """
    root = Path(root).expanduser()
    if (root / "leftImg8bit").is_dir():
        return "cityscapes"
    if (root / "images").is_dir() or (root / "classes.yaml").is_file():
        return "folder"
    try:
        return open_layout("camvid", root).kind
    except SourceError as error:
        if not root.is_dir():
            found = "a file" if root.exists() else "no such folder"
            raise SourceError(f"Expected the folder of a data set at '{root}', got {found}; check the path.") from None
        raise SourceError(
            f"Expected a data set in '{root}': CamVid (train/images or 701_StillsRaw_full), Cityscapes (leftImg8bit) "
            "or a folder of your own (images, labels, classes.yaml); got none of them. Name the folder that holds them."
        ) from error


def _check(layout: Layout, split: str, listing: Listing) -> None:
    """Refuse a split in which an image has no label of its own."""
    see = f"'erfnet data check {layout.root}' lists all"
    if listing.twins:
        raise SourceError(
            f"Expected each name once among the images of split {split}, got '{listing.twins[0]}' and "
            f"'{listing.twins[1].name}', which would share one label; rename one. {see}."
        )
    if listing.unlabeled:
        images = len(listing.entries) + len(listing.unlabeled)
        image, label = listing.unlabeled[0]
        raise SourceError(
            f"Expected a label for each of the {images} images of split {split}, got none for "
            f"{len(listing.unlabeled)}, the first being '{image.name}' (no '{label}'{similar_label(label)}); {see}."
        )
    if not listing.entries:
        raise SourceError(f"Expected frames in split {split} of '{layout.root}', found none.")


def _joined(listings: dict[str, Listing]) -> tuple[Entry, ...]:
    often = Counter(entry.name for listing in listings.values() for entry in listing.entries)
    unique = all(count == 1 for count in often.values())
    return tuple(
        entry if unique else replace(entry, name=f"{split}_{entry.name}")
        for split, listing in listings.items()
        for entry in listing.entries
    )
