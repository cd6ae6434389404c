"""Segmenter: a checkpoint loaded into an engine, from an RGB image to labels and confidence."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import CheckpointError, EngineError, ImageError
from erfnet_ros.core.image import check_image
from erfnet_ros.core.image_size import check_input_size
from erfnet_ros.inference.engine import Engine, EngineRequest
from erfnet_ros.inference.factory import open_engine
from erfnet_ros.inference.pytorch.cpu import on_single_thread
from erfnet_ros.models import checkpoint as checkpoints
from erfnet_ros.models.checkpoint import Checkpoint

log = logging.getLogger(__name__)

_REMEDY = "check the device and its driver, or set engine to pytorch."


@dataclass(frozen=True)
class StageTimes:
    """Time that one image took, milliseconds."""

    preprocess_ms: float
    inference_ms: float


@dataclass(frozen=True)
class Segmentation:
    """Labels and confidence of one image.

    Attributes:
        labels: (H, W) uint8 class ids.
        confidence: (H, W) uint8; 0..255 is the winning class's probability 0..1.
    """

    labels: Pixels
    confidence: Pixels
    times: StageTimes

    def mask(self, threshold: float) -> Pixels:
        """Return the labels with every pixel of a confidence below `threshold` (0..1) set to void (255).

        A threshold of 0 returns the labels themselves.
        """
        lowest = int(np.ceil(threshold * 255))
        if lowest <= 0:
            return self.labels
        import cv2

        # A maximum with a 0/255 image takes a fraction of the time of indexing by a mask.
        unsure = cv2.inRange(self.confidence, 0, lowest - 1)
        return cv2.max(self.labels, unsure).astype(np.uint8, copy=False)


class Segmenter:
    """Segment images with one loaded network.

    Args:
        checkpoint: A checkpoint, the path of one, or None for the shipped CamVid weights.
        engine: One of `factory.ENGINES`; auto takes the fastest that is installed.
        device: See `EngineRequest`, as for all that follow.
        input_size: (width, height) that the network sees, 8..4096 each.

    Raises:
        CheckpointError: The file is missing or not a checkpoint of this package.
        EngineError: Engine, device or precision are unknown or not available here.
        ParameterError: `input_size` is out of range.
    """

    def __init__(
        self,
        checkpoint: str | Path | Checkpoint | None = None,
        *,
        engine: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        input_size: tuple[int, int] | None = None,
        live: bool = False,
    ) -> None:
        if input_size is not None:
            check_input_size(*input_size)
        # PyTorch computes from here on: loading converts the weights.
        self.checkpoint = (
            checkpoint if isinstance(checkpoint, Checkpoint) else on_single_thread(checkpoints.load, checkpoint)
        )
        self.class_set = self.checkpoint.class_set
        self.engine: Engine = open_engine(EngineRequest(self.checkpoint, device, precision, input_size, live), engine)
        self._logged: tuple[str, ...] = ()
        self._log_notes(logging.INFO)
        # The first image of a size allocates memory and loads kernels: here rather than on the robot's first frame.
        width, height = self.checkpoint.input_size
        for _ in range(2):
            _, confidence = self.engine(np.full((1, height, width, 3), 128, np.uint8))
        if not confidence.all():
            self.engine.close()
            raise CheckpointError(
                f"Expected weights that give finite class scores, got NaN or infinity for a gray image, computed by "
                f"{self.engine.name} in {self.engine.precision}; train or get the checkpoint again."
            )

    def __call__(self, image: Pixels) -> Segmentation:
        """Segment one (H, W, 3) uint8 RGB image, of any strides; raises what `batch` does."""
        return self.batch([image])[0]

    def batch(self, images: Sequence[Pixels]) -> list[Segmentation]:
        """Segment (H, W, 3) uint8 RGB images of one size in one run of the network; each has the whole run's times.

        Raises:
            ImageError: Shape, type or size are not usable, or differ among the images.
            EngineError: The device ran out of memory, or the engine's answer cannot be one.
        """
        start = time.perf_counter()
        for image in images:
            check_image(image)
        if len({image.shape for image in images}) != 1:
            sizes = sorted({f"{image.shape[1]}x{image.shape[0]}" for image in images})
            raise ImageError(f"Expected images of one size in a batch, got {', '.join(sizes) or 'none'}.")
        rgb = images[0][None] if len(images) == 1 else np.stack(images)
        ready = time.perf_counter()
        labels, confidences = self.engine(rgb)
        self._check_answer(labels, confidences, rgb.shape[:3])
        done = time.perf_counter()
        if self.engine.notes != self._logged:
            # A note that comes while frames run is about a failure.
            self._log_notes(logging.WARNING)
        times = StageTimes(1e3 * (ready - start), 1e3 * (done - ready))
        return [Segmentation(*answer, times) for answer in zip(labels, confidences, strict=True)]

    def close(self) -> None:
        """Free the network's memory; the segmenter must not be called again."""
        self.engine.close()

    def _check_answer(self, labels: Pixels, confidences: Pixels, shape: tuple[int, ...]) -> None:
        """Refuse what a broken device or driver answers: a robot would drive by it."""
        for answer in (labels, confidences):
            if answer.shape != shape or answer.dtype != np.uint8:
                raise EngineError(
                    f"Expected {shape} uint8 of engine {self.engine.name}, got {answer.shape} {answer.dtype}; {_REMEDY}"
                )
        # The winner of at most 255 classes has a probability of 1/255 or more, unless a score is NaN.
        if labels.max() >= len(self.class_set.names) or not confidences.min():
            raise EngineError(
                f"Expected labels below {len(self.class_set)} and confidences above 0 of engine {self.engine.name}, "
                f"got {labels.max()} and {confidences.min()}; {_REMEDY}"
            )

    def _log_notes(self, level: int) -> None:
        """Log the engine's new notes."""
        for note in self.engine.notes:
            if note not in self._logged:
                log.log(level, note)
        self._logged = self.engine.notes
