"""Ground truth for the images of a bag: a topic of class ids, or a folder of PNG files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.core.image import to_array
from erfnet_ros.core.image_decoding import decode
from erfnet_ros.data.bags.message_types import LABEL_INFO
from erfnet_ros.data.bags.reader import BagReader, Message
from erfnet_ros.data.image_files import images_in, read_labels
from erfnet_ros.data.label_map import LabelMap
from erfnet_ros.evaluation.inputs.stamp_matching import Matches, Nanoseconds, Timestamps, match_timestamps

_LABEL_ENCODINGS = ("mono8", "8UC1")

_MIN_STAMP_NS = 1_000_000
"""A clock shows less in its first millisecond only; as the index of an image it is nine hours at 30 Hz."""


class GroundTruth(Protocol):
    """Ground-truth images by index, read when they are asked for."""

    def __getitem__(self, index: int) -> Pixels:
        """Return one ground truth, (H, W) uint8, void 255.

        Raises:
            ErfnetError: It cannot be read, or holds ids that the class set does not have.
        """
        ...


class TopicGroundTruth:
    """The ground truths of a topic, read along while the images are read.

    Asked for in the order of the bag, nothing is kept; those that are skipped and needed later wait in memory.

    Args:
        reader: The bag; `reader.messages` is read once.
        topic: Of sensor_msgs/Image with mono8 class ids, or of CompressedImage with PNG.
        class_set: What the ids mean; its own void and 255 are void.
        needed: Indexes that will be asked for, each once.
    """

    def __init__(self, reader: BagReader, topic: str, class_set: ClassSet, *, needed: Collection[int]) -> None:
        self._reader, self._label_map = reader, LabelMap.of(class_set)
        self._messages: Iterator[tuple[int, Message]] = enumerate(reader.messages([topic]))
        self._needed = frozenset(needed)
        self._waiting: dict[int, Message] = {}

    def __getitem__(self, index: int) -> Pixels:
        """See `GroundTruth`."""
        while index not in self._waiting:
            found, message = next(self._messages)
            if found in self._needed:
                self._waiting[found] = message
        ids = label_ids(self._reader.decode(self._waiting.pop(index)))
        return self._label_map.from_ids(ids)


class FolderGroundTruth:
    """The ground truths of a folder: PNG files of class ids, one byte per pixel.

    File names say which image a ground truth belongs to, all files of a folder in one way:

    - numbers below a million: the image's index on its topic (0.png or 000000.png is the first);
    - larger numbers, one at least: the image's stamp, nanoseconds since 1970 (1700000000033333333.png);
    - any other names, as many as there are images: sorted, numbers by their value, they follow the images one by one.

    Args:
        folder: The folder; files that are no PNG are left alone.
        class_set: What the ids mean; its own void and 255 are void.
    """

    def __init__(self, folder: Path, class_set: ClassSet) -> None:
        self.folder, self._label_map = folder, LabelMap.of(class_set)
        self.files = [file for file in images_in(folder) if file.suffix.lower() == ".png"]
        if not self.files:
            raise EvaluationError(
                f"Expected PNG files of class ids in '{folder}', found none; labels must be lossless."
            )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Pixels:
        """See `GroundTruth`."""
        return read_labels(self.files[index], self._label_map)

    def match(self, images_ns: Nanoseconds, tolerance_ns: int) -> tuple[Matches, str]:
        """Pair the files with the images.

        Args:
            images_ns: (N,) stamps of the images, in the order of the bag.
            tolerance_ns: Largest distance between a file's stamp and an image's.

        Returns:
            The pairs, and in words by what they were paired.
        """
        count = len(images_ns)
        if not all(_is_number(file.stem) for file in self.files):
            if len(self.files) != count:
                raise EvaluationError(
                    f"Expected as many PNG files in '{self.folder}' as there are images, {count}, got "
                    f"{len(self.files)}; name each by its image's index (000000.png) or stamp in nanoseconds."
                )
            return Matches(tuple(range(count)), 0, 0), "their order, since their names are not numbers"
        numbers = np.array([int(file.stem) for file in self.files], np.int64)
        # Files of a longer recording are indexes all the same: those without an image belong to none.
        if numbers.max() >= max(count, _MIN_STAMP_NS):
            return match_timestamps(images_ns, numbers, tolerance_ns), "the stamps in their names"
        place = {int(number): index for index, number in enumerate(numbers)}
        ground_truth_of = tuple(place.get(index) for index in range(count))
        unmatched = len(numbers) - sum(index is not None for index in ground_truth_of)
        return Matches(ground_truth_of, unmatched, 0), "the image indexes in their names"


def match_topics(images: Timestamps, ground_truths: Timestamps, tolerance_ns: int) -> Matches:
    """Pair images and ground truths of two topics by header stamp; by the bag's time where one has no stamps."""
    if images.blank or ground_truths.blank:
        return match_timestamps(images.bag_ns, ground_truths.bag_ns, tolerance_ns)
    return match_timestamps(images.header_ns, ground_truths.header_ns, tolerance_ns)


def check_matches(matches: Matches, bag: str, *, ground_truths: int, tolerance_s: float) -> None:
    """Refuse a bag of which no ground truth belongs to an image."""
    if matches.count:
        return
    if matches.nearest_ns is None:
        raise EvaluationError(
            f"Expected ground truth for '{bag}', got {ground_truths} messages; name another --ground-truth-topic."
        )
    raise EvaluationError(
        f"Expected ground truth within {tolerance_s:g} s of an image of '{bag}', got none of {ground_truths}: "
        f"the nearest is {matches.nearest_ns / 1e9:.6f} s away; check the stamps, or raise --tolerance."
    )


def check_label_info(reader: BagReader, topic: str, class_set: ClassSet) -> None:
    """Refuse ground truth whose ids mean other classes, where a label_info next to it says what they mean."""
    label_info = f"{topic.rpartition('/')[0]}/label_info"
    if label_info not in reader.topics or reader.topics[label_info].type != LABEL_INFO:
        return
    for message in islice(reader.messages([label_info]), 1):
        theirs = {entry.class_id: entry.class_name for entry in reader.decode(message).class_map}
        # An id behind the last class may be what the data set calls void.
        for index, name in enumerate(class_set.names):
            if theirs.get(index) != name:
                raise EvaluationError(
                    f"Expected ground truth on '{topic}' of the checkpoint's {len(class_set)} classes "
                    f"'{class_set.name}', got '{theirs.get(index)}' for '{name}' as id {index} in '{label_info}'; take "
                    "a checkpoint of these classes, or other ground truth."
                )


def label_ids(message: Any) -> Pixels:
    """Return the class ids (H, W) uint8 of a decoded sensor_msgs Image or CompressedImage message.

    Raises:
        ErfnetError: Not one byte per pixel, not a PNG, or broken.
    """
    if not hasattr(message, "encoding"):
        return _png_ids(np.frombuffer(message.data, np.uint8), message.format)
    if message.encoding not in _LABEL_ENCODINGS:
        raise EvaluationError(
            f"Expected class ids of encoding {' or '.join(_LABEL_ENCODINGS)} as ground truth, got "
            f"'{message.encoding}'; convert color labels to class ids."
        )
    return to_array(message)[..., 0]


def _png_ids(content: Pixels, format: str) -> Pixels:
    # JPEG would smear ids into others without a word.
    if content[:8].tobytes() != b"\x89PNG\r\n\x1a\n":
        raise EvaluationError(
            f"Expected a PNG as compressed ground truth, got format '{format}'; labels must be lossless."
        )
    ids = decode(content, cv2.IMREAD_UNCHANGED)
    if ids is None or ids.ndim != 2 or ids.dtype != np.uint8:
        got = "one that cannot be decoded" if ids is None else f"{ids.dtype} of shape {ids.shape}"
        raise EvaluationError(
            f"Expected a PNG of one byte per pixel, the class id, as compressed ground truth, got {got}."
        )
    return ids.astype(np.uint8, copy=False)


def _is_number(stem: str) -> bool:
    return re.fullmatch(r"\d{1,19}", stem, re.ASCII) is not None and int(stem) < 2**63
