"""Training losses compared with examples by hand and with independent formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from erfnet_ros.core.array_types import VOID
from erfnet_ros.training.config.recipe import Loss
from erfnet_ros.training.loop.losses import class_weights, cross_entropy, loss_of, soft_iou

CLASSES = 3
LOSSES = (Loss(), Loss(overlap_weight=0.5))


def sample(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return logits (2, 3, 4, 5) and labels (2, 4, 5), some of them void."""
    torch.manual_seed(seed)
    labels = torch.randint(0, CLASSES, (2, 4, 5))
    labels[0, 0, :3] = VOID
    return torch.randn(2, CLASSES, 4, 5, requires_grad=True), labels


@pytest.mark.parametrize("loss", LOSSES)
def test_void_pixels_change_neither_loss_nor_gradient(loss: Loss) -> None:
    """Else the network would learn from pixels that nobody labeled."""
    logits, labels = sample()
    weights = torch.tensor([1.0, 2.0, 3.0])
    value = loss_of(loss, logits, labels, weights=weights)
    (gradient,) = torch.autograd.grad(value, logits)
    assert not gradient[0, :, 0, :3].any()
    other = logits.detach().clone()
    other[0, :, 0, :3] = 50 * torch.randn(CLASSES, 3)
    torch.testing.assert_close(loss_of(loss, other, labels, weights=weights), value.detach())


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_of_void_alone_gives_a_finite_loss_and_no_gradient(loss: Loss) -> None:
    """A crop may lie on the car's own bonnet; NaN would end the run."""
    logits, labels = sample()
    value = loss_of(loss, logits, torch.full_like(labels, VOID), weights=torch.ones(CLASSES))
    (gradient,) = torch.autograd.grad(value, logits)
    assert math.isfinite(value.item())
    assert not gradient.any()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_sure_and_right_answer_costs_next_to_nothing_and_a_wrong_one_much(loss: Loss) -> None:
    _, labels = sample()
    right = 30 * F.one_hot(labels.clamp(max=CLASSES - 1), CLASSES).movedim(-1, 1).float()
    assert float(loss_of(loss, right, labels, weights=None)) < 1e-3
    assert float(loss_of(loss, right.roll(1, 1), labels, weights=None)) > 1


def test_cross_entropy_is_pytorchs_weighted_mean() -> None:
    logits, labels = sample()
    weights = torch.tensor([1.0, 2.0, 5.0])
    expected = F.cross_entropy(logits, labels, weights, ignore_index=VOID)
    torch.testing.assert_close(cross_entropy(logits, labels, weights), expected)


def test_soft_iou_of_a_hard_answer_is_the_mean_iou_of_the_classes_present() -> None:
    labels = torch.tensor([[[0, 0, 1, VOID]]])
    answer = torch.tensor([[[0, 1, 1, 2]]])
    logits = 200 * F.one_hot(answer, CLASSES).movedim(-1, 1).float()
    assert float(soft_iou(logits, labels)) == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_class_weights_are_the_papers() -> None:
    shares = np.array([0.0, 0.5])
    weights = class_weights(Loss(class_weight_constant=1.10), shares)
    assert weights is not None
    assert class_weights(Loss(class_weight_constant=None), shares) is None
    assert weights.tolist() == pytest.approx([1 / math.log(1.10), 1 / math.log(1.60)])
