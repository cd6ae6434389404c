"""Images of a run in TensorBoard: crops that the network is trained on, and its predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.config.recipe import Phase
from erfnet_ros.training.config.schedule import Plan
from erfnet_ros.training.data.batches import Batch
from erfnet_ros.training.data.pixel_augmentation import apply_color_jitter
from erfnet_ros.training.loop.validation import ValidationSet, predict
from erfnet_ros.visualization.overlay import color_mask

_VIEWS = 6
_FRAMES = 4


class ImageLogger:
    """Writes images with a `torch.utils.tensorboard.SummaryWriter`."""

    def __init__(self, writer: Any, class_set: ClassSet) -> None:
        self._writer, self._palette = writer, class_set.palette()

    def crops(self, step: int, batch: Batch, phase: Phase) -> None:
        """Show the first crops of a batch as the network sees them, their labels below."""
        self._writer.add_image("crops", self.sheet(batch, phase), step, dataformats="HWC")

    def predictions(self, step: int, network: ERFNet, *, plan: Plan, validation_set: ValidationSet) -> None:
        """Show some validation frames; below them the ground truth, and below that the prediction."""
        numbers = validation_set.numbers
        for number in numbers[:: max(1, len(numbers) // _FRAMES)][:_FRAMES]:
            image, ground_truth = validation_set.frames.pixels(number)
            predicted = predict(network, plan, image)
            rows = [image, *(self._colored(ids, ground_truth.shape) for ids in (ground_truth, predicted))]
            self._writer.add_image(f"frame_{number}", np.concatenate(rows), step, dataformats="HWC")

    def sheet(self, batch: Batch, phase: Phase) -> Pixels:
        """Return the first crops side by side, (2 H, n W, 3) uint8, their labels below."""
        images, labels, color_jitter = (part[:_VIEWS] for part in batch)
        seen = (apply_color_jitter(images, color_jitter, phase) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        pairs = zip(seen, labels.cpu().numpy(), strict=True)
        sheet: Pixels = np.concatenate([np.concatenate([rgb, self._colored(ids, ids.shape)]) for rgb, ids in pairs], 1)
        return sheet

    def _colored(self, labels: Pixels, shape: tuple[int, ...]) -> Pixels:
        """Return labels in colors, each pixel repeated to fill (H, W) where they are smaller."""
        rows, columns = (np.arange(size) * small // size for size, small in zip(shape, labels.shape, strict=True))
        return color_mask(labels[np.ix_(rows, columns)], self._palette)
