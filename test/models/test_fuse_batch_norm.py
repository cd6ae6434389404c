"""Folded batch norms, compared with the network that has them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.models.fuse_batch_norm import fold_batch_norms


@pytest.fixture
def network() -> ERFNet:
    """A network whose norms have something to do."""
    torch.manual_seed(3)
    network = ERFNet(5).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network


def test_folded_logits_equal_the_networks(network: ERFNet) -> None:
    image = torch.rand(2, 3, 43, 64)
    with torch.inference_mode():
        torch.testing.assert_close(fold_batch_norms(network)(image), network(image), rtol=1e-3, atol=1e-3)


def test_no_batch_norm_is_left_and_the_original_keeps_its_own(network: ERFNet) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = fold_batch_norms(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
