"""Triton kernels around the network on a GPU: camera image to network input, logits to labels and confidences.

Both read what they need once and write their result once. Triton's interpreter and compiler ran them; no GPU has.
"""

# A kernel's arguments are not Python's; Triton writes constants in capitals.
# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# ruff: noqa: N803

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 256
"""Results of one program of either kernel."""


@triton.jit
def _source(position, scale, size):
    """Return the two of `size` pixels that one lies between, and the second's weight, as PyTorch's bilinear has it."""
    source = tl.maximum((position + 0.5) * scale - 0.5, 0.0)
    first = tl.minimum(source.to(tl.int32), size - 1)
    return first, tl.minimum(first + 1, size - 1), source - first


@triton.jit
def _mixed(first, second, weight):
    return (1 - weight) * first + weight * second


@triton.jit
def resize_kernel(
    images,
    mean,
    deviation,
    resized,
    camera_height,
    camera_width,
    network_height,
    network_width,
    padded_height,
    padded_width,
    scale_down,
    scale_right,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write a part of one row of `resized`: blocks of ROWS x COLUMNS pixels averaged, then bilinear, then scaled."""
    row = tl.program_id(0)
    element = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = element < 3 * padded_width
    channel = element % 3
    # Beyond the network's size the last row and column repeat.
    y = tl.minimum(row % padded_height, network_height - 1)
    x = tl.minimum(element // 3, network_width - 1)
    top, bottom, down = _source(y, scale_down, camera_height // ROWS)
    left, right, across = _source(x, scale_right, camera_width // COLUMNS)
    image = images + (row // padded_height).to(tl.int64) * camera_height * camera_width * 3
    total = tl.zeros([BLOCK], tl.float32)
    for block_row in range(ROWS):
        upper = image + (top * ROWS + block_row) * camera_width * 3
        lower = image + (bottom * ROWS + block_row) * camera_width * 3
        for block_column in range(COLUMNS):
            before = (left * COLUMNS + block_column) * 3 + channel
            after = (right * COLUMNS + block_column) * 3 + channel
            above = _mixed(
                tl.load(upper + before, inside, 0).to(tl.float32),
                tl.load(upper + after, inside, 0).to(tl.float32),
                across,
            )
            below = _mixed(
                tl.load(lower + before, inside, 0).to(tl.float32),
                tl.load(lower + after, inside, 0).to(tl.float32),
                across,
            )
            total += _mixed(above, below, down)
    scaled = (total / (ROWS * COLUMNS) - tl.load(mean + channel)) / tl.load(deviation + channel)
    tl.store(resized + row.to(tl.int64) * padded_width * 3 + element, scaled.to(resized.dtype.element_ty), inside)


@triton.jit
def label_kernel(
    logits,
    labels,
    confidences,
    image_stride,
    class_stride,
    row_stride,
    column_stride,
    network_height,
    network_width,
    height,
    width,
    scale_down,
    scale_right,
    CLASSES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write a part of one row of labels and confidences: bilinear, argmax, and the softmax's maximum in one pass."""
    row = tl.program_id(0)
    x = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = x < width
    top, bottom, down = _source(row % height, scale_down, network_height)
    left, right, across = _source(x, scale_right, network_width)
    image = logits + (row // height).to(tl.int64) * image_stride
    upper, lower = top * row_stride, bottom * row_stride
    before, after = left * column_stride, right * column_stride
    best = tl.full([BLOCK], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    label = tl.zeros([BLOCK], tl.int32)
    for index in range(CLASSES):
        plane = image + index * class_stride
        above = _mixed(
            tl.load(plane + upper + before, inside, 0.0).to(tl.float32),
            tl.load(plane + upper + after, inside, 0.0).to(tl.float32),
            across,
        )
        below = _mixed(
            tl.load(plane + lower + before, inside, 0.0).to(tl.float32),
            tl.load(plane + lower + after, inside, 0.0).to(tl.float32),
            across,
        )
        score = _mixed(above, below, down)
        # The sum of exponentials is kept relative to the best score so far (Milakov and Gimelshein 2018).
        label = tl.where(score > best, index, label)
        larger = tl.maximum(best, score)
        total = total * tl.exp(best - larger) + tl.exp(score - larger)
        best = larger
    place = row.to(tl.int64) * width + x
    tl.store(labels + place, label.to(tl.uint8), inside)
    tl.store(confidences + place, (255.0 / total + 0.5).to(tl.uint8), inside)


def resize_and_scale(
    images: Tensor,
    mean: Tensor,
    deviation: Tensor,
    *,
    size: tuple[int, int],
    padded: tuple[int, int],
    dtype: torch.dtype,
) -> Tensor:
    """Return the network's input (N, 3, H, W), channels last, of (N, H, W, 3) uint8 RGB images.

    Args:
        images: Contiguous, on the GPU.
        mean: 3 floats that are subtracted, of 0..255.
        deviation: 3 floats that it is divided by then.
        size: (width, height) of the resized image.
        padded: (width, height) of the result, in which the last column and row repeat.
        dtype: Of the result.
    """
    count, height, width = images.shape[:3]
    (wide, high), (padded_width, padded_height) = size, padded
    rows, columns = max(1, height // high), max(1, width // wide)
    resized = torch.empty(count, padded_height, padded_width, 3, dtype=dtype, device=images.device)
    resize_kernel[(count * padded_height, triton.cdiv(3 * padded_width, _BLOCK))](
        images,
        mean,
        deviation,
        resized,
        *(height, width, high, wide, padded_height, padded_width),
        *(height // rows / high, width // columns / wide),
        ROWS=rows,
        COLUMNS=columns,
        BLOCK=_BLOCK,
    )
    return resized.permute(0, 3, 1, 2)


def write_labels(logits: Tensor, labels: Tensor, confidences: Tensor) -> None:
    """Write what `pipeline.answers` gives of upsampled logits.

    Args:
        logits: (N, C, h, w) floats of any strides, at most 256 classes.
        labels: (N, H, W) uint8, contiguous, written.
        confidences: As labels.
    """
    count, classes, high, wide = logits.shape
    _, height, width = labels.shape
    label_kernel[(count * height, triton.cdiv(width, _BLOCK))](
        logits,
        labels,
        confidences,
        *logits.stride(),
        *(high, wide, height, width),
        *(high / height, wide / width),
        CLASSES=classes,
        BLOCK=_BLOCK,
    )
