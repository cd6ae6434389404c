"""Validation of a data set: counts, and everything in it that cannot be used."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations, islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.core.errors import SourceError
from erfnet_ros.core.progress import tracked
from erfnet_ros.data.datasets.dataset import Entry, Layout, Listing, similar_label
from erfnet_ros.data.image_files import read_orientation

_MAX_THREADS = 4

_LOOK_SIZE = 16
_LOOK_DISTANCE = 24
"""Of 256 bits. Copies in another size, quality or brightness of CamVid's frames differ in up to 14, frames of different
drives in 66 or more."""

_RARE_SHARE = 0.005
_FEW_FRAMES = 5


@dataclass(frozen=True)
class SplitCheck:
    """What one split holds.

    Attributes:
        usable: The frames without a fault.
        listed: Number of images, usable or not.
        sizes: Number of usable frames by (width, height).
        pixels: (C,) int64, labeled pixels of each class in the usable frames.
        frames_with: (C,) int64, usable frames that show each class.
        faults: What cannot be used and why, a sentence each.
    """

    split: str
    usable: tuple[Entry, ...]
    listed: int
    sizes: dict[tuple[int, int], int]
    pixels: npt.NDArray[np.int64]
    frames_with: npt.NDArray[np.int64]
    void_pixels: int
    has_ground_truth: bool
    faults: tuple[str, ...]


@dataclass(frozen=True)
class DataSetCheck:
    """What all splits hold; `faults` are those of every split and of the whole, `notes` are no faults."""

    splits: tuple[SplitCheck, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _FrameCheck:
    """What one frame holds; `picture` is a hash of its pixels, `look` (256,) float32 of -1 and 1 a perceptual one."""

    size: tuple[int, int] = (0, 0)
    counts: npt.NDArray[np.int64] | None = None
    picture: bytes = b""
    look: npt.NDArray[np.float32] | None = None
    turned: bool = False
    fault: str = ""


def check_dataset(layout: Layout) -> DataSetCheck:
    """Decode every file of every split, with a progress bar on stderr.

    Raises:
        SourceError: Not one split can be listed.
    """
    splits: list[SplitCheck] = []
    good: dict[str, list[tuple[Entry, _FrameCheck]]] = {}
    listings = _list_splits(layout)
    entries = [entry for listing in listings.values() if isinstance(listing, Listing) for entry in listing.entries]
    frames = tracked(_checked(layout, entries), len(entries), "Checking")
    for split, listing in listings.items():
        if isinstance(listing, SourceError):
            empty = np.zeros(len(layout.class_set), np.int64)
            splits.append(SplitCheck(split, (), 0, {}, empty, empty, 0, False, (str(listing),)))
            continue
        own = list(islice(frames, len(listing.entries)))
        splits.append(_split_check(layout, split, listing=listing, frames=own))
        good[split] = [pair for pair in zip(listing.entries, own, strict=True) if not pair[1].fault]
    # The bar is closed where the iterator ends.
    next(frames, None)
    faults = [f"{check.split}: {fault}" for check in splits for fault in check.faults]
    if not any(check.has_ground_truth and check.listed for check in splits):
        faults.append("No split has labels: nothing can be trained or scored.")
    seen = [name for class_id, name in enumerate(layout.class_set.names) if any(c.pixels[class_id] for c in splits)]
    if len(seen) == 1:
        faults.append(f"Only class '{seen[0]}' is labeled: label what it is not as a class as well, such as 'other'.")
    absent, notes = _absent_classes(layout, splits)
    notes += [*_rare_classes(layout, splits), *_turned(good), *_near_copies(good)]
    return DataSetCheck(tuple(splits), (*faults, *absent, *_shared(good)), tuple(notes))


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
            return _FrameCheck(fault=str(error))

    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as threads:
        yield from threads.map(check, entries)


def _frame_check(layout: Layout, entry: Entry) -> _FrameCheck:
    frame = layout.frame(entry)
    counts = None if frame.ground_truth is None else np.bincount(frame.ground_truth.ravel(), minlength=256)
    height, width = frame.rgb.shape[:2]
    digest = blake2b(frame.rgb.tobytes(), digest_size=16).digest()
    return _FrameCheck((width, height), counts, digest, _look(frame.rgb), read_orientation(entry.image) > 1)


def _look(rgb: Pixels) -> npt.NDArray[np.float32]:
    """Return whether each cell of a coarse grid is brighter than the one to its left ("dHash", Krawetz 2013)."""
    gray = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (_LOOK_SIZE + 1, _LOOK_SIZE), interpolation=cv2.INTER_AREA)
    return np.where(gray[:, 1:] > gray[:, :-1], 1, -1).astype(np.float32).ravel()


def _split_check(layout: Layout, split: str, *, listing: Listing, frames: list[_FrameCheck]) -> SplitCheck:
    good = [frame for frame in frames if not frame.fault]
    by_frame = np.array([frame.counts for frame in good if frame.counts is not None], np.int64).reshape(-1, 256)
    counts, classes = by_frame.sum(axis=0), len(layout.class_set)
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
        counts[:classes],
        (by_frame[:, :classes] > 0).sum(axis=0),
        int(counts[VOID]),
        listing.has_ground_truth,
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
    labeled = [check for check in splits if check.has_ground_truth and check.usable]
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


def _rare_classes(layout: Layout, splits: list[SplitCheck]) -> list[str]:
    """Return notes for classes that little can be learned of, and for labels that are mostly void."""
    notes = []
    for check in splits:
        labeled, names = int(check.pixels.sum()), layout.class_set.names
        if check.void_pixels > labeled:
            share = 100 * check.void_pixels / (labeled + check.void_pixels)
            notes.append(f"{check.split}: {share:.0f} % of the pixels are void: neither trained on nor scored.")
        if check.split != "train":
            continue
        for name, pixels, frames in zip(names, check.pixels.tolist(), check.frames_with.tolist(), strict=True):
            if pixels and (pixels < _RARE_SHARE * labeled or frames < min(_FEW_FRAMES, len(check.usable))):
                notes.append(
                    f"Class '{name}' has {100 * pixels / labeled:.2g} % of the labeled pixels of train, in {frames} of "
                    f"{len(check.usable)} frames: expect a low IoU; label more frames that show it."
                )
    return notes


def _turned(good: dict[str, list[tuple[Entry, _FrameCheck]]]) -> list[str]:
    turned = [entry.image for frames in good.values() for entry, frame in frames if frame.turned]
    return [
        f"{len(turned)} images, such as '{image}', are turned by their EXIF orientation when they are read: see on the "
        "contact sheet whether their labels are, too; if not, remove the tag (exiftool -Orientation= IMAGE)."
        for image in turned[:1]
    ]


def _near_copies(good: dict[str, list[tuple[Entry, _FrameCheck]]]) -> list[str]:
    """Return a note for each two splits of which frames look alike, though their pixels differ."""
    notes = []
    for (first, known), (second, frames) in combinations(good.items(), 2):
        pictures, paths = {frame.picture for _, frame in known}, {entry.image for entry, _ in known}
        own = [(e, f) for e, f in frames if f.picture not in pictures and e.image not in paths]
        if not own or not known:
            continue
        looks = np.array([frame.look for _, frame in known])
        # Of two rows of -1 and 1 the product is their length less twice the places where they differ.
        nearest = [int((looks @ frame.look).argmax()) for _, frame in own]
        alike = [
            (entry, known[place][0])
            for (entry, frame), place in zip(own, nearest, strict=True)
            if looks[place] @ frame.look >= looks.shape[1] - 2 * _LOOK_DISTANCE
        ]
        notes += [
            f"{len(alike)} of {len(frames)} frames of {second} look like frames of {first}, such as '{one.image}' like "
            f"'{other.image}': scores on {second} are flattered; split by drive, not by frame."
            for one, other in alike[:1]
        ]
    return notes


def _shared(good: dict[str, list[tuple[Entry, _FrameCheck]]]) -> list[str]:
    """Return a fault for each picture that lies in two splits as two files: the score would be too high."""
    faults = []
    seen: dict[bytes, tuple[str, Path]] = {}
    for split, frames in good.items():
        for entry, frame in frames:
            other, path = seen.setdefault(frame.picture, (split, entry.image))
            if other != split and path != entry.image:
                faults.append(f"'{entry.image}' in {split} is the same picture as '{path}' in {other}.")
    return faults
