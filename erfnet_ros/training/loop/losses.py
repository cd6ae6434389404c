"""What training minimizes: logits (N, C, H, W) against labels (N, H, W), void pixels left out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from erfnet_ros.core.array_types import VOID
from erfnet_ros.training.config.recipe import Loss


def class_weights(shares: Tensor, constant: float) -> Tensor:
    """Return 1 / ln(constant + share) per class.

    Source: ERFNet paper, section IV-A, after ENet (Paszke et al. 2016).

    Args:
        shares: (C,) share of the training split's known pixels, 0..1.
        constant: Above 1; the smaller, the heavier rare classes weigh.
    """
    return 1 / torch.log(constant + shares)


def loss_of(loss: Loss, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Return the loss that a recipe names, plus `overlap_weight` times one minus the soft IoU.

    Args:
        loss: Which.
        logits: (N, C, H, W) float32.
        labels: (N, H, W) int64 class ids, void 255; 0 is returned where all are void.
        weights: (C,) float32 class weights, or None.
    """
    if loss.name == "cross_entropy":
        value = cross_entropy(logits, labels, weights)
    elif loss.name == "ohem":
        value = ohem(logits, labels, weights, loss.hard_share)
    elif loss.name == "focal":
        value = focal(logits, labels, weights, loss.focusing)
    else:
        value = lovasz_softmax(logits, labels)
    if loss.overlap_weight:
        value = value + loss.overlap_weight * (1 - soft_iou(logits, labels))
    return value


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean cross-entropy over known pixels, each weighing as its class."""
    losses = F.cross_entropy(logits, labels, weights, ignore_index=VOID, reduction="sum")
    return losses / _pixel_weights(labels, weights).sum().clamp(min=1e-6)


def ohem(logits: Tensor, labels: Tensor, weights: Tensor | None, hard_share: float) -> Tensor:
    """Return the mean cross-entropy over the hardest known pixels of the batch (Shrivastava et al. 2016).

    Args:
        logits: See `loss_of`.
        labels: See `loss_of`.
        weights: See `loss_of`.
        hard_share: Share of the known pixels that count, those of the highest loss, at least one.
    """
    losses = F.cross_entropy(logits, labels, weights, ignore_index=VOID, reduction="none")[labels != VOID]
    if not len(losses):
        return logits.sum() * 0
    return losses.topk(max(1, int(hard_share * len(losses)))).values.mean()


def focal(logits: Tensor, labels: Tensor, weights: Tensor | None, focusing: float) -> Tensor:
    """Return the mean of (1 - p) ** focusing times the cross-entropy, p the true class's probability.

    Source: Lin et al. 2017, equation 5; normalized by the class weights as `cross_entropy` is.
    """
    log_likelihood = -F.cross_entropy(logits, labels, ignore_index=VOID, reduction="none")
    # Rounding may bring a probability a hair above one, whose power would be NaN.
    easiness = (1 - log_likelihood.exp()).clamp(min=0) ** focusing
    pixel_weights = _pixel_weights(labels, weights)
    return -(pixel_weights * easiness * log_likelihood).sum() / pixel_weights.sum().clamp(min=1e-6)


def lovasz_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the Lovász extension of one minus IoU, mean over the classes that the batch's labels hold.

    Source: Berman, Rannen Triki and Blaschko 2018, equation 9 (classes present) and algorithm 1.
    """
    known = labels != VOID
    probability = logits.softmax(1).movedim(1, -1)[known]
    truth = labels[known]
    losses = []
    for class_id in torch.unique(truth).tolist():
        foreground = (truth == class_id).to(probability.dtype)
        errors, order = (foreground - probability[:, class_id]).abs().sort(descending=True)
        losses.append(torch.dot(errors, _lovasz_gradient(foreground[order])))
    return torch.stack(losses).mean() if losses else logits.sum() * 0


def soft_iou(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the batch's soft IoU, 0..1, mean over the classes that its labels hold (Rahman and Wang 2016)."""
    known = (labels != VOID).unsqueeze(1)
    probability = logits.softmax(1) * known
    truth = torch.zeros_like(probability).scatter_(1, labels.clamp(max=logits.shape[1] - 1).unsqueeze(1), 1.0) * known
    both = (probability * truth).sum((0, 2, 3))
    pixels = truth.sum((0, 2, 3))
    either = probability.sum((0, 2, 3)) + pixels - both
    present = (pixels > 0).to(both.dtype)
    # No indexing by `present`: its length would have to travel from the GPU before anything else could go on.
    return (present * both / either.clamp(min=1.0)).sum() / present.sum().clamp(min=1.0)


def _pixel_weights(labels: Tensor, weights: Tensor | None) -> Tensor:
    """Return each pixel's class weight (N, H, W), 0 for void."""
    known = labels != VOID
    if weights is None:
        return known.float()
    return weights[torch.where(known, labels, 0)] * known


def _lovasz_gradient(foreground: Tensor) -> Tensor:
    """Return the gradient of the Jaccard loss's Lovász extension for truth (P,) sorted by falling error."""
    total = foreground.sum()
    union = total + (1 - foreground).cumsum(0)
    jaccard = 1 - (total - foreground.cumsum(0)) / union
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
