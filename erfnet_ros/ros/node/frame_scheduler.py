"""The way of a frame through the node: taken, segmented, published; cameras take turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger
from std_msgs.msg import Header

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.image import contiguous_rgb
from erfnet_ros.core.image_decoding import compressed_to_array
from erfnet_ros.core.image_encodings import to_array
from erfnet_ros.inference.segmenter import Segmentation, Segmenter
from erfnet_ros.ros.node.camera import NodeCamera
from erfnet_ros.ros.node.publishers import FrameReport


@dataclass(frozen=True)
class Settings:
    """What may change while frames are running; replaced as a whole."""

    confidence_threshold: float
    overlay_alpha: float
    max_rate: float


@dataclass(frozen=True)
class Frame:
    """An image that was taken.

    Attributes:
        camera: Whose.
        wanted: Output topics that somebody reads.
        header: The image's.
        rgb: (H, W, 3) uint8 image.
        start: `time.perf_counter()` when it was taken, seconds.
        preprocess_ms: Message to array, milliseconds.
    """

    camera: NodeCamera
    wanted: frozenset[str]
    header: Header
    rgb: Pixels
    start: float
    preprocess_ms: float


def batch_pays(device: str) -> bool:
    """Tell whether an engine on this device runs several images at once in less time than one after the other.

    A CPU hardly does, and the first frame would wait for the others: 50.1 ms an image alone, 47.5 in twos, 49.3 in
    fours at 480x360, and 56.1, 56.4 and 55.6 ms at 640x480 (2 cores with bf16 units, PyTorch).
    """
    return device != "cpu"


class Frames:
    """Segments the images of all cameras on one engine, in rounds that serve each waiting camera once.

    A round begins with the message that the executor took. What waits of the other cameras is taken from their
    readers, each of which keeps the newest message only: nothing queues, and however fast a camera is, no other waits
    for more than one frame of it. Either the frames of a round are taken at once, and those of one size run as one
    batch, or they run one after the other, each taken when its turn comes. No frame waits for one that has not come.

    Args:
        segmenter: What labels the images.
        cameras: All cameras of the node.
        batch: Whether frames of one size run as one batch, asked in each round; see `batch_pays`.
        logger: The node's.

    Attributes:
        notes: What was chosen for want of something better, a sentence each.
    """

    def __init__(
        self, segmenter: Segmenter, cameras: Sequence[NodeCamera], batch: Callable[[], bool], logger: RcutilsLogger
    ) -> None:
        self._segmenter = segmenter
        self._cameras = tuple(cameras)
        self._batch_wanted = batch
        self._batch_failed = False
        self._logger = logger
        self.notes: tuple[str, ...] = ()

    def serve(self, camera: NodeCamera, message: Any, settings: Settings) -> None:
        """Segment and publish a round: a camera's Image or CompressedImage message, and what waits of the others."""
        turn = self._turn(camera, message)
        if self._batch_failed or not self._batch_wanted():
            for one in turn:
                self._segment(_read([one], settings), settings)
            return
        frames = _read(turn, settings)
        for shape in dict.fromkeys(frame.rgb.shape for frame in frames):
            self._segment([frame for frame in frames if frame.rgb.shape == shape], settings)

    def _turn(self, camera: NodeCamera, message: Any) -> Iterator[tuple[NodeCamera, Any]]:
        """Give the message that was taken, then from each other camera what waits when its turn comes."""
        yield camera, message
        position = self._cameras.index(camera)
        for other in (*self._cameras[position + 1 :], *self._cameras[:position]):
            waiting = other.input.take()
            if waiting is not None:
                yield other, waiting

    def _segment(self, frames: Sequence[Frame], settings: Settings) -> None:
        """Segment and publish frames of one size."""
        if len(frames) > 1 and (results := self._batch(frames)) is not None:
            for frame, segmentation in zip(frames, results, strict=True):
                with frame.camera.rejecting():
                    _publish(frame, segmentation, settings)
            return
        for frame in frames:
            with frame.camera.rejecting():
                _publish(frame, self._segmenter(frame.rgb), settings)

    def _batch(self, frames: Sequence[Frame]) -> list[Segmentation] | None:
        """Segment frames in one run; None where that fails, which is said once and not tried again."""
        try:
            return self._segmenter.batch([frame.rgb for frame in frames])
        except Exception as error:
            # Whatever it was: alone, each frame succeeds or is rejected with its own reason.
            self._batch_failed = True
            self.notes = (
                f"Images of several cameras run one after the other: {len(frames)} at once failed ({error}).",
            )
            self._logger.warning(self.notes[0])
            return None


def _read(messages: Iterable[tuple[NodeCamera, Any]], settings: Settings) -> list[Frame]:
    """Return the frames among the messages that are due and can be read; the others are counted at their cameras."""
    frames: list[Frame] = []
    for camera, message in messages:
        start = time.perf_counter()
        if not camera.due(start, settings.max_rate):
            continue
        with camera.rejecting():
            wanted = camera.outputs.wanted()
            image = compressed_to_array(message) if hasattr(message, "format") else to_array(message)
            rgb = contiguous_rgb(image)
            frames.append(Frame(camera, wanted, message.header, rgb, start, 1e3 * (time.perf_counter() - start)))
    return frames


def _publish(frame: Frame, segmentation: Segmentation, settings: Settings) -> None:
    camera = frame.camera
    mask = segmentation.mask(settings.confidence_threshold)
    camera.processed += 1
    report = FrameReport(frame.start, frame.preprocess_ms, camera.processed, camera.dropped, camera.rejected)
    info = camera.input.newest_info
    camera.outputs.publish(
        frame.wanted, frame.header, frame.rgb, segmentation, mask, settings.overlay_alpha, info, report
    )
