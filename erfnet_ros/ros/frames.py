"""The way of a frame through the node: taken or dropped, segmented, published, counted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger

from erfnet_ros.errors import ErfnetError
from erfnet_ros.images import contiguous_rgb
from erfnet_ros.message_images import compressed_to_array
from erfnet_ros.ros.camera_input import CameraInput
from erfnet_ros.ros.image_messages import to_array
from erfnet_ros.ros.outputs import FrameReport, Outputs
from erfnet_ros.segmenter import Segmenter

_COMPLAINT_PERIOD_S = 5.0
"""How often the same bad input is logged; the diagnostics show it for twice as long."""


@dataclass(frozen=True)
class Settings:
    """What may change while frames are running; replaced as a whole."""

    confidence_threshold: float
    overlay_alpha: float
    max_rate: float


class Frames:
    """Segments image messages, one at a time; a bad one is counted and reported, and the next is served.

    Args:
        segmenter: What labels the images.
        outputs: Where the results go.
        camera: Where the images come from.
        logger: The node's.

    Attributes:
        processed: Frames segmented and published since `begin`.
        rejected: Frames of bad input since `begin`.
    """

    def __init__(self, segmenter: Segmenter, outputs: Outputs, camera: CameraInput, logger: RcutilsLogger) -> None:
        self._segmenter = segmenter
        self._outputs = outputs
        self._camera = camera
        self._logger = logger
        self._complaint, self._complaint_s = "", float("-inf")
        self.begin()

    def begin(self) -> None:
        """Count from zero."""
        self.processed, self.rejected, self._throttled = 0, 0, 0
        self._camera.dropped = 0
        self._next_frame_s = 0.0

    @property
    def dropped(self) -> int:
        """Frames never taken since `begin`: a newer one came first, or `max_rate` forbade it."""
        return self._camera.dropped + self._throttled

    @property
    def complaint(self) -> str | None:
        """What was wrong with a frame lately, or None."""
        return self._complaint if time.monotonic() - self._complaint_s < 2 * _COMPLAINT_PERIOD_S else None

    def take(self, message: Any, settings: Settings) -> None:
        """Segment a sensor_msgs Image or CompressedImage and publish what somebody reads."""
        start = time.perf_counter()
        if not self._due(start, settings.max_rate):
            self._throttled += 1
            return
        try:
            self._process(message, start, settings)
        except ErfnetError as error:
            self._reject(str(error))
        except Exception as error:
            # Whatever one frame does, the next one is served; an unexpected error is shown with its type.
            self._reject(f"Frame dropped by an internal error, {type(error).__name__}: {error}; please report it.")

    def _process(self, message: Any, start: float, settings: Settings) -> None:
        wanted = self._outputs.wanted()
        image = compressed_to_array(message) if hasattr(message, "format") else to_array(message)
        rgb = contiguous_rgb(image)
        preprocess_ms = 1e3 * (time.perf_counter() - start)
        segmentation = self._segmenter(rgb)
        mask = segmentation.mask(settings.confidence_threshold)
        self.processed += 1
        report = FrameReport(start, preprocess_ms, self.processed, self.dropped, self.rejected)
        info = self._camera.newest_info
        self._outputs.publish(wanted, message.header, rgb, segmentation, mask, settings.overlay_alpha, info, report)

    def _due(self, now_s: float, max_rate: float) -> bool:
        if max_rate <= 0:
            return True
        if now_s < self._next_frame_s:
            return False
        # Counted on from the planned time, so that the mean rate is kept although frames do not come exactly then.
        self._next_frame_s = max(self._next_frame_s + 1 / max_rate, now_s)
        return True

    def _reject(self, reason: str) -> None:
        self.rejected += 1
        now = time.monotonic()
        if reason != self._complaint or now - self._complaint_s >= _COMPLAINT_PERIOD_S:
            self._logger.error(f"Frame rejected ({self.rejected} so far): {reason}")
            self._complaint_s = now
        self._complaint = reason
