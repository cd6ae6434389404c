"""Fewer GPU kernels for a frame: fused cuDNN convolutions, and Triton kernels around the network.

A residual layer is 4 kernels in place of 13. Whatever is fused is compared with PyTorch's plain layers before its
first use. Written without a GPU: the kernels ran in Triton's interpreter, cuDNN's operators by their definition.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.inference.parity_check import check_images
from erfnet_ros.models.erfnet import STRIDE, ERFNet, pad_to_stride
from erfnet_ros.models.fuse_batch_norm import FoldedDownsampler, FoldedNonBottleneck1d
from erfnet_ros.models.pipeline import Pipeline, network_size

Work = Callable[[Tensor, Tensor, Tensor], None]
"""Reads (N, H, W, 3) uint8 images, writes labels and confidences, (N, H, W) uint8 each; all on one device."""

_MIN_AGREEMENT = 0.99
"""Share of the pixels on which fused work must choose the class of the plain layers in the same precision."""

_ENLARGED = 8
"""Times that `check_images` are enlarged, so that an image is reduced by blocks and bilinearly."""


class FusedNetwork(nn.Module):
    """A network with folded batch norms; convolution, bias, residual sum and ReLU are one cuDNN call each."""

    def __init__(self, network: ERFNet) -> None:
        super().__init__()
        self.encoder, self.decoder = network.encoder, network.decoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits as `ERFNet` does."""
        height, width = images.shape[-2:]
        x = pad_to_stride(images)
        for layer in (self.encoder.initial_block, *self.encoder.layers, *self.decoder.layers):
            if isinstance(layer, FoldedNonBottleneck1d):
                x = _residual(layer, x)
            elif isinstance(layer, FoldedDownsampler):
                x = _downsampled(layer, x)
            else:
                x = layer(x)
        logits: Tensor = self.decoder.output_conv(x)
        return logits[..., :height, :width]


def _residual(layer: FoldedNonBottleneck1d, x: Tensor) -> Tensor:
    y = _convolved(layer.conv3x1_2, _convolved(layer.conv1x3_1, _convolved(layer.conv3x1_1, x)))
    last = layer.conv1x3_2
    return torch.cudnn_convolution_add_relu(y, last.weight, x, 1.0, last.bias, *_geometry(last))


def _downsampled(layer: FoldedDownsampler, x: Tensor) -> Tensor:
    pooled = F.relu_(torch.addcmul(layer.shift, layer.pool(x), layer.scale))
    return torch.cat([_convolved(layer.conv, x), pooled], 1)


def _convolved(layer: nn.Conv2d, x: Tensor) -> Tensor:
    return torch.cudnn_convolution_relu(x, layer.weight, layer.bias, *_geometry(layer))


def _geometry(layer: nn.Conv2d) -> tuple[Any, ...]:
    return layer.stride, layer.padding, layer.dilation, 1


class TritonWork:
    """The steps of `Pipeline` with a kernel before and one after the network.

    Args:
        pipeline: On the GPU.
        kernels: What has the functions of the module `triton_kernels`.
    """

    def __init__(self, pipeline: Pipeline, kernels: Any) -> None:
        self._kernels, self._pipeline = kernels, pipeline
        self._scaling = pipeline.mean.flatten().float(), pipeline.deviation.flatten().float()

    def __call__(self, images: Tensor, labels: Tensor, confidences: Tensor) -> None:
        """See `Work`."""
        pipeline = self._pipeline
        camera = (images.shape[2], images.shape[1])
        size = network_size(camera, pipeline.trained_size, pipeline.input_size)
        padded = (size[0] + -size[0] % STRIDE, size[1] + -size[1] % STRIDE)
        seen: Tensor = self._kernels.resize_and_scale(
            images, *self._scaling, size=size, padded=padded, dtype=pipeline.mean.dtype
        )
        logits = pipeline.network(seen)[..., : size[1], : size[0]]
        self._kernels.write_labels(logits, labels, confidences)


def plain_work(pipeline: Pipeline, images: Tensor, labels: Tensor, confidences: Tensor) -> None:
    """Do a Pipeline's `Work` with PyTorch's own operators."""
    found = pipeline(images)
    labels.copy_(found[0])
    confidences.copy_(found[1])


def fuse(pipeline: Pipeline, images: Pixels | None = None) -> tuple[Work, tuple[str, ...]]:
    """Return the work of a Pipeline on a GPU, fused as far as that agrees with the plain layers, and notes on the rest.

    Args:
        pipeline: On the GPU; its network is replaced.
        images: (N, H, W, 3) uint8 RGB to compare the labels of, or None for `check_images`.
    """
    if images is None:
        images = check_images()[:1].repeat(_ENLARGED, 1).repeat(_ENLARGED, 2)
    given = torch.from_numpy(images).to(pipeline.mean.device)
    work: Work = partial(plain_work, pipeline)
    expected = _labels(work, given)
    notes: tuple[str, ...] = ()
    plain = pipeline.network
    pipeline.network = FusedNetwork(plain)  # type: ignore[assignment]
    if reason := _disagreement(lambda: work, given, expected):
        pipeline.network = plain
        notes += (f"The network runs in cuDNN's plain convolutions, slower than it could: {reason}.",)
    if reason := _disagreement(lambda: _triton_work(pipeline), given, expected):
        return work, (
            *notes,
            "PyTorch's own operators resize images and make labels, slower than Triton's kernels, which failed: "
            f"{reason}. They need the package triton (pip install triton), a C compiler and Python's headers (apt: gcc "
            "python3-dev), and a driver for CUDA that is as new as Triton's.",
        )
    return _triton_work(pipeline), notes


def _triton_work(pipeline: Pipeline) -> TritonWork:
    return TritonWork(pipeline, import_module("erfnet_ros.inference.pytorch.triton_kernels"))


def _labels(work: Work, images: Tensor) -> Tensor:
    with torch.inference_mode():
        answer = torch.empty(2, *images.shape[:3], dtype=torch.uint8, device=images.device)
        work(images, answer[0], answer[1])
    return answer[0]


def _disagreement(make: Callable[[], Work], images: Tensor, expected: Tensor) -> str:
    """Return why some work cannot be used, or nothing where it chooses the expected labels."""
    try:
        same = float((_labels(make(), images) == expected).float().mean())
    except Exception as error:  # what Triton and cuDNN raise has no base of its own
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return (
        ""
        if same >= _MIN_AGREEMENT
        else f"they choose the plain layers' class on {100 * same:.2f} % of the pixels only"
    )
