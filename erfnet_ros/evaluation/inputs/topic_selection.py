"""Which topic of a bag holds the images, and which their truth."""

from __future__ import annotations

import re
from dataclasses import dataclass

from erfnet_ros.core.errors import ErfnetError, EvaluationError
from erfnet_ros.data.bags.message_types import COMPRESSED_IMAGE, IMAGE, LABEL_INFO
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.data.bags.topics import Topic, find_topic
from erfnet_ros.evaluation.inputs.ground_truth import label_ids

IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)

_TRUTH_NAME = re.compile(r"truth|label|annotation|(^|[/_])gt([/_]|$)", re.IGNORECASE)
_OUTPUTS = frozenset({"mask", "confidence", "overlay", "color_mask"})
"""Last parts of the names of what a segmentation node publishes."""


@dataclass(frozen=True)
class BagTopics:
    """The topics of an evaluation.

    Attributes:
        image: The camera's.
        truth: Class ids; None where there is no such topic, or a folder holds the truth.
    """

    image: Topic
    truth: Topic | None


def find_topics(reader: BagReader, image: str | None, truth: str | None, truth_wanted: bool = True) -> BagTopics:
    """Find the topics of images and truth; what is not named is found where only one topic fits.

    A topic is taken as truth unasked where its name says so (truth, label, annotation, gt) and its first message holds
    class ids. The outputs of a segmentation node that were recorded beside the images are taken as neither.

    Args:
        reader: The bag.
        image: Name, or None to find it.
        truth: Name, or None to find it.
        truth_wanted: Whether a truth topic is looked for where none is named.

    Raises:
        BagError: A named topic is not there or of another type, or there is not one that fits; the message lists them.
        EvaluationError: Several topics may be the truth.
    """
    named_truth = None if truth is None else find_topic(reader, truth, IMAGE_TYPES, "truth")
    images = _candidates(reader, named_truth)
    truths = [topic for topic in images if topic.name != image and _is_truth(reader, topic)]
    if image is not None:
        chosen = find_topic(reader, image, IMAGE_TYPES, "image")
    else:
        cameras = [topic for topic in images if topic not in truths]
        chosen = cameras[0] if len(cameras) == 1 else find_topic(reader, None, IMAGE_TYPES, "image")
    if named_truth is not None or not truth_wanted:
        return BagTopics(chosen, named_truth)
    truths = [topic for topic in truths if topic != chosen]
    if len(truths) > 1:
        raise EvaluationError(
            f"Expected one topic of truth in '{reader.path}', got {', '.join(topic.name for topic in truths)}; "
            "choose one with --ground-truth-topic."
        )
    return BagTopics(chosen, truths[0] if truths else None)


def _candidates(reader: BagReader, truth: Topic | None) -> list[Topic]:
    nodes = {name.rpartition("/")[0] for name, topic in reader.topics.items() if topic.type == LABEL_INFO}
    return [
        topic
        for topic in reader.topics.values()
        if topic.type in IMAGE_TYPES and topic.count and topic != truth and not _is_output(topic.name, nodes)
    ]


def _is_output(name: str, nodes: set[str]) -> bool:
    parent, _, last = name.removesuffix("/compressed").rpartition("/")
    return parent in nodes and last in _OUTPUTS and _TRUTH_NAME.search(name) is None


def _is_truth(reader: BagReader, topic: Topic) -> bool:
    if _TRUTH_NAME.search(topic.name) is None:
        return False
    try:
        label_ids(reader.decode(next(reader.messages([topic.name]))))
    except (ErfnetError, StopIteration):
        return False
    return True
