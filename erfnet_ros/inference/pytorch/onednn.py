"""ERFNet for x86 processors as fused oneDNN calls, in fp32, bf16 or int8.

Convolution, sum and ReLU are one call each, with weights packed beforehand. The operators are those that PyTorch's own
compiler emits for a CPU. They are not part of its public interface, so `cpu.fused_pipeline` compares every network with
the plain one before its first use. Tensors are channels last.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.models.fuse_batch_norm import FoldedDownsampler, FoldedNonBottleneck1d, FoldedUpsampler
from erfnet_ros.models.pipeline import LastLayer, Pipeline
from erfnet_ros.models.quantization import LEVELS

Step = Callable[[Tensor], Tensor]
_Geometry = tuple[list[int], list[int], list[int], int]

_FIRST_BYTE_LAYER = "encoder.layers.1"
"""What comes before it, 1 % of the work, is in floats: rounding shows most there."""

_LAST_BYTE_LAYER = "decoder.layers.3"
"""What follows has 16 channels: cheap in floats, and what the labels are read off."""

ISA_VARIABLE = "ONEDNN_MAX_CPU_ISA"
"""Environment variable that holds oneDNN to an older processor's instructions."""

_SHAPES = 4
"""Shapes of inputs that weights are kept packed for; for another, oneDNN would reorder them in every call."""

_LARGEST_BYTE = 127
_LARGEST_SUM = 127.4
"""Of two neighboring weights without VNNI: rounded it is 128 at most, and 255 * 128 fits into 16 bits."""


class OneDnnNetwork:
    """ERFNet in fused layers, from uint8 images to logits.

    Args:
        pipeline: In fp32 on the CPU.
        dtype: torch.float32 or torch.bfloat16, of all that is not in bytes.
        ranges: Largest value of each activation (`quantization.activation_ranges`) for a network in int8, or None.
    """

    def __init__(self, pipeline: Pipeline, dtype: torch.dtype, ranges: Mapping[str, float] | None) -> None:
        scales = None if ranges is None else {name: ranges[name] / LEVELS for name in ranges}
        self._steps: list[Step] = [_first_step(pipeline, dtype)]
        before, in_bytes = "encoder.initial_block", False
        for name, layer in _layers(pipeline.network):
            if scales is not None and name == _FIRST_BYTE_LAYER:
                self._steps.append(partial(_as_bytes, scales[before]))
                in_bytes = True
            if in_bytes and scales is not None:
                self._steps.append(_byte_step(layer, dtype, scales, names=(before, name)))
            else:
                self._steps.append(_float_step(layer, dtype))
            in_bytes = in_bytes and name != _LAST_BYTE_LAYER
            before = name
        self._last = LastLayer(pipeline.network.decoder.output_conv, dtype)

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Return the logits of each of (N, H, W, 3) uint8 RGB images as `LastLayer` does; 8 divides H and W."""
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


def _first_step(pipeline: Pipeline, dtype: torch.dtype) -> Step:
    """Return the first downsampler, from bytes; of its pooled half, scaling by mean and deviation is part."""
    block: nn.Module = pipeline.network.encoder.initial_block
    if not isinstance(block, FoldedDownsampler):
        raise TypeError(f"Expected a network with folded batch norms, got {type(block).__name__}.")
    mean, deviation = pipeline.mean.to(dtype), pipeline.deviation.to(dtype)
    scale = block.scale / pipeline.deviation
    shift = (block.shift - pipeline.mean * scale).flatten().to(dtype)
    scale = scale.flatten().to(dtype)
    convolution = FloatConvolution(block.conv, dtype)

    def step(images: Tensor) -> Tensor:
        x = (images.to(dtype).permute(0, 3, 1, 2) - mean) / deviation
        # The largest byte is the largest value: pooled as bytes, a quarter as many are scaled.
        pooled = torch.addcmul(shift, halved(images).to(dtype), scale).relu_()
        return torch.cat([convolution(x), pooled.permute(0, 3, 1, 2)], 1)

    return step


def _as_bytes(scale: float, x: Tensor) -> Tensor:
    return (x / scale).round_().clamp_(max=LEVELS).to(torch.uint8)


def _float_step(layer: nn.Module, dtype: torch.dtype) -> Step:
    if isinstance(layer, FoldedNonBottleneck1d):
        *inner, last = (FloatConvolution(convolution, dtype) for convolution in _four(layer))
        return partial(_residual, inner, last.onto)
    if isinstance(layer, FoldedUpsampler):
        return _float_deconvolution(layer.conv, dtype)
    if isinstance(layer, FoldedDownsampler):
        scale, shift = layer.scale.flatten().to(dtype), layer.shift.flatten().to(dtype)
        convolution = FloatConvolution(layer.conv, dtype)
        return lambda x: torch.cat([convolution(x), _pooled_floats(x, scale, shift)], 1)
    raise TypeError(f"Expected a folded layer of ERFNet, got {type(layer).__name__}.")


def _pooled_floats(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return torch.addcmul(shift, halved(x.permute(0, 2, 3, 1)), scale).relu_().permute(0, 3, 1, 2)


def _byte_step(layer: nn.Module, dtype: torch.dtype, scales: Mapping[str, float], *, names: tuple[str, str]) -> Step:
    """Return a layer in bytes; `names` are those of the layer before and of this one."""
    before, name = names
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
        # relu(scale * x + shift) by channel as a 1x1 convolution, in which every weight is a 127.
        weight = torch.diag(layer.scale.flatten())[:, :, None, None]
        scaled = ByteConvolution(weight, layer.shift.flatten(), scale=scale, output=output)
        return lambda x: torch.cat([convolution(x), scaled(halved(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))], 1)
    raise TypeError(f"Expected a folded layer of ERFNet, got {type(layer).__name__}.")


def _residual(inner: Sequence[Step], onto: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
    y = x
    for convolution in inner:
        y = convolution(y)
    return onto(x, y)


def _four(layer: FoldedNonBottleneck1d) -> tuple[nn.Conv2d, nn.Conv2d, nn.Conv2d, nn.Conv2d]:
    return layer.conv3x1_1, layer.conv1x3_1, layer.conv3x1_2, layer.conv1x3_2


def has_int8_units() -> bool:
    """Tell whether oneDNN adds products of bytes in 32 bits (VNNI, AMX) here; older processors do at 16, in pairs."""
    if os.environ.get(ISA_VARIABLE, "").upper() in ("SSE41", "AVX", "AVX2", "AVX512_CORE"):
        return False
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(name)) for name in ("avx512_vnni", "avx_vnni", "avx2_vnni", "amx_int8"))


class FloatConvolution:
    """A convolution in fp32 or bf16 with a ReLU."""

    def __init__(self, convolution: nn.Conv2d, dtype: torch.dtype) -> None:
        self._geometry = (_pair(convolution.padding), _pair(convolution.stride), _pair(convolution.dilation), 1)
        weight = convolution.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        reorder = torch.ops.mkldnn._reorder_convolution_weight
        self._packed = lru_cache(_SHAPES)(lambda shape: reorder(weight, *self._geometry, [*shape]))
        self._bias = _bias(convolution).to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """Return relu(convolution(x))."""
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._packed(x.shape), self._bias, *self._geometry, "relu", [], ""
        )
        return y

    def onto(self, residual: Tensor, x: Tensor) -> Tensor:
        """Return relu(residual + convolution(x)), written over `residual`."""
        y: Tensor = torch.ops.mkldnn._convolution_pointwise_(
            residual, x, self._packed(x.shape), self._bias, *self._geometry, "add", 1, "relu", [], ""
        )
        return y


def _float_deconvolution(convolution: nn.ConvTranspose2d, dtype: torch.dtype) -> Step:
    """Return a transposed convolution in fp32 or bf16 with a ReLU."""
    padding, output_padding = _pair(convolution.padding), _pair(convolution.output_padding)
    geometry = (padding, output_padding, _pair(convolution.stride), _pair(convolution.dilation), 1)
    weight, bias = convolution.weight.detach().to(dtype), _bias(convolution).to(dtype)
    reorder = torch.ops.mkldnn._reorder_convolution_transpose_weight
    packed = lru_cache(_SHAPES)(lambda shape: reorder(weight, *geometry, [*shape]))
    operator = torch.ops.mkldnn._convolution_transpose_pointwise
    return lambda x: operator(x, packed(x.shape), bias, *geometry, "relu", [], "")


class ByteConvolution:
    """A convolution of uint8 activations and int8 weights with a ReLU; a byte b stands for b times its scale.

    Weights have a scale for each output channel (Jacob et al. 2018, section 2): their largest becomes 127, or a little
    less where the processor's sums would overflow.

    Args:
        weight: (out, in, rows, columns) float32.
        bias: (out,) float32.
        scale: Of the input.
        output: Scale of the uint8 output, or a dtype for an output that is not quantized.
        geometry: Stride, zero padding and dilation of rows and columns, groups.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        scale: float,
        output: float | torch.dtype,
        geometry: _Geometry = ([1, 1], [0, 0], [1, 1], 1),
    ) -> None:
        weight = weight.detach().float()
        weight_scale = _scales(weight)
        whole = torch.round(weight / weight_scale[:, None, None, None]).to(torch.int8)
        packed = torch.ops.onednn.qconv_prepack(whole, weight_scale, scale, 0, *geometry, None)
        zero_points = torch.zeros(len(weight), dtype=torch.int32)
        self._input_scale = scale
        self._convolution = (packed, weight_scale, zero_points)
        self._bias = bias.detach().float()
        self._geometry = geometry
        self._output = (1.0, 0, output) if isinstance(output, torch.dtype) else (output, 0, torch.uint8)

    @classmethod
    def of(cls, convolution: nn.Conv2d, scale: float, output: float | torch.dtype) -> ByteConvolution:
        """Quantize a convolution as it stands."""
        geometry = (_pair(convolution.stride), _pair(convolution.padding), _pair(convolution.dilation), 1)
        return cls(convolution.weight, _bias(convolution), scale=scale, output=output, geometry=geometry)

    def __call__(self, x: Tensor) -> Tensor:
        """Return relu(convolution(x))."""
        y: Tensor = torch.ops.onednn.qconv2d_pointwise(
            x, self._input_scale, 0, *self._convolution, self._bias, *self._geometry, *self._output, "relu", [], ""
        )
        return y

    def onto(self, residual: Tensor, scale: float, x: Tensor) -> Tensor:
        """Return relu(residual + convolution(x)) of a uint8 residual with this scale, written over it."""
        y: Tensor = torch.ops.onednn.qconv2d_pointwise(
            *(x, self._input_scale, 0, *self._convolution, residual, self._bias, *self._geometry, *self._output),
            *(scale, 0, "sum", 1, "relu", [], ""),
        )
        return y


class ByteDeconvolution:
    """The 3x3 transposed convolution of stride 2 as a 2x2 convolution that makes four pixels of each, in bytes."""

    def __init__(self, convolution: nn.ConvTranspose2d, scale: float, output: float | torch.dtype) -> None:
        weight, bias = four_pixels_each(convolution)
        self._convolution = ByteConvolution(
            weight, bias, scale=scale, output=output, geometry=([1, 1], [1, 1], [1, 1], 1)
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Return relu(convolution(x)), (N, out, 2H, 2W) of (N, in, H, W)."""
        # Padded on all sides, the first row and column see only what lies outside.
        y = self._convolution(x)[:, :, 1:, 1:].permute(0, 2, 3, 1)
        count, height, width, channels = y.shape
        pixels = y.reshape(count, height, width, 2, 2, channels // 4).permute(0, 1, 3, 2, 4, 5)
        return pixels.reshape(count, 2 * height, 2 * width, channels // 4).permute(0, 3, 1, 2)


def four_pixels_each(convolution: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """Return weight (4 * out, in, 2, 2) and bias (4 * out,) of the convolution that a 3x3 deconvolution of stride 2 is.

    Pixel (2i + a, 2j + b) of the result sees the input at i and, where a is 1, at i + 1 (columns alike): with padding
    and output padding 1, kernel row 1 falls on even rows, row 2 on odd ones from above and row 0 from below.
    """
    weight = convolution.weight.detach().float()
    inputs, outputs = weight.shape[:2]
    rows = {0: ((0, 1),), 1: ((0, 2), (1, 0))}
    pixels = torch.zeros(2, 2, outputs, inputs, 2, 2)
    for a in (0, 1):
        for b in (0, 1):
            for place, row in rows[a]:
                for side, column in rows[b]:
                    pixels[a, b, :, :, place, side] = weight[:, :, row, column].t()
    return pixels.flatten(0, 2), _bias(convolution).float().repeat(4)


def _scales(weight: Tensor) -> Tensor:
    """Return the scale of each output channel's weights: what a step of their int8 stands for.

    Without VNNI the products of a byte and a weight of two neighboring input channels are added in 16 bits, which
    saturate (VPMADDUBSW): there the largest of such sums decides, too.
    """
    largest = weight.abs().amax((1, 2, 3)) / _LARGEST_BYTE
    if not has_int8_units():
        even = F.pad(weight, (0, 0, 0, 0, 0, weight.shape[1] % 2))
        pairs = even.view(len(weight), -1, 2, *weight.shape[2:])
        sums = [part.clamp(min=0).sum(2).amax((1, 2, 3)) for part in (pairs, -pairs)]
        largest = torch.maximum(largest, torch.maximum(*sums) / _LARGEST_SUM)
    # A channel of zeros has no largest weight.
    return largest.clamp(min=torch.finfo(torch.float32).tiny)


def halved(x: Tensor) -> Tensor:
    """Return the largest of each 2x2 pixels of (N, H, W, C), (N, H / 2, W / 2, C): max pooling for any number type."""
    rows = torch.maximum(x[:, 0::2], x[:, 1::2])
    return torch.maximum(rows[:, :, 0::2], rows[:, :, 1::2])


def _pair(values: Iterable[int | str]) -> list[int]:
    return [int(value) for value in values]


def _bias(convolution: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    if convolution.bias is None:
        raise ValueError("Expected a convolution with a bias: every one of ERFNet's has one once norms are folded.")
    return convolution.bias.detach()
