"""Test-time augmentation, in place of the engine that a robot runs."""

from __future__ import annotations

import numpy as np
import torch

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError, ParameterError
from erfnet_ros.core.image_size import check_input_size
from erfnet_ros.inference.device import DTYPES, pick_device, pick_floats
from erfnet_ros.inference.engine import EngineRequest
from erfnet_ros.inference.pytorch.cuda import free_cached, is_out_of_memory
from erfnet_ros.inference.segmenter import Segmentation, StageTimes
from erfnet_ros.models.erfnet import STRIDE
from erfnet_ros.models.pipeline import Pipeline, network_size, resize, upsample


class AugmentedSegmenter:
    """Average the class probabilities over scales, each seen as it is and mirrored.

    Engines give labels, not probabilities: this runs the folded network itself, in PyTorch, and takes about
    2 x (sum of the squared scales) times as long. No robot runs it; it says what the weights could give.

    Args:
        request: Precision auto, fp32, fp16 or bf16; the input size is that at scale 1.
        scales: Of the network's input, each 0.1 to 4.
    """

    def __init__(self, request: EngineRequest, scales: tuple[float, ...]) -> None:
        if not scales or not all(0.1 <= scale <= 4 for scale in scales):
            raise ParameterError(f"Expected scales from 0.1 to 4, got {', '.join(map(str, scales)) or 'none'}.")
        self.scales = scales
        self._device = pick_device(request.device)
        self.device = str(self._device)
        self.precision = pick_floats(request.precision, self._device)
        self._trained_size, self._input_size = request.checkpoint.input_size, request.input_size
        pipeline = Pipeline(request.checkpoint).eval().to(self._device, DTYPES[self.precision])
        pipeline.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._pipeline = pipeline

    def __call__(self, rgb: Pixels) -> Segmentation:
        """Segment an (H, W, 3) uint8 image."""
        try:
            with torch.inference_mode():
                return self._segment(rgb)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            free_cached()
            raise EngineError(
                f"The memory of {self.device} does not hold an image of {rgb.shape[1]}x{rgb.shape[0]} at scale "
                f"{max(self.scales):g}; take smaller scales, or free the GPU."
            ) from error

    def _segment(self, rgb: Pixels) -> Segmentation:
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
        return Segmentation(labels.to(torch.uint8).cpu().numpy(), confidence.cpu().numpy(), StageTimes(0.0, 0.0))

    def _scaled_size(self, camera: tuple[int, int], scale: float) -> tuple[int, int]:
        base = network_size(camera, self._trained_size, self._input_size)
        if scale == 1:
            return base
        width, height = (max(STRIDE, round(scale * side / STRIDE) * STRIDE) for side in base)
        check_input_size(width, height)
        return width, height
