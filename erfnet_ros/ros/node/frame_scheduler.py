"""Scheduler of frames: takes, segments and publishes the images of all cameras in rounds."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger
from std_msgs.msg import Header

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.printable_text import printable
from erfnet_ros.inference.segmenter import Segmentation, Segmenter
from erfnet_ros.ros.node.camera import Camera
from erfnet_ros.ros.node.image_conversion import to_rgb
from erfnet_ros.ros.node.monitoring.watchdog import EngineCall
from erfnet_ros.ros.node.parameters import Settings
from erfnet_ros.ros.node.publishers import SegmentedFrame
from erfnet_ros.ros.node.samples import UncertainFrameRecorder


@dataclass(frozen=True)
class _Image:
    """A message that was taken and read; the attributes are those of `SegmentedFrame`."""

    camera: Camera
    wanted: frozenset[str]
    header: Header
    rgb: Pixels
    start_s: float
    preprocess_ms: float


def batch_pays(device: str) -> bool:
    """Return whether an engine on this device runs several images at once in less time than one after the other.

    A CPU hardly does, and the first frame would wait for the others: 50.1 ms an image alone, 47.5 in twos, 49.3 in
    fours at 480x360, and 56.1, 56.4 and 55.6 ms at 640x480 (2 cores with bf16 units, PyTorch).
    """
    return device != "cpu"


class FrameScheduler:
    """Segments the images of all cameras on one engine, in rounds that process each waiting camera once.

    A round begins with the message that the executor took. The other cameras' waiting messages are taken from their
    subscriptions, each of which keeps the newest message only: nothing queues, and however fast a camera is, no other
    waits for more than one frame of it. Where a batch pays, the frames of a round are taken at once, and those of one
    size run as one batch; otherwise they run one after the other, each taken when its turn comes. No frame waits for
    one that has not come.

    Args:
        segmenter: Labels the images.
        settings: Of the frames; replaced as a whole when a parameter changes.
        logger: The node's.

    Attributes:
        cameras: All cameras of the node.
        active: Whether images are processed.
        idle_since_s: `time.monotonic()` when the last round ended; infinite while one is in progress.
        notes: What had to be done in a slower way, a sentence each.
        engine_call: The call of the engine in progress, or None.
        recorder: Gets each frame, if there is one.
    """

    def __init__(self, segmenter: Segmenter, settings: Settings, logger: RcutilsLogger) -> None:
        self._segmenter = segmenter
        self.settings = settings
        self.cameras: tuple[Camera, ...] = ()
        self.active = False
        self.idle_since_s = -math.inf
        self.notes: tuple[str, ...] = ()
        self.engine_call: EngineCall | None = None
        self.recorder: UncertainFrameRecorder | None = None
        self._palette = segmenter.class_set.palette()
        self._batch_failed = False
        self._logger = logger
        self._round_lock = threading.Lock()

    def start(self) -> None:
        """Count from zero, and process the images that the cameras receive."""
        for camera in self.cameras:
            camera.start()
        self.active = True

    def idle_s(self) -> float:
        """Return for how long no round was in progress; minus infinity during one."""
        return time.monotonic() - self.idle_since_s

    def stop(self) -> None:
        """Process no further image, and wait for the round in progress."""
        self.active = False
        with self._round_lock:
            pass

    @contextmanager
    def calling_engine(self) -> Iterator[None]:
        """Show in `engine_call` that this thread calls the engine."""
        self.engine_call = (threading.get_ident(), time.monotonic())
        try:
            yield
        finally:
            self.engine_call = None

    def process_round(self, camera: Camera, message: Any) -> None:
        """Segment and publish a camera's Image or CompressedImage message, and what waits of the other cameras."""
        with self._round_lock:
            if not self.active:
                return
            self.idle_since_s = math.inf
            try:
                # One object for the whole round: a parameter may change meanwhile.
                self._process(self._take_round(camera, message), self.settings)
            finally:
                self.idle_since_s = time.monotonic()

    def _process(self, messages: Iterator[tuple[Camera, Any]], settings: Settings) -> None:
        if self._batch_failed or not batch_pays(self._segmenter.engine.device):
            for taken in messages:
                self._segment(_read([taken], settings), settings)
            return
        images = _read(messages, settings)
        for shape in dict.fromkeys(image.rgb.shape for image in images):
            self._segment([image for image in images if image.rgb.shape == shape], settings)

    def _take_round(self, camera: Camera, message: Any) -> Iterator[tuple[Camera, Any]]:
        """Yield the message that was taken, then of each other camera the one that waits when its turn comes."""
        yield camera, message
        position = self.cameras.index(camera)
        for other in (*self.cameras[position + 1 :], *self.cameras[:position]):
            waiting = other.take()
            if waiting is not None:
                yield other, waiting

    def _segment(self, images: Sequence[_Image], settings: Settings) -> None:
        """Segment and publish images of one size."""
        results = self._run_batch(images) if len(images) > 1 else None
        for index, image in enumerate(images):
            with image.camera.count_rejections():
                if results is None:
                    with self.calling_engine():
                        segmentation = self._segmenter(image.rgb)
                else:
                    segmentation = results[index]
                self._publish(image, segmentation, settings)

    def _run_batch(self, images: Sequence[_Image]) -> list[Segmentation] | None:
        """Segment images in one run; None where that fails, which is logged once and not tried again."""
        try:
            with self.calling_engine():
                return self._segmenter.batch([image.rgb for image in images])
        except Exception as error:
            # Whatever it was: alone, each image succeeds or is rejected with its own reason.
            self._batch_failed = True
            self.notes = (
                f"Images of several cameras run one after the other: {len(images)} at once failed "
                f"({printable(error, 300)}).",
            )
            self._logger.warning(self.notes[0])
            return None

    def _publish(self, image: _Image, segmentation: Segmentation, settings: Settings) -> None:
        camera = image.camera
        mask = segmentation.mask(settings.confidence_threshold)
        camera.processed += 1
        frame = SegmentedFrame(
            header=image.header,
            rgb=image.rgb,
            segmentation=segmentation,
            mask=mask,
            class_set=self._segmenter.class_set,
            palette=self._palette,
            settings=settings,
            camera_info=camera.newest_info,
            start_s=image.start_s,
            preprocess_ms=image.preprocess_ms,
            inferred_s=time.perf_counter(),
            processed=camera.processed,
            dropped=camera.dropped,
            rejected=camera.rejected,
        )
        if camera.keeps_last_frame:
            camera.last_frame = frame
        camera.publishers.publish(frame, image.wanted)
        camera.note_segmented(frame)
        if self.recorder is not None:
            self.recorder.offer(camera.name, frame, time.monotonic())


def _read(messages: Iterable[tuple[Camera, Any]], settings: Settings) -> list[_Image]:
    """Return the images of the messages that are due and can be read; the others are counted at their cameras."""
    images: list[_Image] = []
    for camera, message in messages:
        start_s = time.perf_counter()
        if not camera.is_due(start_s, settings.max_rate):
            continue
        with camera.count_rejections():
            wanted = camera.publishers.wanted()
            rgb = to_rgb(message)
            preprocess_ms = 1e3 * (time.perf_counter() - start_s)
            images.append(_Image(camera, wanted, message.header, rgb, start_s, preprocess_ms))
    return images
