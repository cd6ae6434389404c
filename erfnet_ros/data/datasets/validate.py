"""Validation of a data set: counts, and everything in it that cannot be used."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import VOID
from erfnet_ros.core.errors import SourceError
from erfnet_ros.core.progress import tracked
from erfnet_ros.data.datasets.dataset import Entry, Layout, Listing, similar_label

_MAX_THREADS = 4


@dataclass(frozen=True)
class SplitCheck:
    """What one split holds.

    Attributes:
        usable: The frames without a fault.
        listed: Number of images, usable or not.
        sizes: Number of usable frames by (width, height).
        pixels: (C,) int64, labeled pixels of each class in the usable frames.
        faults: What cannot be used and why, a sentence each.
    """

    split: str
    usable: tuple[Entry, ...]
    listed: int
    sizes: dict[tuple[int, int], int]
    pixels: npt.NDArray[np.int64]
    void_pixels: int
    has_truth: bool
    faults: tuple[str, ...]


@dataclass(frozen=True)
class DataSetCheck:
    """What all splits hold; `faults` are those of every split and of the whole, `notes` are no faults."""

    splits: tuple[SplitCheck, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _FrameCheck:
    size: tuple[int, int]
    counts: npt.NDArray[np.int64] | None
    picture: bytes
    fault: str


def check_dataset(layout: Layout) -> DataSetCheck:
    """Decode every file of every split, with a progress bar on stderr.

    Raises:
        SourceError: Not one split can be listed.
    """
    splits, pictures = [], {}
    listings = _list_splits(layout)
    entries = [entry for listing in listings.values() if isinstance(listing, Listing) for entry in listing.entries]
    frames = tracked(_checked(layout, entries), len(entries), "Checking")
    for split, listing in listings.items():
        if isinstance(listing, SourceError):
            empty = np.zeros(len(layout.class_set), np.int64)
            splits.append(SplitCheck(split, (), 0, {}, empty, 0, False, (str(listing),)))
            continue
        own = list(islice(frames, len(listing.entries)))
        splits.append(_split_check(layout, split, listing, own))
        pictures[split] = {frame.picture: entry for entry, frame in zip(listing.entries, own, strict=True)}
    # The bar is closed where the iterator ends.
    next(frames, None)
    absent, notes = _absent_classes(layout, splits)
    faults = [f"{check.split}: {fault}" for check in splits for fault in check.faults]
    return DataSetCheck(tuple(splits), (*faults, *absent, *_shared(pictures)), tuple(notes))


def _list_splits(layout: Layout) -> dict[str, Listing | SourceError]:
    """List the files of each split, or keep the reason why that cannot be done."""
    listings: dict[str, Listing | SourceError] = {}
    for split in layout.splits:
        try:
            listings[split] = layout.listing(split)
        except SourceError as error:
            listings[split] = error
    errors = [listing for listing in listings.values() if isinstance(listing, SourceError)]
    if len(errors) == len(listings):
        raise errors[0]
    return listings


def _checked(layout: Layout, entries: list[Entry]) -> Iterator[_FrameCheck]:
    """Check frames in their order, several at once: decoders let other threads run."""

    def check(entry: Entry) -> _FrameCheck:
        try:
            return _frame_check(layout, entry)
        except SourceError as error:
            return _FrameCheck((0, 0), None, b"", str(error))

    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as threads:
        yield from threads.map(check, entries)


def _frame_check(layout: Layout, entry: Entry) -> _FrameCheck:
    frame = layout.frame(entry)
    counts = None if frame.truth is None else np.bincount(frame.truth.ravel(), minlength=256)
    height, width = frame.rgb.shape[:2]
    return _FrameCheck((width, height), counts, blake2b(frame.rgb.tobytes(), digest_size=16).digest(), "")


def _split_check(layout: Layout, split: str, listing: Listing, frames: list[_FrameCheck]) -> SplitCheck:
    good = [frame for frame in frames if not frame.fault]
    counts = sum((frame.counts for frame in good if frame.counts is not None), np.zeros(256, np.int64))
    faults = [
        *_missing(listing),
        *(f"'{label}' has no image." for label in listing.stray),
        *(f"'{image}' shares its name, and so its label, with another image." for image in listing.twins),
        *(frame.fault for frame in frames if frame.fault),
    ]
    return SplitCheck(
        split,
        tuple(entry for entry, frame in zip(listing.entries, frames, strict=True) if not frame.fault),
        len(listing.entries) + len(listing.unlabeled) + len(listing.twins),
        dict(Counter(frame.size for frame in good).most_common()),
        counts[: len(layout.class_set)],
        int(counts[VOID]),
        listing.has_truth,
        tuple(faults),
    )


def _missing(listing: Listing) -> list[str]:
    if len(listing.unlabeled) > 1 and not listing.entries:
        image, label = listing.unlabeled[0]
        return [
            f"None of {len(listing.unlabeled)} images has a label; for '{image}' one was expected as "
            f"'{label}'{similar_label(label)}."
        ]
    return [f"'{image}' has no label: expected '{label}'{similar_label(label)}." for image, label in listing.unlabeled]


def _absent_classes(layout: Layout, splits: list[SplitCheck]) -> tuple[list[str], list[str]]:
    """Return faults for classes that nothing can be learned of, and notes for those that only a score will lack."""
    faults, notes = [], []
    labeled = [check for check in splits if check.has_truth and check.usable]
    for class_id, name in enumerate(layout.class_set.names):
        lacking = [check.split for check in labeled if not check.pixels[class_id]]
        if not lacking:
            continue
        if len(lacking) == len(labeled):
            faults.append(f"Class {class_id} '{name}' has no pixel in any split.")
        elif "train" in lacking:
            faults.append(f"Class {class_id} '{name}' has no pixel in train: it cannot be learned.")
        else:
            notes.append(f"Class {class_id} '{name}' has no pixel in {', '.join(lacking)}: scores there leave it out.")
    return faults, notes


def _shared(pictures: dict[str, dict[bytes, Entry]]) -> list[str]:
    """Return a fault for each picture that lies in two splits as two files: a score on it would be flattered."""
    faults = []
    seen: dict[bytes, tuple[str, Path]] = {}
    for split, entries in pictures.items():
        for picture, entry in entries.items():
            other, path = seen.setdefault(picture, (split, entry.image))
            if picture and other != split and path != entry.image:
                faults.append(f"'{entry.image}' in {split} is the same picture as '{path}' in {other}.")
    return faults
