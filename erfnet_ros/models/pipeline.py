"""Pipeline from a camera's pixels to labels, and the network alone from pixels to logits, as PyTorch modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from erfnet_ros.models.checkpoint import Checkpoint, build_network
from erfnet_ros.models.erfnet import STRIDE
from erfnet_ros.models.fuse_batch_norm import fold_batch_norms


def network_size(camera: tuple[int, int], trained: tuple[int, int], wanted: tuple[int, int] | None) -> tuple[int, int]:
    """Return the (width, height) that the network sees of a camera's image; all sizes are in this order.

    Where none is wanted, it has as many pixels as in training, at the camera's aspect ratio, in steps of 8.
    """
    if wanted is not None:
        return wanted
    if camera == trained:
        return trained
    shrink = (trained[0] * trained[1] / (camera[0] * camera[1])) ** 0.5
    width, height = (max(STRIDE, round(side * shrink / STRIDE) * STRIDE) for side in camera)
    return width, height


class Pipeline(nn.Module):
    """Resize, scale, network, upsample, argmax: uint8 images in, uint8 labels and confidences out.

    The network's input size is (width, height), or None for `network_size`'s choice.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, checkpoint: Checkpoint, input_size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.network = fold_batch_norms(build_network(checkpoint))
        self.trained_size = checkpoint.input_size
        self.input_size = input_size
        # One step from bytes: (x / 255 - mean) / std.
        self.register_buffer("mean", 255 * torch.tensor(checkpoint.mean)[:, None, None])
        self.register_buffer("deviation", 255 * torch.tensor(checkpoint.std)[:, None, None])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels and confidences, (N, H, W) uint8 each, of (N, H, W, 3) uint8 RGB images.

        A confidence is the softmax's largest value, 0..255 for 0..1.
        """
        height, width = images.shape[1:3]
        # TensorRT wants a uint8 input cast before anything else touches it.
        x = images.to(self.mean.dtype).permute(0, 3, 1, 2)
        wide, high = network_size((width, height), self.trained_size, self.input_size)
        logits = self.logits(resize(x, (high, wide)))
        if logits.shape[-2:] != (height, width):
            logits = upsample(logits, (height, width))
        return answers(logits)

    def logits(self, resized: Tensor) -> Tensor:
        """Return float32 logits (N, C, h, w) of images at the network's size: (N, 3, h, w) RGB, 0..255."""
        logits: Tensor = self.network((resized - self.mean) / self.deviation)
        return logits.float()


class LogitsNetwork(nn.Module):
    """The Pipeline without resizing and argmax; its layers are shared, not copied."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        self.pipeline = pipeline
        self.last = LastLayer(pipeline.network.decoder.output_conv, pipeline.mean.dtype)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the logits of each of (N, H, W, 3) uint8 RGB images as `LastLayer` does; 8 divides H and W."""
        network, mean = self.pipeline.network, self.pipeline.mean
        x = images.to(mean.dtype).permute(0, 3, 1, 2)
        x = network.encoder((x - mean) / self.pipeline.deviation)
        for layer in network.decoder.layers:
            x = layer(x)
        return [self.last(features) for features in x]


class LastLayer(nn.Module):
    """The network's last transposed convolution, which makes four pixels (2 x 2) of each, as one matrix product."""

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


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize logits (N, C, h, w) to the camera's (height, width)."""
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def answers(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return labels and confidences, (N, H, W) uint8 each, of logits (N, C, H, W)."""
    top, labels = logits.max(1)
    confidence = 255 / (logits - top.unsqueeze(1)).exp_().sum(1)
    return labels.to(torch.uint8), confidence.round_().to(torch.uint8)


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (N, 3, H, W) to (height, width); whole blocks of pixels are averaged first where it halves or more."""
    blocks = (max(1, x.shape[-2] // size[0]), max(1, x.shape[-1] // size[1]))
    if blocks != (1, 1):
        # Bilinear alone looks at 4 pixels only and turns fine texture into noise.
        x = F.avg_pool2d(x, blocks)
    if tuple(x.shape[-2:]) == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
