"""Predictors for data sets: an engine, as on the robot, or test-time augmentation."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError, ParameterError
from erfnet_ros.core.image_size import check_input_size
from erfnet_ros.inference.device import DTYPES, pick_device, pick_floats
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.models.erfnet import STRIDE
from erfnet_ros.models.pipeline import Pipeline, network_size, resize, upsample

SCALES = (0.75, 1.0, 1.25)
"""Scales of the network's input that are averaged unless others are asked for."""


class Segment(Protocol):
    """A loaded network that labels images.

    Attributes:
        device: "cpu" or "cuda:N".
        precision: fp32, fp16, bf16 or int8.
        augmentation: What is averaged over each image, in words.
    """

    engine: str
    device: str
    precision: str
    augmentation: str

    def __call__(self, rgb: Pixels) -> tuple[Pixels, Pixels]:
        """Return labels (H, W) and confidence (H, W), uint8, of an (H, W, 3) uint8 RGB image."""
        ...


class EngineSegmenter:
    """The node's own `Segmenter` as a `Segment`; arguments and errors are the same."""

    augmentation = "none"

    def __init__(
        self,
        checkpoint: Checkpoint,
        engine: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        input_size: tuple[int, int] | None = None,
    ) -> None:
        self._segmenter = Segmenter(
            checkpoint, engine=engine, device=device, precision=precision, input_size=input_size
        )
        opened = self._segmenter.engine
        self.engine, self.device, self.precision = opened.name, opened.device, opened.precision

    def __call__(self, rgb: Pixels) -> tuple[Pixels, Pixels]:
        """See `Segment`."""
        result = self._segmenter(rgb)
        return result.labels, result.confidence


class AugmentedSegmenter:
    """Average the class probabilities over scales, each seen as it is and mirrored.

    Engines give labels, not probabilities: this runs the folded network itself, in PyTorch, and takes about
    2 x (sum of the squared scales) times as long. No robot runs it; it says what the weights could give.

    Args:
        device: auto, cpu, cuda or cuda:N.
        precision: auto, fp32, fp16 or bf16.
        input_size: (width, height) of the network's input at scale 1; None follows image and training.
        scales: Of the network's input, each 0.1 to 4.
    """

    engine = "pytorch"

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str = "auto",
        precision: str = "auto",
        input_size: tuple[int, int] | None = None,
        scales: tuple[float, ...] = SCALES,
    ) -> None:
        if not scales or not all(0.1 <= scale <= 4 for scale in scales):
            raise ParameterError(f"Expected scales from 0.1 to 4, got {', '.join(map(str, scales)) or 'none'}.")
        self.scales = scales
        self.augmentation = f"mirrored, scales {', '.join(f'{scale:g}' for scale in scales)}"
        self._device = pick_device(device)
        self.device = str(self._device)
        self.precision = pick_floats(precision, self._device)
        self._trained_size, self._input_size = checkpoint.input_size, input_size
        pipeline = Pipeline(checkpoint).eval().to(self._device, DTYPES[self.precision])
        pipeline.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._pipeline = pipeline

    def __call__(self, rgb: Pixels) -> tuple[Pixels, Pixels]:
        """Return labels (H, W) and confidence (H, W), uint8, of an (H, W, 3) uint8 image."""
        try:
            with torch.inference_mode():
                return self._segment(rgb)
        except torch.cuda.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise EngineError(
                f"The memory of {self.device} does not hold an image of {rgb.shape[1]}x{rgb.shape[0]} at scale "
                f"{max(self.scales):g}; take smaller scales, or free the GPU."
            ) from error

    def _segment(self, rgb: Pixels) -> tuple[Pixels, Pixels]:
        height, width = rgb.shape[:2]
        image = torch.from_numpy(np.ascontiguousarray(rgb)).to(self._device)
        pair = torch.stack([image, image.flip(1)]).to(self._pipeline.mean.dtype).permute(0, 3, 1, 2)
        total = torch.zeros((), device=self._device)
        for scale in self.scales:
            wide, high = self._scaled_size((width, height), scale)
            logits = self._pipeline.logits(resize(pair, (high, wide)))
            seen, mirrored = upsample(logits, (height, width)).softmax(1)
            total = total + seen + mirrored.flip(2)
        top, labels = (total / (2 * len(self.scales))).max(0)
        confidence = (255 * top).round().to(torch.uint8)
        return labels.to(torch.uint8).cpu().numpy(), confidence.cpu().numpy()

    def _scaled_size(self, camera: tuple[int, int], scale: float) -> tuple[int, int]:
        base = network_size(camera, self._trained_size, self._input_size)
        if scale == 1:
            return base
        width, height = (max(STRIDE, round(scale * side / STRIDE) * STRIDE) for side in base)
        check_input_size(width, height)
        return width, height
