"""ERFNet for x86 processors: the folded network's layers as fused oneDNN calls, in fp32, bf16 or int8."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from erfnet_ros.inference.pytorch.onednn_layers import (
    ByteConvolution,
    ByteDeconvolution,
    FloatConvolution,
    FloatDeconvolution,
    halved,
)
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.models.fuse_batch_norm import FoldedDownsampler, FoldedNonBottleneck1d, FoldedUpsampler
from erfnet_ros.models.logits_network import LastLayer
from erfnet_ros.models.pipeline import Pipeline
from erfnet_ros.models.quantization import LEVELS

Step = Callable[[Tensor], Tensor]

_FIRST_BYTE_LAYER = "encoder.layers.1"
"""What comes before it, 1 % of the work, is in floats: rounding shows most there."""

_LAST_BYTE_LAYER = "decoder.layers.3"
"""What follows has 16 channels: cheap in floats, and what the labels are read off."""


class OneDnnNetwork:
    """Bytes in, logits out.

    Args:
        pipeline: The Pipeline in fp32 on the CPU.
        dtype: torch.float32 or torch.bfloat16, of all that is not in bytes.
        ranges: Largest value of each activation (`quantization.activation_ranges`) for a network in int8, or None.
    """

    def __init__(self, pipeline: Pipeline, dtype: torch.dtype, ranges: Mapping[str, float] | None) -> None:
        network, mean, deviation = pipeline.network, pipeline.mean, pipeline.deviation
        scales = None if ranges is None else {name: ranges[name] / LEVELS for name in ranges}
        first = network.encoder.initial_block
        self._steps: list[Step] = [_first_step(first, mean, deviation, dtype)]
        before, in_bytes = "encoder.initial_block", False
        for name, layer in _layers(network):
            if scales is not None and name == _FIRST_BYTE_LAYER:
                self._steps.append(partial(_as_bytes, scales[before]))
                in_bytes = True
            if in_bytes and scales is not None:
                self._steps.append(_byte_step(layer, name, before, dtype, scales))
            else:
                self._steps.append(_float_step(layer, dtype))
            in_bytes = in_bytes and name != _LAST_BYTE_LAYER
            before = name
        self._last = LastLayer(network.decoder.output_conv, dtype)

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Return each image's logits as `LastLayer` gives them.

        Args:
            images: (N, H, W, 3) uint8 RGB; 8 divides H and W.
        """
        x = images
        for step in self._steps:
            x = step(x)
        return [self._last(features) for features in x]


def _layers(network: ERFNet) -> list[tuple[str, nn.Module]]:
    """Return the layers after the first, each with its name."""
    return [
        (f"{part}.layers.{index}", layer)
        for part, layers in (("encoder", network.encoder.layers), ("decoder", network.decoder.layers))
        for index, layer in enumerate(layers)
    ]


def _first_step(block: nn.Module, mean: Tensor, deviation: Tensor, dtype: torch.dtype) -> Step:
    """Return the first downsampler, from bytes; of its pooled half, scaling by mean and deviation is part."""
    if not isinstance(block, FoldedDownsampler):
        raise TypeError(f"Expected a network with folded batch norms, got {type(block).__name__}.")
    scale = block.scale / deviation
    shift = block.shift - mean * scale
    return partial(
        _first,
        FloatConvolution(block.conv, dtype),
        mean.to(dtype),
        deviation.to(dtype),
        scale.flatten().to(dtype),
        shift.flatten().to(dtype),
    )


def _first(
    convolution: FloatConvolution, mean: Tensor, deviation: Tensor, scale: Tensor, shift: Tensor, images: Tensor
) -> Tensor:
    x = (images.to(mean.dtype).permute(0, 3, 1, 2) - mean) / deviation
    # The largest byte is the largest value: pooled as bytes, a quarter as many are scaled.
    pooled = torch.addcmul(shift, halved(images).to(mean.dtype), scale).relu_()
    return torch.cat([convolution(x), pooled.permute(0, 3, 1, 2)], 1)


def _as_bytes(scale: float, x: Tensor) -> Tensor:
    return (x / scale).round_().clamp_(max=LEVELS).to(torch.uint8)


def _float_step(layer: nn.Module, dtype: torch.dtype) -> Step:
    if isinstance(layer, FoldedNonBottleneck1d):
        *inner, last = (FloatConvolution(convolution, dtype) for convolution in _four(layer))
        return partial(_residual, inner, last.onto)
    if isinstance(layer, FoldedUpsampler):
        return FloatDeconvolution(layer.conv, dtype)
    if isinstance(layer, FoldedDownsampler):
        scale, shift = layer.scale.flatten().to(dtype), layer.shift.flatten().to(dtype)
        return partial(_downsample_floats, FloatConvolution(layer.conv, dtype), scale, shift)
    raise TypeError(f"Expected a folded layer of ERFNet, got {type(layer).__name__}.")


def _downsample_floats(convolution: FloatConvolution, scale: Tensor, shift: Tensor, x: Tensor) -> Tensor:
    pooled = torch.addcmul(shift, halved(x.permute(0, 2, 3, 1)), scale).relu_()
    return torch.cat([convolution(x), pooled.permute(0, 3, 1, 2)], 1)


def _byte_step(layer: nn.Module, name: str, before: str, dtype: torch.dtype, scales: Mapping[str, float]) -> Step:
    scale, output = scales[before], scales[name]
    if isinstance(layer, FoldedNonBottleneck1d):
        between = [scales[f"{name}.{inner}"] for inner in ("conv3x1_1", "conv1x3_1", "conv3x1_2")]
        inputs, outputs = [scale, *between], [*between, output]
        *inner, last = (ByteConvolution.of(*arguments) for arguments in zip(_four(layer), inputs, outputs, strict=True))
        return partial(_residual, inner, lambda residual, x: last.onto(residual, scale, x))
    if isinstance(layer, FoldedUpsampler):
        return ByteDeconvolution(layer.conv, scale, dtype if name == _LAST_BYTE_LAYER else output)
    if isinstance(layer, FoldedDownsampler):
        convolution = ByteConvolution.of(layer.conv, scale, output)
        return partial(_downsample_bytes, convolution, _scaled(layer.scale, layer.shift, scale, output))
    raise TypeError(f"Expected a folded layer of ERFNet, got {type(layer).__name__}.")


def _downsample_bytes(convolution: ByteConvolution, scaled: ByteConvolution, x: Tensor) -> Tensor:
    return torch.cat([convolution(x), scaled(_planes(halved(x.permute(0, 2, 3, 1))))], 1)


def _scaled(scale: Tensor, shift: Tensor, input_scale: float, output: float) -> ByteConvolution:
    """Return relu(scale * x + shift) by channel as a 1x1 convolution of bytes, in which every weight is a 127."""
    weight = torch.diag(scale.flatten())[:, :, None, None]
    return ByteConvolution(weight, shift.flatten(), (1, 1), (0, 0), (1, 1), input_scale, output)


def _residual(inner: Sequence[Step], onto: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
    y = x
    for convolution in inner:
        y = convolution(y)
    return onto(x, y)


def _four(layer: FoldedNonBottleneck1d) -> tuple[nn.Conv2d, nn.Conv2d, nn.Conv2d, nn.Conv2d]:
    return layer.conv3x1_1, layer.conv1x3_1, layer.conv3x1_2, layer.conv1x3_2


def _planes(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)
