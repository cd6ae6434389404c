"""Losses against small examples by hand and against independent formulas."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from erfnet_ros.core.array_types import VOID
from erfnet_ros.training.config.recipe import Loss
from erfnet_ros.training.loop.losses import class_weights, cross_entropy, focal, loss_of, lovasz_softmax, ohem, soft_iou

CLASSES = 3
ALL = ("cross_entropy", "ohem", "lovasz", "focal")


def sample(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return logits (2, 3, 4, 5) and labels (2, 4, 5), some of them void."""
    torch.manual_seed(seed)
    labels = torch.randint(0, CLASSES, (2, 4, 5))
    labels[0, 0, :3] = VOID
    return torch.randn(2, CLASSES, 4, 5, requires_grad=True), labels


def losses_of(names: tuple[str, ...] = ALL) -> list[Loss]:
    return [Loss(name=name, overlap_weight=0.5) for name in names]  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", losses_of())
def test_void_pixels_change_neither_loss_nor_gradient(loss: Loss) -> None:
    """Else the network would learn from pixels that nobody labeled."""
    logits, labels = sample()
    weights = torch.tensor([1.0, 2.0, 3.0])
    value = loss_of(loss, logits, labels, weights)
    (gradient,) = torch.autograd.grad(value, logits)
    assert not gradient[0, :, 0, :3].any()
    other = logits.detach().clone()
    other[0, :, 0, :3] = 50 * torch.randn(CLASSES, 3)
    torch.testing.assert_close(loss_of(loss, other, labels, weights), value.detach())


@pytest.mark.parametrize("loss", losses_of())
def test_a_batch_of_void_alone_gives_a_finite_loss_and_no_gradient(loss: Loss) -> None:
    """A crop may lie on the car's own bonnet; NaN would end the run."""
    logits, labels = sample()
    value = loss_of(loss, logits, torch.full_like(labels, VOID), torch.ones(CLASSES))
    (gradient,) = torch.autograd.grad(value, logits)
    assert math.isfinite(value.item())
    assert not gradient.any()


@pytest.mark.parametrize("loss", losses_of())
def test_a_sure_and_right_answer_costs_next_to_nothing_and_a_wrong_one_much(loss: Loss) -> None:
    _, labels = sample()
    right = 30 * F.one_hot(labels.clamp(max=CLASSES - 1), CLASSES).movedim(-1, 1).float()
    assert float(loss_of(loss, right, labels, None)) < 1e-3
    assert float(loss_of(loss, right.roll(1, 1), labels, None)) > 1


def test_cross_entropy_is_pytorchs_weighted_mean() -> None:
    logits, labels = sample()
    weights = torch.tensor([1.0, 2.0, 5.0])
    expected = F.cross_entropy(logits, labels, weights, ignore_index=VOID)
    torch.testing.assert_close(cross_entropy(logits, labels, weights), expected)
    torch.testing.assert_close(focal(logits, labels, weights, 0.0), expected)


def test_focal_loss_weighs_a_pixel_by_what_is_missing_to_certainty() -> None:
    """Lin et al. 2017, equation 4, for a pixel of p = 3/4 and one of p = 1/4."""
    logits = torch.tensor([[3.0, 1.0], [1.0, 3.0]]).log().T.reshape(1, 2, 1, 2)
    labels = torch.tensor([[[0, 0]]])
    expected = (0.25**2 * -math.log(0.75) + 0.75**2 * -math.log(0.25)) / 2
    assert float(focal(logits, labels, None, 2.0)) == pytest.approx(expected, rel=1e-5)


def test_ohem_is_the_mean_over_the_hardest_pixels() -> None:
    logits, labels = sample()
    each = F.cross_entropy(logits, labels, ignore_index=VOID, reduction="none")[labels != VOID]
    hardest = sorted(each.tolist())[-int(0.25 * len(each)) :]
    assert ohem(logits, labels, None, 0.25).item() == pytest.approx(sum(hardest) / len(hardest), rel=1e-5)


def test_lovasz_equals_one_minus_iou_for_every_hard_answer() -> None:
    """The extension meets the Jaccard loss at the corners (Berman et al. 2018, section 2.2)."""
    labels = torch.tensor([[[0, 0, 1, 1]]])
    for answer in itertools.product((0, 1), repeat=4):
        logits = 200 * F.one_hot(torch.tensor([[answer]]), 2).movedim(-1, 1).float()
        wrong = []
        for class_id in (0, 1):
            truth, answered = labels[0, 0] == class_id, torch.tensor(answer) == class_id
            wrong.append(1 - int((truth & answered).sum()) / int((truth | answered).sum()))
        assert float(lovasz_softmax(logits, labels)) == pytest.approx(sum(wrong) / 2, abs=1e-6)


def test_lovasz_of_soft_answers_is_the_sum_over_level_sets() -> None:
    """The definition for one class: errors in falling order, each times what its pixel adds to the Jaccard loss."""
    probability = torch.tensor([0.9, 0.6, 0.2, 0.7])
    truth = torch.tensor([1, 1, 1, 0])
    logits = torch.stack([(1 - probability).log(), probability.log()])[None, :, None]

    def jaccard(missed: set[int], foreground: int) -> float:
        total = {n for n in range(4) if truth[n] == foreground}
        return len(missed) / len(total | missed)

    expected = 0.0
    for foreground in (0, 1):
        scores = probability if foreground else 1 - probability
        errors = [abs(float(truth[n] == foreground) - float(scores[n])) for n in range(4)]
        order = sorted(range(4), key=lambda n: -errors[n])
        for n, pixel in enumerate(order):
            added = jaccard(set(order[: n + 1]), foreground) - jaccard(set(order[:n]), foreground)
            expected += errors[pixel] * added / 2
    assert float(lovasz_softmax(logits, truth[None, None])) == pytest.approx(expected, rel=1e-5)


def test_soft_iou_of_a_hard_answer_is_the_mean_iou_of_the_classes_present() -> None:
    labels = torch.tensor([[[0, 0, 1, VOID]]])
    answer = torch.tensor([[[0, 1, 1, 2]]])
    logits = 200 * F.one_hot(answer, CLASSES).movedim(-1, 1).float()
    assert float(soft_iou(logits, labels)) == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_class_weights_are_the_papers() -> None:
    weights = class_weights(torch.tensor([0.0, 0.5]), 1.10)
    assert weights.tolist() == pytest.approx([1 / math.log(1.10), 1 / math.log(1.60)])
