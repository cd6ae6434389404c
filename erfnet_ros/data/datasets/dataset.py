"""Data sets as image files with their label files, read as frames."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import SourceError
from erfnet_ros.data.frame_sources import Frame, Source
from erfnet_ros.data.image_files import check_size, label_files, pairing_key, read_labels, read_rgb
from erfnet_ros.data.label_map import LabelMap


@dataclass(frozen=True)
class Entry:
    """Image and label file (None without ground truth) of one frame, whose name is unique in its data set."""

    name: str
    image: Path
    label: Path | None


@dataclass(frozen=True)
class Listing:
    """The files of one split, none of them opened.

    Attributes:
        entries: Images, each with its label where the split has ground truth.
        unlabeled: Images whose label is missing, and where it was expected.
        stray: Label files that no image belongs to.
        twins: Images that would share another image's label.
    """

    entries: tuple[Entry, ...]
    unlabeled: tuple[tuple[Path, Path], ...] = ()
    stray: tuple[Path, ...] = ()
    twins: tuple[Path, ...] = ()

    @property
    def has_ground_truth(self) -> bool:
        """Whether every frame comes with ground truth."""
        return all(entry.label is not None for entry in self.entries)


@dataclass(frozen=True)
class Layout(ABC):
    """How a kind of data set is stored in its folder.

    Attributes:
        label_map: What ids and colors in the label files mean.
        kind: One of `KINDS`.
    """

    root: Path
    label_map: LabelMap
    kind: str
    name: str

    @property
    def class_set(self) -> ClassSet:
        """Classes of the ids in `read_ground_truth`'s arrays."""
        return self.label_map.class_set

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that are there."""

    @abstractmethod
    def listing(self, split: str) -> Listing:
        """List one of `splits`; SourceError where it holds no image or cannot be read."""

    def read_ground_truth(self, path: Path) -> Pixels:
        """Read a label file as (H, W) uint8 class ids, 255 void; SourceError for what the label map does not know."""
        return read_labels(path, self.label_map)

    def frame(self, entry: Entry) -> Frame:
        """Read a frame; SourceError where its image or its label cannot be used."""
        rgb = read_rgb(entry.image)
        if entry.label is None:
            return Frame(entry.name, rgb, None)
        ground_truth = self.read_ground_truth(entry.label)
        check_size(entry.label, ground_truth, entry.image, rgb)
        return Frame(entry.name, rgb, ground_truth)


class DataSet(Source):
    """A split, or several joined by `+`, as a sequence of frames."""

    def __init__(self, layout: Layout, split: str, entries: tuple[Entry, ...]) -> None:
        self.class_set, self.name, self.split = layout.class_set, layout.name, split
        self.has_ground_truth = all(entry.label is not None for entry in entries)
        self._layout, self._entries = layout, entries

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Frame:
        return self._layout.frame(self._entries[self._checked(index)])

    def entries(self) -> Sequence[Entry]:
        """Return the files of each frame, in order; nothing is opened."""
        return self._entries


def pair(
    images: Sequence[Path], *, name_of: Callable[[Path], str], label_of: Callable[[Path], Path], labels: Iterable[Path]
) -> Listing:
    """Find each image's label.

    Args:
        images: The image files, in the order that the frames shall have.
        name_of: The frame's name, by the image file.
        label_of: Where its label belongs, by the image file.
        labels: The label files that are there.
    """
    there = label_files(labels)
    belonging = [label_of(image) for image in images]
    often = Counter(map(pairing_key, belonging))
    entries, unlabeled, twins = [], [], []
    for image, label in zip(images, belonging, strict=True):
        key = pairing_key(label)
        if often[key] > 1:
            twins.append(image)
        elif key in there:
            entries.append(Entry(name_of(image), image, there[key]))
        else:
            unlabeled.append((image, label))
    stray = sorted(path for key, path in there.items() if key not in often)
    return Listing(tuple(entries), tuple(unlabeled), tuple(stray), tuple(twins))


def pair_by_stem(images: Sequence[Path], labels: Path) -> Listing:
    """Pair images with the files of one folder that are called like them."""
    return pair(
        images,
        name_of=lambda image: image.stem,
        label_of=lambda image: labels / f"{image.stem}.png",
        labels=files_in(labels),
    )


def similar_label(label: Path) -> str:
    """Return what lies where a label is missing and may be meant as it, with what to do; empty where nothing does."""
    name = re.escape(normalize("NFC", label.stem)) + r"([_.-]\w*(mask|label|gt)\w*)?\.\w+"
    for path in sorted(files_in(label.parent)):
        if re.fullmatch(name, normalize("NFC", path.name), re.IGNORECASE):
            return f"; '{path.name}' lies there: labels are PNG, TIFF or BMP files of the image's name, never JPEG"
    return ""


def ending_in(paths: Iterable[Path], suffix: str) -> list[Path]:
    """Return the files whose names end so, hidden ones left out."""
    return [path for path in paths if path.name.endswith(suffix) and not path.name.startswith(".")]


def files_in(folder: Path) -> list[Path]:
    """Return what lies in a folder; nothing where there is no such folder.

    Raises:
        SourceError: The folder may not be read.
    """
    if not folder.is_dir():
        return []
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise SourceError(f"Cannot read the folder '{folder}': {error.strerror}; check its permissions.") from error
