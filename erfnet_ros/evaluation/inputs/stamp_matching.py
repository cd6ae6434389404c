"""Timestamps of images and ground truth, and their matching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from erfnet_ros.data.bags.reader import BagReader

Nanoseconds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Timestamps:
    """When the messages of a topic were stamped, in the order of the bag.

    Attributes:
        header_ns: (N,) stamps in the headers; the bag's own time where a message is too short to have one.
        bag_ns: (N,) the bag's own time.
    """

    header_ns: Nanoseconds
    bag_ns: Nanoseconds

    def __len__(self) -> int:
        return len(self.bag_ns)

    @property
    def blank(self) -> bool:
        """Whether no message bears a stamp: all are zero."""
        return len(self) > 0 and not self.header_ns.any()

    @property
    def stamps_ns(self) -> Nanoseconds:
        """(N,) what stands for the stamps: the headers' own, or the bag's time where all of them are zero."""
        return self.bag_ns if self.blank else self.header_ns

    def faults(self, what: str) -> tuple[str, ...]:
        """Return what is wrong with the stamps of `what` (a plural noun), a sentence each."""
        if self.blank:
            return (f"All stamps of the {len(self)} {what} are zero; the bag's own time stands in for them.",)
        steps = np.diff(self.header_ns)
        back, zero = int((steps < 0).sum()), int((self.header_ns == 0).sum())
        again = len(self) - len(np.unique(self.header_ns))
        said = []
        if back:
            said.append(
                f"{back} of {len(self)} {what} are stamped earlier than the one before; they are taken in the order of "
                "the bag's own time."
            )
        if zero:
            said.append(f"{zero} of {len(self)} {what} have a stamp of zero.")
        if again and not zero:
            said.append(f"{again} of {len(self)} {what} have the same stamp as another.")
        return tuple(said)


@dataclass(frozen=True)
class Matches:
    """Which ground truth belongs to which image.

    Attributes:
        ground_truth_of: For each image the index of its ground truth, or None.
        unmatched_ground_truths: Ground-truth images that belong to no image.
        nearest_ns: Smallest distance between an image and a ground truth, matched or not; None where either is empty.
    """

    ground_truth_of: tuple[int | None, ...]
    unmatched_ground_truths: int
    nearest_ns: int | None

    @property
    def count(self) -> int:
        """Images that have a ground truth."""
        return sum(index is not None for index in self.ground_truth_of)

    @property
    def unmatched_images(self) -> int:
        """Images that have none."""
        return len(self.ground_truth_of) - self.count


def read_timestamps(reader: BagReader, topics: Sequence[str]) -> dict[str, Timestamps]:
    """Go once through a bag and return the stamps of these topics; nothing is decoded."""
    header: dict[str, list[int]] = {topic: [] for topic in topics}
    times: dict[str, list[int]] = {topic: [] for topic in topics}
    for message in reader.messages(topics):
        stamp_ns = reader.stamp_ns(message)
        header[message.topic].append(message.time_ns if stamp_ns is None else stamp_ns)
        times[message.topic].append(message.time_ns)
    return {topic: Timestamps(np.array(header[topic], np.int64), np.array(times[topic], np.int64)) for topic in topics}


def match_timestamps(images_ns: Nanoseconds, ground_truths_ns: Nanoseconds, tolerance_ns: int) -> Matches:
    """Pair images and ground truths whose stamps lie within a tolerance, the nearest first, each once.

    Of pairs equally near that of the earlier image, then that of the earlier ground truth, comes first.

    Args:
        images_ns: (N,) in any order.
        ground_truths_ns: (M,) in any order.
        tolerance_ns: Largest distance of a pair; 0 asks for equal stamps.
    """
    order = np.argsort(ground_truths_ns, kind="stable")
    ranked = ground_truths_ns[order]
    # Each image's candidates are a run of the ranked ground truths.
    first = np.searchsorted(ranked, images_ns - tolerance_ns, side="left")
    counts = np.searchsorted(ranked, images_ns + tolerance_ns, side="right") - first
    images = np.repeat(np.arange(len(images_ns)), counts)
    places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    ground_truths = order[places]
    distances = np.abs(images_ns[images] - ground_truths_ns[ground_truths])
    ground_truth_of: list[int | None] = [None] * len(images_ns)
    taken: set[int] = set()
    for pair in np.lexsort((ground_truths, images, ground_truths_ns[ground_truths], images_ns[images], distances)):
        image, ground_truth = int(images[pair]), int(ground_truths[pair])
        if ground_truth_of[image] is None and ground_truth not in taken:
            ground_truth_of[image] = ground_truth
            taken.add(ground_truth)
    return Matches(tuple(ground_truth_of), len(ground_truths_ns) - len(taken), _nearest_ns(images_ns, ranked))


def _nearest_ns(images_ns: Nanoseconds, ranked: Nanoseconds) -> int | None:
    if not len(images_ns) or not len(ranked):
        return None
    right = np.searchsorted(ranked, images_ns).clip(max=len(ranked) - 1)
    left = (right - 1).clip(min=0)
    return int(np.minimum(np.abs(ranked[right] - images_ns), np.abs(ranked[left] - images_ns)).min())
