"""ERFNet, layer by layer as in the paper.

Paper: E. Romera, J. M. Alvarez, L. M. Bergasa, R. Arroyo, "ERFNet: Efficient Residual Factorized ConvNet for
Real-time Semantic Segmentation", IEEE T-ITS 19(1), 2018 (published online 2017), Table I.
Parameter names and shapes are those of the authors' released PyTorch checkpoints, so their weights load unchanged.

What differs: any input size is accepted (padded to a multiple of 8, cropped back), and the dropout rates are arguments.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 8
"""Total downsampling of the encoder, in pixels."""

_BATCH_NORM_EPS = 1e-3


class DownsamplerBlock(nn.Module):
    """Halve the resolution: a strided convolution and a max pooling, concatenated (paper, section III-B)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels - in_channels, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(2, stride=2)
        self.bn = nn.BatchNorm2d(out_channels, eps=_BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(torch.cat([self.conv(x), self.pool(x)], 1)))


class NonBottleneck1d(nn.Module):
    """The factorized residual layer: two pairs of 3x1 and 1x3 convolutions, the second dilated (paper, Fig. 2c)."""

    def __init__(self, channels: int, dropout: float, dilation: int) -> None:
        super().__init__()
        self.conv3x1_1 = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))
        self.conv1x3_1 = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1))
        self.bn1 = nn.BatchNorm2d(channels, eps=_BATCH_NORM_EPS)
        self.conv3x1_2 = nn.Conv2d(channels, channels, (3, 1), padding=(dilation, 0), dilation=(dilation, 1))
        self.conv1x3_2 = nn.Conv2d(channels, channels, (1, 3), padding=(0, dilation), dilation=(1, dilation))
        self.bn2 = nn.BatchNorm2d(channels, eps=_BATCH_NORM_EPS)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv3x1_1(x))
        y = F.relu(self.bn1(self.conv1x3_1(y)))
        y = F.relu(self.conv3x1_2(y))
        y = self.dropout(self.bn2(self.conv1x3_2(y)))
        return F.relu(y + x)


class UpsamplerBlock(nn.Module):
    """Double the resolution with a transposed convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)
        self.bn = nn.BatchNorm2d(out_channels, eps=_BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Encoder(nn.Module):
    """Layers 1 to 16 of the paper's Table I, with the prediction head of the encoder's own training stage."""

    def __init__(self, num_classes: int, dropout: float = 0.3, early_dropout: float = 0.03) -> None:
        super().__init__()
        self.initial_block = DownsamplerBlock(3, 16)
        self.layers = nn.ModuleList(
            [
                DownsamplerBlock(16, 64),
                *(NonBottleneck1d(64, early_dropout, 1) for _ in range(5)),
                DownsamplerBlock(64, 128),
                *(NonBottleneck1d(128, dropout, dilation) for _ in range(2) for dilation in (2, 4, 8, 16)),
            ]
        )
        self.output_conv = nn.Conv2d(128, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, 128, H / 8, W / 8) of an image batch (N, 3, H, W) whose sides 8 divides."""
        x = self.initial_block(x)
        for layer in self.layers:
            x = layer(x)
        return x

    def predict(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes, H / 8, W / 8) of the encoder's own head."""
        logits: Tensor = self.output_conv(self(x))
        return logits


class Decoder(nn.Module):
    """Layers 17 to 23 of the paper's Table I."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                UpsamplerBlock(128, 64),
                NonBottleneck1d(64, 0.0, 1),
                NonBottleneck1d(64, 0.0, 1),
                UpsamplerBlock(64, 16),
                NonBottleneck1d(16, 0.0, 1),
                NonBottleneck1d(16, 0.0, 1),
            ]
        )
        self.output_conv = nn.ConvTranspose2d(16, num_classes, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.output_conv(x)
        return logits


class ERFNet(nn.Module):
    """The whole network: 2.06 M parameters at 20 classes.

    Args:
        num_classes: Number of logits per pixel, at least 1. The authors' own networks have 20: the 19 classes of
            Cityscapes and void.
        dropout: Rate of the spatial dropout in the dilated layers (paper: 0.3).
        early_dropout: Rate in the five layers at a quarter of the resolution (paper: 0.03).

    Raises:
        ValueError: `num_classes` is below 1.
    """

    def __init__(self, num_classes: int, dropout: float = 0.3, early_dropout: float = 0.03) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"Expected at least 1 class, got num_classes={num_classes}.")
        self.num_classes = num_classes
        self.encoder = Encoder(num_classes, dropout, early_dropout)
        self.decoder = Decoder(num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) of images (N, 3, H, W), RGB, float in 0..1, of any size."""
        height, width = images.shape[-2:]
        logits: Tensor = self.decoder(self.encoder(pad_to_stride(images)))
        return logits[..., :height, :width]


def pad_to_stride(images: Tensor) -> Tensor:
    """Repeat the last row and column of (N, C, H, W) until 8 divides both sides; unchanged where it already does."""
    height, width = images.shape[-2:]
    bottom, right = -height % STRIDE, -width % STRIDE
    if bottom == 0 and right == 0:
        return images
    return F.pad(images, (0, right, 0, bottom), mode="replicate")


def _activations(part: str, residual: str) -> tuple[str, ...]:
    """Return the names of a part's layers, from a string with R for each residual one."""
    inner = ("conv3x1_1", "conv1x3_1", "conv3x1_2")
    names = []
    for index, kind in enumerate(residual):
        layer = f"{part}.layers.{index}"
        names += [*(f"{layer}.{name}" for name in inner if kind == "R"), layer]
    return tuple(names)


ACTIVATIONS = (
    "encoder.initial_block",
    *_activations("encoder", "-RRRRR-RRRRRRRR"),
    *_activations("decoder", "-RR-RR"),
)
"""Layers whose results are ReLUs', in the order of computation; of an inner convolution, what its ReLU makes of it."""
