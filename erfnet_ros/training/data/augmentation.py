"""Random crops of labeled frames, drawn on the CPU and cut out in batches on the training device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from erfnet_ros.core.array_types import VOID
from erfnet_ros.training.config.recipe import Phase

ClassPixelSamples = npt.NDArray[np.int16]
"""(C, K, 2): for each class K random pixels (row, column) of it in one frame, -1 where the frame has none."""

SAMPLES_PER_CLASS = 256
_SMALLEST = {1: 0.7, 2: 0.35, 4: 0.0}
"""Side of the squares that are averaged before a crop is cut out, and the smallest scale for which it is so."""

_MARGIN = 16
"""Pixels that a window is wider than its crop: for whole corners, and two bilinear neighbors of squares of 4."""


@dataclass(frozen=True)
class Crop:
    """Place of one crop in its frame, and its color jitter.

    Attributes:
        scale: (x, y) magnification; x is negative where the crop is flipped.
        center: (x, y) of the frame that comes to the crop's middle, pixels from the frame's upper left corner.
        color_jitter: Factors of brightness, contrast and saturation, the exponent gamma, factors of red, green and
            blue, and the standard deviations of blur, in pixels, and of noise, where white is 1.
    """

    scale: tuple[float, float]
    center: tuple[float, float]
    color_jitter: tuple[float, float, float, float, float, float, float, float, float]


@dataclass(frozen=True)
class CropBatch:
    """Crops as tensors on the device that cuts them out.

    Attributes:
        scale, center: (N, 2) float64, those of each `Crop`.
        color_jitter: (N, 9) float32.
        frames: (N,) int64 number of each one's frame.
        order: (N,) int64 numbers of the crops, those of one square side by side.
        squares: (side, number of crops) of each square that is averaged before crops are cut out, in that order.
    """

    scale: Tensor
    center: Tensor
    color_jitter: Tensor
    frames: Tensor
    order: Tensor
    squares: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, crops: Sequence[Crop], frames: Sequence[int], device: torch.device) -> CropBatch:
        """Bring crops to a device in one copy: each copy makes a GPU wait."""
        sides = [_square(abs(crop.scale[0] * crop.scale[1]) ** 0.5) for crop in crops]
        order = sorted(range(len(crops)), key=sides.__getitem__)
        # A frame's number, too, is exact in float64.
        rows = [
            (*crop.scale, *crop.center, *crop.color_jitter, frame, n)
            for crop, frame, n in zip(crops, frames, order, strict=True)
        ]
        table = to_device(torch.tensor(rows, dtype=torch.float64), device)
        scale, center, color_jitter, whole = table.tensor_split((2, 4, 13), 1)
        numbers = whole.long()
        squares = tuple((side, sides.count(side)) for side in sorted(set(sides)))
        return cls(scale, center, color_jitter.float(), numbers[:, 0], numbers[:, 1], squares)


def sample_class_pixels(
    labels: npt.NDArray[np.uint8], num_classes: int, random: np.random.Generator
) -> ClassPixelSamples:
    """Draw `SAMPLES_PER_CLASS` pixels of each class in labels (H, W), so that crops find a class without searching."""
    samples = np.full((num_classes, SAMPLES_PER_CLASS, 2), -1, np.int16)
    flat = labels.ravel()
    order = np.argsort(flat, kind="stable")
    ends = np.cumsum(np.bincount(flat, minlength=256))
    for class_id in range(num_classes):
        begin = ends[class_id - 1] if class_id else 0
        if ends[class_id] > begin:
            picked = order[random.integers(begin, ends[class_id], SAMPLES_PER_CLASS)]
            samples[class_id, :, 0], samples[class_id, :, 1] = np.divmod(picked, labels.shape[1])
    return samples


def draw_crop(
    phase: Phase,
    frame_size: tuple[int, int],
    *,
    samples: ClassPixelSamples | None,
    weights: npt.NDArray[np.float64],
    random: np.random.Generator,
) -> Crop:
    """Draw one crop of a frame of (width, height), pixels.

    Args:
        phase: How far a crop may differ from its frame.
        frame_size: Of the frame.
        samples: Where the frame's classes are; not needed where `rare_class_fraction` is 0.
        weights: (C,) relative probability that a crop is centered on the class.
        random: Generator of all random numbers.
    """
    width, height = crop_size(phase, frame_size)
    scale = math.exp(random.uniform(math.log(phase.scale[0]), math.log(phase.scale[1])))
    aspect = math.exp(random.uniform(-phase.aspect_jitter, phase.aspect_jitter))
    scale_x, scale_y = scale * aspect, scale / aspect
    x, y = _center(
        phase, frame_size, (width / scale_x, height / scale_y), samples=samples, weights=weights, random=random
    )
    shift_x, shift_y = random.integers(-phase.shift, phase.shift + 1, 2)
    flip = -1.0 if phase.horizontal_flip and random.random() < 0.5 else 1.0
    brightness, contrast, saturation = (
        float(factor) for factor in 1 + random.uniform(-phase.color_jitter, phase.color_jitter, 3)
    )
    gamma = math.exp(random.uniform(-phase.color_jitter, phase.color_jitter) / 2)
    red, green, blue = (math.exp(part) for part in random.uniform(-phase.tint, phase.tint, 3))
    blur = random.uniform(0, phase.blur) if random.random() < 0.5 else 0.0
    noise = random.uniform(0, phase.noise)
    return Crop(
        (flip * scale_x, scale_y),
        (x + float(shift_x), y + float(shift_y)),
        (brightness, contrast, saturation, gamma, red, green, blue, blur, noise),
    )


def crop_size(phase: Phase, frame_size: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) of the phase's crops."""
    return frame_size if phase.crop == "frame" else phase.crop


def _center(
    phase: Phase,
    frame_size: tuple[int, int],
    extent: tuple[float, float],
    *,
    samples: ClassPixelSamples | None,
    weights: npt.NDArray[np.float64],
    random: np.random.Generator,
) -> tuple[float, float]:
    """Draw the frame's point (x, y) that comes to the middle of a crop that covers `extent` frame pixels."""
    wanted = (random.uniform(0, frame_size[0]), random.uniform(0, frame_size[1]))
    rare = random.random() < phase.rare_class_fraction
    if rare and samples is not None and len(present := np.flatnonzero(samples[:, 0, 0] >= 0)):
        class_id = random.choice(present, p=weights[present] / weights[present].sum())
        row, column = (int(part) for part in samples[class_id, random.integers(SAMPLES_PER_CLASS)])
        # Not always in the very middle: the network must not learn that rare things are there.
        wanted = (
            column + 0.5 + random.uniform(-0.4, 0.4) * extent[0],
            row + 0.5 + random.uniform(-0.4, 0.4) * extent[1],
        )
    return _inside(wanted[0], extent[0], frame_size[0]), _inside(wanted[1], extent[1], frame_size[1])


def _inside(center: float, extent: float, size: int) -> float:
    """Move a crop's center so that the crop is inside the frame, or centered on it where it is larger."""
    if extent >= size:
        return size / 2
    return min(max(center, extent / 2), size - extent / 2)


def warp(images: Tensor, labels: Tensor, *, crops: CropBatch, phase: Phase) -> tuple[Tensor, Tensor]:
    """Cut crops out of frames: images bilinear and reflected at the border, labels nearest and void there.

    A crop that shrinks its frame much is cut out of means over squares of pixels: a plain bilinear warp would skip
    pixels there, which looks like no camera's image.

    Args:
        images: (N, H, W, 3) uint8, the frame of each crop.
        labels: (N, H, W) uint8 class ids, void 255.
        crops: N crops, on the same device, drawn for `phase`.

    Returns:
        Images (N, 3, height, width) and labels (N, height, width), uint8, on the same device.
    """
    frame_size = (images.shape[2], images.shape[1])
    width, height = crop_size(phase, frame_size)
    crop_images = images.new_empty((len(images), 3, height, width))
    crop_labels = labels.new_empty((len(images), height, width))
    first = 0
    for side, count in crops.squares:
        members = crops.order[first : first + count]
        first += count
        window = _window(phase, side, frame_size)
        corner = _corner(crops.center[members], window, frame_size)
        scale, center = crops.scale[members], crops.center[members] - corner
        pixels = _cut(images, members, corner=corner, window=window).float().contiguous()
        if side > 1:
            pixels = F.avg_pool2d(pixels, side, ceil_mode=True, count_include_pad=False)
        covered = (pixels.shape[3] * side, pixels.shape[2] * side)
        grid = _grid(scale, center, crop=(width, height), frame=covered)
        bilinear = F.grid_sample(pixels, grid, "bilinear", "reflection", align_corners=False)
        crop_images[members] = bilinear.round_().byte()
        # grid_sample reads 0 outside the frame, so void is mapped to 0.
        known = (VOID - _cut(labels, members, corner=corner, window=window)).unsqueeze(1).float()
        grid = _grid(scale, center, crop=(width, height), frame=window)
        nearest = F.grid_sample(known, grid, "nearest", "zeros", align_corners=False)[:, 0]
        crop_labels[members] = (VOID - nearest).byte()
    return crop_images, crop_labels


def _grid(scale: Tensor, center: Tensor, *, crop: tuple[int, int], frame: tuple[int, int]) -> Tensor:
    """Return the positions of the crops' pixels in their frames, (N, height, width, 2) in -1..1, for grid_sample."""
    width, height = crop
    x = center[:, :1] + (torch.arange(width, device=center.device) + 0.5 - width / 2) / scale[:, :1]
    y = center[:, 1:] + (torch.arange(height, device=center.device) + 0.5 - height / 2) / scale[:, 1:]
    x, y = (2 * x / frame[0] - 1).float(), (2 * y / frame[1] - 1).float()
    shape = (len(scale), height, width)
    return torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1)


def _window(phase: Phase, side: int, frame_size: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) of what is cut out of a frame for any crop of a phase: a small part of a large frame.

    One size for all crops with squares of one side, so that a crop does not depend on its batch.
    """
    smallest = max(phase.scale[0], _SMALLEST[side]) * math.exp(-phase.aspect_jitter)
    width, height = (
        # In whole squares of any side, with a margin for the bilinear neighbors.
        min(size, 4 * math.ceil((crop / smallest + _MARGIN) / 4))
        for size, crop in zip(frame_size, crop_size(phase, frame_size), strict=True)
    )
    return width, height


def _corner(center: Tensor, window: tuple[int, int], frame_size: tuple[int, int]) -> Tensor:
    """Return the upper left corners (N, 2) int64 of windows around centers (N, 2), moved into the frame.

    A crop that reaches over the frame's border so has it as its window's border, where it is reflected.
    """
    corners = [
        (center[:, axis] - window[axis] / 2).floor().clamp(0, frame_size[axis] - window[axis]) for axis in (0, 1)
    ]
    return torch.stack(corners, 1).long()


def _cut(frames: Tensor, members: Tensor, *, corner: Tensor, window: tuple[int, int]) -> Tensor:
    """Return windows (n, height, width) or (n, 3, height, width) of the frames (N, H, W) or (N, H, W, 3) `members`."""
    # The frames as all the windows in them, without a copy; only those that are picked are copied.
    return frames.unfold(1, window[1], 1).unfold(2, window[0], 1)[members, corner[:, 1], corner[:, 0]]


def _square(scale: float) -> int:
    """Return the side of the squares that are averaged before a crop of this scale is cut out."""
    return next(side for side, smallest in _SMALLEST.items() if scale >= smallest)


def to_device(host: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the CPU's memory without waiting for what the GPU has still to do."""
    if device.type != "cuda":
        return host.to(device)
    # PyTorch reuses pinned memory only after the copy is done, even where the tensor is deleted at once.
    return host.pin_memory().to(device, non_blocking=True)
