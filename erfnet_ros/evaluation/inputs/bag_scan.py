"""Scan of a bag before decoding: topics, timestamps, and the ground truth of each image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.data.bags.topics import Topic
from erfnet_ros.evaluation.inputs.ground_truth import (
    FolderGroundTruth,
    GroundTruth,
    TopicGroundTruth,
    check_label_info,
    check_matches,
    match_topics,
)
from erfnet_ros.evaluation.inputs.stamp_matching import Matches, Timestamps, read_timestamps
from erfnet_ros.evaluation.inputs.topic_selection import find_topics
from erfnet_ros.evaluation.metadata import BagMetadata
from erfnet_ros.evaluation.settings import Settings


@dataclass(frozen=True)
class BagScan:
    """A bag that can be evaluated.

    Attributes:
        ground_truth: The ground truth's topic; None without ground truth, or with a folder.
        ground_truth_dir: The ground truth's folder; None without ground truth, or with a topic.
        images: Stamps of the images, in the order of the bag.
        matches: Which ground truth belongs to which image; None without ground truth.
        notes: What a reader of the figures must know, a sentence each.
    """

    path: Path
    metadata: BagMetadata
    image: Topic
    ground_truth: Topic | None
    ground_truth_dir: Path | None
    images: Timestamps
    matches: Matches | None
    notes: tuple[str, ...]

    def ground_truth_of(self, index: int) -> int | None:
        """Return the index of the ground truth of image `index`, or None."""
        return None if self.matches is None else self.matches.ground_truth_of[index]

    def open_ground_truth(self, reader: BagReader, class_set: ClassSet, first: int = 0) -> GroundTruth | None:
        """Return the ground truths by index; None without ground truth.

        Args:
            first: Images before this index will not ask for theirs.
        """
        if self.ground_truth_dir is not None:
            return FolderGroundTruth(self.ground_truth_dir, class_set)
        if self.ground_truth is None or self.matches is None:
            return None
        needed = [index for index in self.matches.ground_truth_of[first:] if index is not None]
        return TopicGroundTruth(reader, self.ground_truth.name, class_set, needed=needed)


def scan_bag(reader: BagReader, settings: Settings, class_set: ClassSet) -> BagScan:
    """Find topics, stamps and pairs of an opened bag; goes through it once, and once more for its fingerprint."""
    topics = find_topics(
        reader,
        image=settings.image_topic,
        ground_truth=settings.ground_truth_topic,
        ground_truth_wanted=settings.ground_truth_dir is None,
    )
    names = [topics.image.name, *([topics.ground_truth.name] if topics.ground_truth else [])]
    stamps = read_timestamps(reader, names)
    images = stamps[topics.image.name]
    name = reader.path.resolve().name
    if not len(images):
        raise EvaluationError(f"Expected images on '{topics.image.name}' of '{name}', got none that can be read.")
    notes = [f"{note[0].upper()}{note[1:]}." for note in reader.notes]
    notes += images.faults("images")
    matches: Matches | None = None
    ground_truths, source = 0, None
    if topics.ground_truth is not None:
        check_label_info(reader, topics.ground_truth.name, class_set)
        found = stamps[topics.ground_truth.name]
        ground_truths, source = len(found), topics.ground_truth.name
        notes += found.faults("ground truths")
        matches = match_topics(images, found, settings.tolerance_ns)
    elif settings.ground_truth_dir is not None:
        folder = FolderGroundTruth(settings.ground_truth_dir, class_set)
        ground_truths, source = len(folder), settings.ground_truth_dir.resolve().name
        matches, how = folder.match(images.stamps_ns, settings.tolerance_ns)
        notes.append(f"The files of '{source}' were matched with the images by {how}.")
    if matches is not None:
        check_matches(matches, name, ground_truths=ground_truths, tolerance_s=settings.tolerance_s)
    metadata = BagMetadata(
        name,
        reader.fingerprint(),
        len(images),
        ground_truths,
        (reader.end_ns - reader.start_ns) / 1e9,
        topics.image.name,
        source,
        reader.faults,
    )
    return BagScan(
        reader.path,
        metadata,
        topics.image,
        topics.ground_truth,
        settings.ground_truth_dir,
        images,
        matches,
        tuple(notes),
    )
