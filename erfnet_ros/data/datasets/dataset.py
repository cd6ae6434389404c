"""Data sets as image files with their label files, read as frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import SourceError
from erfnet_ros.data.frame_sources import Frame, Source
from erfnet_ros.data.image_files import check_size, read_rgb


@dataclass(frozen=True)
class Entry:
    """Image and label file of one frame, whose name is unique in its data set; no label in a split without truth."""

    name: str
    image: Path
    label: Path | None


@dataclass(frozen=True)
class Listing:
    """The files of one split, none of them opened.

    Attributes:
        entries: Images, each with its label where the split has truth.
        unlabeled: Images whose label is missing, and where it was expected.
        stray: Label files that no image belongs to.
        twins: Images that would share another image's label.
    """

    entries: tuple[Entry, ...]
    unlabeled: tuple[tuple[Path, Path], ...] = ()
    stray: tuple[Path, ...] = ()
    twins: tuple[Path, ...] = ()

    @property
    def has_truth(self) -> bool:
        """Whether every frame comes with ground truth."""
        return all(entry.label is not None for entry in self.entries)


@dataclass(frozen=True)
class Layout(ABC):
    """How a kind of data set is stored in its folder.

    Attributes:
        class_set: What the ids in `read_truth`'s arrays mean.
        kind: One of `KINDS`.
    """

    root: Path
    class_set: ClassSet
    kind: str
    name: str

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that are there."""

    @abstractmethod
    def listing(self, split: str) -> Listing:
        """List one of `splits`; SourceError where it holds no image or cannot be read."""

    @abstractmethod
    def read_truth(self, path: Path) -> Pixels:
        """Read a label file as (H, W) uint8 class ids, 255 void; SourceError for ids outside the class set."""

    def frame(self, entry: Entry) -> Frame:
        """Read a frame; SourceError where its image or its label cannot be used."""
        rgb = read_rgb(entry.image)
        if entry.label is None:
            return Frame(entry.name, rgb, None)
        truth = self.read_truth(entry.label)
        check_size(entry.label, truth, entry.image, rgb)
        return Frame(entry.name, rgb, truth)


class DataSet(Source):
    """A split, or several joined by `+`, as a sequence of frames."""

    def __init__(self, layout: Layout, split: str, entries: tuple[Entry, ...]) -> None:
        self.class_set, self.name, self.split = layout.class_set, layout.name, split
        self.has_truth = all(entry.label is not None for entry in entries)
        self._layout, self._entries = layout, entries

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Frame:
        return self._layout.frame(self._entries[self._checked(index)])

    def entries(self) -> Sequence[Entry]:
        """Return the files of each frame, in order; nothing is opened."""
        return self._entries


def pair(
    images: Sequence[Path], name_of: Callable[[Path], str], label_of: Callable[[Path], Path], labels: Iterable[Path]
) -> Listing:
    """Find each image's label.

    Args:
        images: The image files, in the order that the frames shall have.
        name_of: The frame's name, by the image file.
        label_of: Where its label belongs, by the image file.
        labels: The label files that are there.
    """
    there = set(labels)
    belonging = [label_of(image) for image in images]
    often = Counter(belonging)
    entries, unlabeled, twins = [], [], []
    for image, label in zip(images, belonging, strict=True):
        if often[label] > 1:
            twins.append(image)
        elif label in there:
            entries.append(Entry(name_of(image), image, label))
        else:
            unlabeled.append((image, label))
    return Listing(tuple(entries), tuple(unlabeled), tuple(sorted(there - often.keys())), tuple(twins))


def pair_by_stem(images: Sequence[Path], labels: Path, suffix: str = ".png") -> Listing:
    """Pair images with the files of one folder that are called like them, but for `suffix`."""
    found = ending_in(files_in(labels), suffix)
    return pair(images, lambda image: image.stem, lambda image: labels / f"{image.stem}{suffix}", found)


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
