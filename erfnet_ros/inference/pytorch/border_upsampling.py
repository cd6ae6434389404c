"""Border upsampling: labels and confidence at the camera's size without logits at that size.

Bilinear interpolation mixes four neighbors with weights that sum to 1. Where the four agree on the class, that class
wins every mixture, and no logits are needed. Only the cells on class borders, a few per cent, are interpolated. The
labels are those of plain upsampling; the confidence is interpolated itself inside a class, and exact on borders.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.models.pipeline import answers, upsample

_STRIP = 8192
"""Input pixels of the last layer handled at once: their logits stay in a core's cache."""

_SURE = 255
"""Confidence of a probability of 1."""

_MAX_ON_BORDERS = 0.3
"""Share of the result on class borders above which plain upsampling is faster."""


@dataclass(frozen=True)
class Axis:
    """Where the pixels of one image axis lie between those of a smaller one, as PyTorch's interpolation has it.

    Attributes:
        positions: (n, r) which of the N pixels lie between source pixels i and i + 1; the last repeats.
        weights: (n, r) float32, each one's weight of source pixel i + 1.
    """

    positions: npt.NDArray[np.int64]
    weights: Tensor


def upsample_labels(logits: Tensor, network_size: tuple[int, int], camera: tuple[int, int]) -> tuple[Pixels, Pixels]:
    """Return labels and confidence, (H, W) uint8 each, of one image.

    Args:
        logits: (C, 2, 2, h, w) as `LastLayer` gives them.
        network_size: (width, height) of the image that the network saw; the logits may be padded beyond it.
        camera: (width, height) of the result.
    """
    wide, high = network_size
    labels, confidence = (plane[:high, :wide] for plane in _answers(logits))
    if camera == network_size:
        return np.ascontiguousarray(labels), np.ascontiguousarray(confidence)
    if camera[0] < wide or camera[1] < high:
        return _plain(logits, network_size, camera)
    rows, columns = axis(high, camera[1]), axis(wide, camera[0])
    cells = np.flatnonzero(_mixed(labels))
    per_cell = rows.positions.shape[1] * columns.positions.shape[1]
    if len(cells) * per_cell > _MAX_ON_BORDERS * camera[0] * camera[1]:
        return _plain(logits, network_size, camera)
    large = cv2.resize(labels, camera, interpolation=cv2.INTER_NEAREST)
    sure = cv2.resize(confidence, camera, interpolation=cv2.INTER_LINEAR)
    top, left = np.divmod(cells, wide)
    place = rows.positions[top][:, :, None] * camera[0] + columns.positions[left][:, None, :]
    corners = _corners(logits, (top, left), (high, wide))
    on_border = _interpolated(corners, rows.weights[top], columns.weights[left])
    for plane, values in zip((large, sure), on_border, strict=True):
        plane.reshape(-1)[place] = values.numpy()
    return large.astype(np.uint8, copy=False), sure.astype(np.uint8, copy=False)


@lru_cache(maxsize=32)
def axis(small: int, large: int) -> Axis:
    """Return where `large` pixels lie between `small` ones (half-pixel centers, edges repeated); large >= small."""
    source = (np.arange(large, dtype=np.float32) + np.float32(0.5)) * np.float32(small / large) - np.float32(0.5)
    source = np.maximum(source, 0)
    before = source.astype(np.int64)
    starts = np.searchsorted(before, np.arange(small))
    counts = np.bincount(before, minlength=small)
    # A source pixel without pixels of its own (usually the last) takes any position: no cell there is ever mixed.
    within = np.minimum(np.arange(counts.max()), np.maximum(counts[:, None], 1) - 1)
    positions = np.minimum(starts[:, None] + within, large - 1)
    weights = (source - before).astype(np.float32)[positions]
    return Axis(positions, torch.from_numpy(weights))


def _answers(logits: Tensor) -> tuple[Pixels, Pixels]:
    """Return labels and confidence, (2h, 2w) uint8 each."""
    classes, *_, height, width = logits.shape
    flat = logits.reshape(classes, 4, height * width)
    answer = torch.empty(2, 4, height * width, dtype=torch.uint8)
    for begin in range(0, height * width, _STRIP):
        part = slice(begin, begin + _STRIP)
        answer[0, :, part], answer[1, :, part] = _winners(flat[:, :, part].to(torch.float32, copy=True))
    pixels = answer.view(2, 2, 2, height, width).permute(0, 3, 1, 4, 2).reshape(2, 2 * height, 2 * width).numpy()
    return pixels[0], pixels[1]


def _winners(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return labels and confidences (0..255) of float32 logits (C, ...), which are overwritten.

    Each logit's lowest bits are given to its class, so that one vectorised maximum finds both: of a float32's 23 bits
    of fraction, 16 and more remain.
    """
    classes = len(logits)
    low_bits = (1 << (classes - 1).bit_length()) - 1
    bits = logits.view(torch.int32)
    bits &= ~low_bits
    # Of equal logits above 0 the first class wins, as in an argmax.
    bits |= (low_bits - torch.arange(classes, dtype=torch.int32)).view(-1, *[1] * (logits.dim() - 1))
    top = logits.amax(0)
    labels = low_bits - (top.view(torch.int32) & low_bits)
    logits -= top
    return labels, (_SURE / logits.exp_().sum(0)).round_()


def _mixed(labels: Pixels) -> npt.NDArray[np.bool_]:
    """Return (h, w), whether the pixel, the one at its right and the two below differ; edges repeat."""
    padded = cv2.copyMakeBorder(labels, 0, 1, 0, 1, cv2.BORDER_REPLICATE)
    here = padded[:-1, :-1]
    mixed: npt.NDArray[np.bool_] = (here != padded[:-1, 1:]) | (here != padded[1:, :-1]) | (here != padded[1:, 1:])
    return mixed


def _corners(logits: Tensor, cells: tuple[npt.NDArray[np.int64], ...], size: tuple[int, int]) -> Tensor:
    """Return float32 logits (C, 2, 2, K) of the four corners of each cell (row, column) in an image (height, width)."""
    (top, left), (high, wide) = cells, size
    height, width = logits.shape[-2:]
    rows = np.stack([top, np.minimum(top + 1, high - 1)])[:, None]
    columns = np.stack([left, np.minimum(left + 1, wide - 1)])[None]
    flat = ((rows % 2 * 2 + columns % 2) * height + rows // 2) * width + columns // 2
    found = logits.reshape(len(logits), -1).index_select(1, torch.from_numpy(flat.reshape(-1)))
    return found.float().view(len(logits), 2, 2, -1)


def _interpolated(corners: Tensor, down: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return labels and confidences (K, r, s) of corners (C, 2, 2, K) mixed with weights (K, r) and (K, s)."""
    across = torch.lerp(corners[:, :, 0, :, None], corners[:, :, 1, :, None], right)
    return _winners(torch.lerp(across[:, 0, :, None, :], across[:, 1, :, None, :], down[:, :, None]))


def _plain(logits: Tensor, network_size: tuple[int, int], camera: tuple[int, int]) -> tuple[Pixels, Pixels]:
    classes, *_, height, width = logits.shape
    wide, high = network_size
    whole = logits.float().permute(0, 3, 1, 4, 2).reshape(1, classes, 2 * height, 2 * width)[..., :high, :wide]
    labels, confidence = answers(upsample(whole, (camera[1], camera[0])))
    return labels[0].numpy(), confidence[0].numpy()
