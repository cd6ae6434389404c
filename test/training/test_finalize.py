"""Correction of a finished network's logits."""

from __future__ import annotations

import pytest

pytest.importorskip("lightning", reason="needs Lightning (the extra 'training')")

import torch

from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.finalize import without_class_weights
from erfnet_ros.training.loop.losses import cross_entropy

BIAS = "decoder.output_conv.bias"


def test_the_logarithm_of_the_class_weights_is_subtracted_and_nothing_else_changes() -> None:
    network = ERFNet(3).eval()
    weights = torch.tensor([1.0, 2.0, 8.0])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    corrected = without_class_weights(network.state_dict(), weights)
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
    assert [name for name in before if not torch.equal(corrected[name], before[name])] == [BIAS]
    images = torch.rand(1, 3, 16, 24)
    weighted = network(images).softmax(1)
    network.load_state_dict(corrected)
    expected = weighted / weights.view(1, -1, 1, 1)
    torch.testing.assert_close(network(images).softmax(1), expected / expected.sum(1, keepdim=True))
    assert float(corrected[BIAS].mean()) == pytest.approx(float(before[BIAS].mean()), abs=1e-6)


def test_weighted_cross_entropy_and_the_correction_together_find_the_true_shares() -> None:
    """Pixels that look alike must be predicted with the frequencies of their classes."""
    labels = torch.tensor([0] * 90 + [1] * 10).view(1, 10, 10)
    weights = torch.tensor([1.0, 4.0])
    bias = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.LBFGS([bias], max_iter=50)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = cross_entropy(bias.view(1, 2, 1, 1).expand(1, 2, 10, 10), labels, weights)
        value.backward()
        return value

    optimizer.step(loss)
    assert float(bias.detach().softmax(0)[1]) == pytest.approx(0.4 / 1.3, abs=1e-3)
    corrected = without_class_weights({BIAS: bias.detach()}, weights)
    assert float(corrected[BIAS].softmax(0)[1]) == pytest.approx(0.1, abs=1e-3)
