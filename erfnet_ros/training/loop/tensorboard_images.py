"""Pictures of a run in TensorBoard: what the network is shown, and what it predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.config.schedule import Plan
from erfnet_ros.training.data.augmentation import apply_color_jitter
from erfnet_ros.training.data.batches import Batch
from erfnet_ros.training.loop.validation import ValidationSet, frame_of, predict
from erfnet_ros.visualization.overlay import color_mask

_VIEWS = 6
_FRAMES = 4


class ImageLogger:
    """Writes images.

    Args:
        writer: A `torch.utils.tensorboard.SummaryWriter`.
        class_set: Colors of the labels.
    """

    def __init__(self, writer: Any, class_set: ClassSet) -> None:
        self._writer, self._palette = writer, class_set.palette()

    def crops(self, step: int, batch: Batch) -> None:
        """Show the first crops of a batch as the network sees them, their labels below."""
        self._writer.add_image("crops", self.sheet(batch), step, dataformats="HWC")

    def predictions(
        self, step: int, network: ERFNet, plan: Plan, validation_set: ValidationSet, device: torch.device
    ) -> None:
        """Show some validation frames; below them the ground truth, and below that the prediction."""
        numbers = validation_set.numbers
        for number in numbers[:: max(1, len(numbers) // _FRAMES)][:_FRAMES]:
            image, truth = frame_of(validation_set.frames, number)
            labels = predict(network, plan, image, device)
            rows = [image.cpu().numpy(), *(self._colored(ids, truth.shape) for ids in (truth, labels))]
            self._writer.add_image(f"frame_{number}", np.concatenate(rows), step, dataformats="HWC")

    def sheet(self, batch: Batch) -> Pixels:
        """Return the first crops side by side, (2 H, n W, 3) uint8, their labels below."""
        images, labels, color_jitter = (part[:_VIEWS] for part in batch)
        seen = (apply_color_jitter(images, color_jitter) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        columns = [np.concatenate([rgb, self._colored(ids, ids.shape)]) for rgb, ids in zip(seen, labels, strict=True)]
        sheet: Pixels = np.concatenate(columns, 1)
        return sheet

    def _colored(self, labels: Tensor, shape: torch.Size) -> Pixels:
        """Return labels in colors, each pixel repeated to fill (H, W) where they are smaller."""
        rows = torch.arange(shape[0]) * labels.shape[0] // shape[0]
        columns = torch.arange(shape[1]) * labels.shape[1] // shape[1]
        return color_mask(labels.cpu()[rows][:, columns].numpy(), self._palette)
