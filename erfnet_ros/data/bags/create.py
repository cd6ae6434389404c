"""Creation of bags from a source of frames: images, their camera_info, and their ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import BagError, ParameterError
from erfnet_ros.core.progress import tracked
from erfnet_ros.data.bags.message_types import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, LABEL_INFO
from erfnet_ros.data.bags.messages import camera_info, compressed_image, depth_image, header, image, label_info
from erfnet_ros.data.bags.writer import BagWriter
from erfnet_ros.data.frame_sources import Depth, Frame, Source

START_NS = 1_000_000_000 * 1_000_000_000
"""Stamp of the first frame, 2001-09-09 01:46:40 UTC: always the same, so that the same source makes the same bag."""

FRAME_ID = "camera"


@dataclass(frozen=True)
class BagSettings:
    """Settings of a bag that is made; those of its storage are `BagWriter`'s.

    Attributes:
        topic: Of raw images; compressed ones go to its `compressed` as image_transport has it.
        encoding: rgb8 or bgr8 for raw images, jpeg or png for compressed ones.
        with_depth: Whether depth images are written as well, which the source must know.
    """

    out: Path
    topic: str
    ground_truth_topic: str
    rate_hz: float
    encoding: str
    storage: str
    compression: str
    split_bytes: int | None = None
    force: bool = False
    with_depth: bool = False

    @property
    def compressed(self) -> bool:
        """Whether the images are sensor_msgs/CompressedImage."""
        return self.encoding in ("jpeg", "png")

    @property
    def image_topic(self) -> str:
        """The topic that the images are written to."""
        transported = self.compressed and not self.topic.endswith("/compressed")
        return f"{self.topic}/compressed" if transported else self.topic

    def camera_topic(self, name: str) -> str:
        """Return the topic of this name in the camera's namespace."""
        raw = self.topic.removesuffix("/compressed")
        return f"{raw.rpartition('/')[0]}/{name}"

    @property
    def depth_topics(self) -> tuple[str, str]:
        """The topics of depth image and its calibration."""
        return self.camera_topic("depth/image_raw"), self.camera_topic("depth/camera_info")

    def check(self) -> None:
        """Refuse settings with which the bag cannot be written, before any work."""
        topics = [
            self.image_topic,
            self.ground_truth_topic,
            self.camera_topic("camera_info"),
            self.camera_topic("label_info"),
            *self.depth_topics,
        ]
        twice = sorted({topic for topic in topics if topics.count(topic) > 1})
        if twice:
            raise ParameterError(
                "Expected different topics for images, ground truth, camera_info, label_info and depth, "
                f"got '{twice[0]}' twice; "
                "change --topic or --ground-truth-topic."
            )
        if self.out.exists() and not self.force:
            raise BagError(f"Expected a new bag, but '{self.out}' exists; choose another name or use --force.")


def make(source: Source, class_set: ClassSet, settings: BagSettings, most: int | None = None) -> int:
    """Write the frames of a source, `most` at most, into a bag, with a progress bar on stderr; return their number."""
    count = len(source) if most is None else min(most, len(source))
    info, labels = settings.camera_topic("camera_info"), settings.camera_topic("label_info")
    with BagWriter(
        settings.out,
        settings.storage,
        compression=settings.compression,
        force=settings.force,
        split_bytes=settings.split_bytes,
    ) as writer:
        writer.add(settings.image_topic, COMPRESSED_IMAGE if settings.compressed else IMAGE)
        writer.add(info, CAMERA_INFO)
        if settings.with_depth:
            writer.add(settings.depth_topics[0], IMAGE)
            writer.add(settings.depth_topics[1], CAMERA_INFO)
        if source.has_ground_truth:
            writer.add(settings.ground_truth_topic, IMAGE)
            writer.add(labels, LABEL_INFO)
            writer.write(labels, START_NS, label_info(class_set, header(START_NS, FRAME_ID)))
        for index in tracked(range(count), count, "Writing the bag"):
            stamp_ns = START_NS + round(index * 1e9 / settings.rate_hz)
            depth = source.depth(index) if settings.with_depth else None
            for topic, message in _messages(source[index], depth, stamp_ns, settings):
                writer.write(topic, stamp_ns, message)
    return count


def _messages(frame: Frame, depth: Depth | None, stamp_ns: int, settings: BagSettings) -> Iterator[tuple[str, Any]]:
    """Yield what is recorded of a frame, in the order in which a camera would publish it."""
    head = header(stamp_ns, FRAME_ID)
    height, width = frame.rgb.shape[:2]
    if settings.compressed:
        yield settings.image_topic, compressed_image(frame.rgb, settings.encoding, head)
    else:
        pixels = frame.rgb if settings.encoding == "rgb8" else frame.rgb[..., ::-1]
        yield settings.image_topic, image(pixels, settings.encoding, head)
    info = camera_info(width, height, head, intrinsics=None if depth is None else depth.intrinsics)
    yield settings.camera_topic("camera_info"), info
    if depth is not None:
        yield from zip(settings.depth_topics, (depth_image(depth.meters, head), info), strict=True)
    if frame.ground_truth is not None:
        yield settings.ground_truth_topic, image(frame.ground_truth, "mono8", head)
