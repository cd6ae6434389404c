"""Selection of the image topic and the ground-truth topic of a bag."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from erfnet_ros.core.errors import ErfnetError, EvaluationError
from erfnet_ros.data.bags.message_types import COMPRESSED_IMAGE, IMAGE
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.data.bags.topics import Topic, find_topic
from erfnet_ros.evaluation.inputs.ground_truth import label_ids

IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)

_GROUND_TRUTH_NAME = re.compile(r"truth|label|annotation|(^|[/_])gt([/_]|$)", re.IGNORECASE)
_DEPTH_ENCODING = re.compile("16UC1|32FC1|compressedDepth", re.IGNORECASE)
_OUTPUTS = frozenset({"mask", "confidence", "overlay", "color_mask"})
"""Last parts of the names of what a segmentation node publishes."""


@dataclass(frozen=True)
class BagTopics:
    """The topics of an evaluation.

    Attributes:
        ground_truth: Class ids; None where there is no such topic, or a folder holds the ground truth.
    """

    image: Topic
    ground_truth: Topic | None


def find_topics(
    reader: BagReader, *, image: str | None, ground_truth: str | None, ground_truth_wanted: bool = True
) -> BagTopics:
    """Find the topics of images and, if wanted, ground truth; what is not named is found where only one topic fits.

    A topic is taken as ground truth unasked where its name says so (truth, label, annotation, gt) and its first message
    holds class ids. A topic with such a name, or with the name of a segmentation node's output, is never the camera
    unasked.
    """
    named_ground_truth = (
        None if ground_truth is None else find_topic(reader, ground_truth, types=IMAGE_TYPES, what="ground-truth")
    )
    camera = (
        _camera(reader, named_ground_truth)
        if image is None
        else find_topic(reader, image, types=IMAGE_TYPES, what="image")
    )
    if named_ground_truth is not None or not ground_truth_wanted:
        return BagTopics(camera, named_ground_truth)
    ground_truths = [topic for topic in reader.topics.values() if topic != camera and _is_ground_truth(reader, topic)]
    if len(ground_truths) > 1:
        raise EvaluationError(
            f"Expected one topic of ground truth in '{reader.path}', "
            f"got {', '.join(topic.name for topic in ground_truths)}; "
            "choose one with --ground-truth-topic."
        )
    return BagTopics(camera, ground_truths[0] if ground_truths else None)


def _camera(reader: BagReader, ground_truth: Topic | None) -> Topic:
    reasons = {topic.name: _why_no_camera(reader, topic, ground_truth) for topic in reader.topics.values()}
    cameras = [name for name, reason in reasons.items() if not reason]
    if len(cameras) == 1:
        return reader.topics[cameras[0]]
    if cameras:
        raise EvaluationError(
            f"Expected one image topic in '{reader.path}', got {len(cameras)}: {', '.join(cameras)}; choose one with "
            "--image-topic."
        )
    listed = ", ".join(f"{name} ({reason})" for name, reason in reasons.items())
    raise EvaluationError(
        f"Expected a topic of camera images in '{reader.path}', got {listed or 'no topic at all'}; name one with "
        "--image-topic, or record the camera as sensor_msgs/Image or CompressedImage."
    )


def _why_no_camera(reader: BagReader, topic: Topic, ground_truth: Topic | None) -> str:
    """Return why a topic is not taken as the camera unasked; "" where it is."""
    if topic.type not in IMAGE_TYPES:
        return topic.type
    if not topic.count:
        return "no messages"
    if topic == ground_truth or _GROUND_TRUTH_NAME.search(topic.name) is not None:
        return "ground truth"
    if topic.name.removesuffix("/compressed").rpartition("/")[2] in _OUTPUTS:
        return "output of a segmentation node, by its name"
    first = _first_message(reader, topic)
    encoding = str(getattr(first, "encoding", getattr(first, "format", "")))
    return f"depth, {encoding}" if _DEPTH_ENCODING.search(encoding) else ""


def _first_message(reader: BagReader, topic: Topic) -> Any:
    """Return a topic's first message; None where it cannot be read."""
    try:
        return reader.decode(next(reader.messages([topic.name])))
    except (ErfnetError, StopIteration):
        return None


def _is_ground_truth(reader: BagReader, topic: Topic) -> bool:
    if topic.type not in IMAGE_TYPES or not topic.count or _GROUND_TRUTH_NAME.search(topic.name) is None:
        return False
    first = _first_message(reader, topic)
    try:
        return first is not None and label_ids(first).size > 0
    except ErfnetError:
        return False
