"""The network in PyTorch's own layers as the CPU engines run it: bytes at the network's size in, logits out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from erfnet_ros.models.pipeline import Pipeline


class LogitsNetwork(nn.Module):
    """The Pipeline without resizing and argmax.

    Args:
        pipeline: Its layers and its dtype are shared, not copied.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        self.pipeline = pipeline
        self.last = LastLayer(pipeline.network.decoder.output_conv, pipeline.mean.dtype)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return each image's logits as `LastLayer` gives them.

        Args:
            images: (N, H, W, 3) uint8 RGB; 8 divides H and W.
        """
        network, mean = self.pipeline.network, self.pipeline.mean
        x = images.to(mean.dtype).permute(0, 3, 1, 2)
        x = network.encoder((x - mean) / self.pipeline.deviation)
        for layer in network.decoder.layers:
            x = layer(x)
        return [self.last(features) for features in x]


class LastLayer(nn.Module):
    """The transposed convolution that makes four pixels (2 x 2) of each, as one matrix product.

    Args:
        layer: The network's last.
        dtype: What it computes in.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: nn.ConvTranspose2d, dtype: torch.dtype) -> None:
        super().__init__()
        self._classes = layer.out_channels
        # Row by row: each class, each of the four pixels.
        self.register_buffer("weight", layer.weight.detach().permute(1, 2, 3, 0).flatten(0, 2).to(dtype))
        self.register_buffer("bias", layer.bias.detach().repeat_interleave(4)[:, None].to(dtype))  # type: ignore[union-attr]

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (classes, 2, 2, h, w) of features (channels, h, w).

        Those of pixel (2i + a, 2j + b) are at [:, a, b, i, j]: each plane is written once, whatever the features'
        layout.
        """
        rows = torch.addmm(self.bias, self.weight, features.flatten(1))
        return rows.view(self._classes, 2, 2, *features.shape[1:])
