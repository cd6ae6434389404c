"""Batch norm folding into the convolutions before: the same numbers with a third of the memory traffic."""

from __future__ import annotations

import copy

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
        channels = block.conv.out_channels
        mean, variance = _statistics(block.bn)
        scale = block.bn.weight.detach() / torch.sqrt(variance + block.bn.eps)
        shift = block.bn.bias.detach() - mean * scale
        self.conv = copy.deepcopy(block.conv)
        bias = self.conv.bias
        if bias is None:
            raise ValueError("a downsampler's convolution has a bias")
        with torch.no_grad():
            self.conv.weight.mul_(scale[:channels, None, None, None])
            bias.mul_(scale[:channels]).add_(shift[:channels])
        self.pool = block.pool
        self.register_buffer("scale", scale[channels:, None, None].clone())
        self.register_buffer("shift", shift[channels:, None, None].clone())

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.addcmul(self.shift, self.pool(x), self.scale)
        return F.relu_(torch.cat([self.conv(x), pooled], 1))


class FoldedNonBottleneck1d(nn.Module):
    """A `NonBottleneck1d` for inference: four convolutions, in place where nobody else reads."""

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


def fold_batch_norms(network: ERFNet) -> ERFNet:
    """Return a copy of a network in evaluation mode without batch norms; the original is left as it is.

    The copy gives the original's logits up to rounding and cannot be trained.
    """
    folded = copy.deepcopy(network).eval()
    folded.encoder.initial_block = FoldedDownsampler(folded.encoder.initial_block)  # type: ignore[assignment]
    for layers in (folded.encoder.layers, folded.decoder.layers):
        for index, block in enumerate(layers):
            layers[index] = _folded(block)
    return folded.requires_grad_(False)


def _folded(block: nn.Module) -> nn.Module:
    if isinstance(block, DownsamplerBlock):
        return FoldedDownsampler(block)
    if isinstance(block, NonBottleneck1d):
        return FoldedNonBottleneck1d(block)
    if isinstance(block, UpsamplerBlock):
        return FoldedUpsampler(block)
    raise TypeError(f"Expected a block of ERFNet, got {type(block).__name__}.")


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("Expected a batch norm with running statistics.")
    return mean, variance
