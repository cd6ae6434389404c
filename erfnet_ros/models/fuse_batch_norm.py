"""Batch norm folding into the convolutions before: the same numbers with a third of the memory traffic."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from erfnet_ros.models.erfnet import DownsamplerBlock, ERFNet, NonBottleneck1d, UpsamplerBlock


class FoldedDownsampler(nn.Module):
    """A `DownsamplerBlock` for inference: only the norm of the convolution's channels can be folded."""

    scale: Tensor
    shift: Tensor

    def __init__(self, block: DownsamplerBlock) -> None:
        super().__init__()
        norm, channels = block.bn, block.conv.out_channels
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError("Expected a batch norm with running statistics.")
        scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
        shift = norm.bias.detach() - norm.running_mean * scale
        self.conv = copy.deepcopy(block.conv)
        with torch.no_grad():
            self.conv.weight.mul_(scale[:channels, None, None, None])
            self.conv.bias.mul_(scale[:channels]).add_(shift[:channels])  # type: ignore[union-attr]
        self.pool = block.pool
        self.register_buffer("scale", scale[channels:, None, None].clone())
        self.register_buffer("shift", shift[channels:, None, None].clone())

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.addcmul(self.shift, self.pool(x), self.scale)
        return F.relu_(torch.cat([self.conv(x), pooled], 1))


class FoldedNonBottleneck1d(nn.Module):
    """A `NonBottleneck1d` for inference: four convolutions, in place where possible."""

    def __init__(self, block: NonBottleneck1d) -> None:
        super().__init__()
        self.conv3x1_1 = copy.deepcopy(block.conv3x1_1)
        self.conv1x3_1 = fuse_conv_bn_eval(block.conv1x3_1, block.bn1)
        self.conv3x1_2 = copy.deepcopy(block.conv3x1_2)
        self.conv1x3_2 = fuse_conv_bn_eval(block.conv1x3_2, block.bn2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu_(self.conv3x1_1(x))
        y = F.relu_(self.conv1x3_1(y))
        y = F.relu_(self.conv3x1_2(y))
        return F.relu_(self.conv1x3_2(y).add_(x))


class FoldedUpsampler(nn.Module):
    """An `UpsamplerBlock` for inference."""

    def __init__(self, block: UpsamplerBlock) -> None:
        super().__init__()
        self.conv = fuse_conv_bn_eval(block.conv, block.bn, transpose=True)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.conv(x))


_FOLDED: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    DownsamplerBlock: FoldedDownsampler,
    NonBottleneck1d: FoldedNonBottleneck1d,
    UpsamplerBlock: FoldedUpsampler,
}


def fold_batch_norms(network: ERFNet) -> ERFNet:
    """Return a copy of a network in evaluation mode without batch norms; the original is left as it is.

    The copy gives the original's logits up to rounding and cannot be trained.
    """
    folded = copy.deepcopy(network).eval()
    folded.encoder.initial_block = FoldedDownsampler(folded.encoder.initial_block)  # type: ignore[assignment]
    for layers in (folded.encoder.layers, folded.decoder.layers):
        for index, block in enumerate(layers):
            layers[index] = _FOLDED[type(block)](block)
    return folded.requires_grad_(False)
