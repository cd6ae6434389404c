"""Training loss: weighted cross-entropy and soft IoU of logits (N, C, H, W) and labels (N, H, W)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from erfnet_ros.core.array_types import VOID
from erfnet_ros.training.config.recipe import Loss


def class_weights(loss: Loss, shares: npt.NDArray[np.float64]) -> Tensor | None:
    """Return the weights 1 / ln(constant + share) per class, (C,) float32; None where all are the same.

    `shares` (C,) are those of the training split's labeled pixels. The smaller the constant, the larger the weights of
    rare classes. Source: ERFNet paper, section IV-A, after ENet (Paszke et al. 2016).
    """
    if loss.class_weight_constant is None:
        return None
    return 1 / torch.log(loss.class_weight_constant + torch.from_numpy(shares).float())


def loss_of(loss: Loss, logits: Tensor, labels: Tensor, *, weights: Tensor | None) -> Tensor:
    """Return the cross-entropy, plus `overlap_weight` times one minus the soft IoU; 0 where all pixels are void.

    Logits are (N, C, H, W) float32, labels (N, H, W) int64 with void 255, class weights (C,) float32.
    """
    value = cross_entropy(logits, labels, weights)
    return value + loss.overlap_weight * (1 - soft_iou(logits, labels)) if loss.overlap_weight else value


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean cross-entropy over the pixels that are not void, each with its class's weight."""
    losses = F.cross_entropy(logits, labels, weights, ignore_index=VOID, reduction="sum")
    known = labels != VOID
    pixel_weights = known.float() if weights is None else weights[torch.where(known, labels, 0)] * known
    return losses / pixel_weights.sum().clamp(min=1e-6)


def distillation(logits: Tensor, probabilities: Tensor, class_ids: Tensor, weights: Tensor | None) -> Tensor:
    """Return the cross-entropy with a teacher's probabilities, each class with its weight, as `cross_entropy` has it.

    Only the classes `class_ids` (K,) are compared, of which `probabilities` (N, K, h, w) are resized to the logits'
    size. Where they sum to less than 1, the pixel counts less.
    """
    size = logits.shape[-2:]
    if probabilities.shape[-2:] != size:
        probabilities = F.interpolate(probabilities, size=size, mode="bilinear", align_corners=False)
    targets = probabilities if weights is None else probabilities * weights[class_ids].view(1, -1, 1, 1)
    return -(targets * logits[:, class_ids].log_softmax(1)).sum() / targets.sum().clamp(min=1e-6)


def soft_iou(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the batch's soft IoU, 0..1, mean over the classes that its labels hold (Rahman and Wang 2016)."""
    known = (labels != VOID).unsqueeze(1)
    probability = logits.softmax(1) * known
    ground_truth = (
        torch.zeros_like(probability).scatter_(1, labels.clamp(max=logits.shape[1] - 1).unsqueeze(1), 1.0) * known
    )
    both = (probability * ground_truth).sum((0, 2, 3))
    pixels = ground_truth.sum((0, 2, 3))
    either = probability.sum((0, 2, 3)) + pixels - both
    present = (pixels > 0).to(both.dtype)
    # No indexing by `present`, whose length would have to be waited for on a GPU.
    return (present * both / either.clamp(min=1.0)).sum() / present.sum().clamp(min=1.0)
