"""Random views of labeled frames: scale, shift, mirror, light; drawn on the CPU, made in batches on the device."""

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

Spots = npt.NDArray[np.int16]
"""(C, K, 2): for each class K random pixels (row, column) of it in one frame, -1 where the frame has none."""

SPOTS = 256
_SMALLEST = {1: 0.7, 2: 0.35, 4: 0.0}
"""Side of the squares that are averaged before a view is cut out, and the smallest scale for which it is so."""

_MARGIN = 16
"""Pixels that a window is wider than its view: for whole corners, and two bilinear neighbors of squares of 4."""
_GRAY = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class View:
    """How one view lies in its frame, and its light.

    Attributes:
        scale: (x, y) magnification; x is negative where the view is mirrored.
        center: (x, y) of the frame that comes to the view's middle, pixels from the frame's upper left corner.
        light: Factors of brightness, contrast and saturation, and the exponent gamma.
    """

    scale: tuple[float, float]
    center: tuple[float, float]
    light: tuple[float, float, float, float]


@dataclass(frozen=True)
class Views:
    """Views as numbers on the device that makes them.

    Attributes:
        scale: (N, 2) float64, `View.scale` of each.
        center: (N, 2) float64, `View.center` of each.
        light: (N, 4) float32, `View.light` of each.
        frames: (N,) int64 number of each one's frame.
        order: (N,) int64 numbers of the views, those of one square side by side.
        squares: (side, number of views) of each square that is averaged before views are cut out, in that order.
    """

    scale: Tensor
    center: Tensor
    light: Tensor
    frames: Tensor
    order: Tensor
    squares: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, views: Sequence[View], frames: Sequence[int], device: torch.device) -> Views:
        """Bring views to a device in one copy: a GPU stops at each, and a step has little else to wait for."""
        sides = [_square(abs(view.scale[0] * view.scale[1]) ** 0.5) for view in views]
        order = sorted(range(len(views)), key=sides.__getitem__)
        # A frame's number, too, is exact in float64.
        rows = [
            (*view.scale, *view.center, *view.light, frame, n)
            for view, frame, n in zip(views, frames, order, strict=True)
        ]
        table = to_device(torch.tensor(rows, dtype=torch.float64), device)
        scale, center, light, whole = table.tensor_split((2, 4, 8), 1)
        numbers = whole.long()
        squares = tuple((side, sides.count(side)) for side in sorted(set(sides)))
        return cls(scale, center, light.float(), numbers[:, 0], numbers[:, 1], squares)


def spots_of(labels: npt.NDArray[np.uint8], num_classes: int, random: np.random.Generator) -> Spots:
    """Draw `SPOTS` pixels of each class in labels (H, W), so that a class is found later without searching."""
    spots = np.full((num_classes, SPOTS, 2), -1, np.int16)
    flat = labels.ravel()
    order = np.argsort(flat, kind="stable")
    ends = np.cumsum(np.bincount(flat, minlength=256))
    for class_id in range(num_classes):
        begin = ends[class_id - 1] if class_id else 0
        if ends[class_id] > begin:
            picked = order[random.integers(begin, ends[class_id], SPOTS)]
            spots[class_id, :, 0], spots[class_id, :, 1] = np.divmod(picked, labels.shape[1])
    return spots


def draw_view(
    phase: Phase,
    frame_size: tuple[int, int],
    spots: Spots | None,
    rarity: npt.NDArray[np.float64],
    random: np.random.Generator,
) -> View:
    """Draw one view.

    Args:
        phase: How far a view may differ from its frame.
        frame_size: (width, height) of the frame, pixels.
        spots: Where the frame's classes are; None for a phase whose `rare_share` is 0, which does not look.
        rarity: (C,) odds of each class to be the center of a view, any positive scale.
        random: The only source of chance.
    """
    width, height = crop_of(phase, frame_size)
    scale = math.exp(random.uniform(math.log(phase.scale[0]), math.log(phase.scale[1])))
    stretch = math.exp(random.uniform(-phase.stretch, phase.stretch))
    scale_x, scale_y = scale * stretch, scale / stretch
    x, y = _center(phase, frame_size, (width / scale_x, height / scale_y), spots, rarity, random)
    shift_x, shift_y = random.integers(-phase.shift, phase.shift + 1, 2)
    mirror = -1.0 if phase.mirror and random.random() < 0.5 else 1.0
    brightness, contrast, saturation = (float(factor) for factor in 1 + random.uniform(-phase.light, phase.light, 3))
    gamma = math.exp(random.uniform(-phase.light, phase.light) / 2)
    return View(
        (mirror * scale_x, scale_y), (x + float(shift_x), y + float(shift_y)), (brightness, contrast, saturation, gamma)
    )


def crop_of(phase: Phase, frame_size: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) of the phase's views."""
    return frame_size if phase.crop == "frame" else phase.crop


def _center(
    phase: Phase,
    frame_size: tuple[int, int],
    extent: tuple[float, float],
    spots: Spots | None,
    rarity: npt.NDArray[np.float64],
    random: np.random.Generator,
) -> tuple[float, float]:
    """Draw the frame's point (x, y) that comes to the middle of a view that covers `extent` frame pixels."""
    wanted = (random.uniform(0, frame_size[0]), random.uniform(0, frame_size[1]))
    rare = random.random() < phase.rare_share
    if rare and spots is not None and len(present := np.flatnonzero(spots[:, 0, 0] >= 0)):
        class_id = random.choice(present, p=rarity[present] / rarity[present].sum())
        row, column = (int(part) for part in spots[class_id, random.integers(SPOTS)])
        # Not always in the very middle: the network must not learn that rare things are there.
        wanted = (
            column + 0.5 + random.uniform(-0.4, 0.4) * extent[0],
            row + 0.5 + random.uniform(-0.4, 0.4) * extent[1],
        )
    return _inside(wanted[0], extent[0], frame_size[0]), _inside(wanted[1], extent[1], frame_size[1])


def _inside(center: float, extent: float, size: int) -> float:
    """Move a view's center so that the view lies inside the frame, or covers it evenly where it is larger."""
    if extent >= size:
        return size / 2
    return min(max(center, extent / 2), size - extent / 2)


def warp(images: Tensor, labels: Tensor, views: Views, phase: Phase) -> tuple[Tensor, Tensor]:
    """Cut views out of frames: images bilinear and reflected at the border, labels nearest and void there.

    A view that shrinks its frame much is cut out of means over squares of pixels: a plain bilinear warp would skip
    pixels there, which looks like no camera's image.

    Args:
        images: (N, H, W, 3) uint8, the frame of each view, on any device.
        labels: (N, H, W) uint8 class ids, void 255, on the same.
        views: N views, on the same.
        phase: What they were drawn for.

    Returns:
        Images (N, 3, height, width) and labels (N, height, width), uint8, on the same device.
    """
    frame_size = (images.shape[2], images.shape[1])
    width, height = crop_of(phase, frame_size)
    view_images = images.new_empty((len(images), 3, height, width))
    view_labels = labels.new_empty((len(images), height, width))
    first = 0
    for side, count in views.squares:
        members = views.order[first : first + count]
        first += count
        window = _window(phase, side, frame_size)
        corner = _corner(views.center[members], window, frame_size)
        scale, center = views.scale[members], views.center[members] - corner
        pixels = _cut(images, members, corner, window).float().contiguous()
        if side > 1:
            pixels = F.avg_pool2d(pixels, side, ceil_mode=True, count_include_pad=False)
        grid = _grid(scale, center, (width, height), (pixels.shape[3] * side, pixels.shape[2] * side))
        bilinear = F.grid_sample(pixels, grid, "bilinear", "reflection", align_corners=False)
        view_images[members] = bilinear.round_().byte()
        # What lies outside is read as 0, so void is made the zero.
        known = (VOID - _cut(labels, members, corner, window)).unsqueeze(1).float()
        grid = _grid(scale, center, (width, height), window)
        nearest = F.grid_sample(known, grid, "nearest", "zeros", align_corners=False)[:, 0]
        view_labels[members] = (VOID - nearest).byte()
    return view_images, view_labels


def relight(images: Tensor, light: Tensor) -> Tensor:
    """Change brightness, contrast, saturation and gamma.

    Args:
        images: (N, 3, H, W) uint8.
        light: (N, 4) float32, `View.light` of each.

    Returns:
        (N, 3, H, W) float32 in 0..1.
    """
    brightness, contrast, saturation, gamma = (part.view(-1, 1, 1, 1) for part in light.unbind(1))
    x = images.float().div_(255).pow_(gamma)
    x = x.sub_(0.5).mul_(contrast).add_(0.5).mul_(brightness).clamp_(0, 1)
    # Factors as numbers: a tensor of them would have to travel to the device at each step.
    red, green, blue = (part * factor for part, factor in zip(x.tensor_split(3, 1), _GRAY, strict=True))
    gray = red.add_(green).add_(blue)
    return torch.lerp(gray.expand_as(x), x, saturation).clamp_(0, 1)


def _grid(scale: Tensor, center: Tensor, crop: tuple[int, int], frame_size: tuple[int, int]) -> Tensor:
    """Return where the pixels of views lie in their frames, (N, height, width, 2) in -1..1, for grid_sample."""
    width, height = crop
    x = center[:, :1] + (torch.arange(width, device=center.device) + 0.5 - width / 2) / scale[:, :1]
    y = center[:, 1:] + (torch.arange(height, device=center.device) + 0.5 - height / 2) / scale[:, 1:]
    x, y = (2 * x / frame_size[0] - 1).float(), (2 * y / frame_size[1] - 1).float()
    shape = (len(scale), height, width)
    return torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1)


def _window(phase: Phase, side: int, frame_size: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) of what is cut out of a frame for any view of a phase: a small part of a large frame.

    One size for all views with squares of one side, so that what is computed of a view does not depend on the views
    beside it, and neither on where its frame lies.
    """
    smallest = max(phase.scale[0], _SMALLEST[side]) * math.exp(-phase.stretch)
    width, height = (
        # In whole squares of any side, with a margin for the bilinear neighbors.
        min(size, 4 * math.ceil((crop / smallest + _MARGIN) / 4))
        for size, crop in zip(frame_size, crop_of(phase, frame_size), strict=True)
    )
    return width, height


def _corner(center: Tensor, window: tuple[int, int], frame_size: tuple[int, int]) -> Tensor:
    """Return the upper left corners (N, 2) int64 of windows around centers (N, 2), moved into the frame.

    A view that reaches over the frame's border so has it as its window's border, where it is reflected.
    """
    corners = [
        (center[:, axis] - window[axis] / 2).floor().clamp(0, frame_size[axis] - window[axis]) for axis in (0, 1)
    ]
    return torch.stack(corners, 1).long()


def _cut(frames: Tensor, members: Tensor, corner: Tensor, window: tuple[int, int]) -> Tensor:
    """Return windows (n, height, width) or (n, 3, height, width) of the frames (N, H, W) or (N, H, W, 3) `members`."""
    # The frames as all the windows in them, without a copy; only those that are picked are copied.
    return frames.unfold(1, window[1], 1).unfold(2, window[0], 1)[members, corner[:, 1], corner[:, 0]]


def _square(scale: float) -> int:
    """Return the side of the squares that are averaged before a view of this scale is cut out."""
    return next(side for side, smallest in _SMALLEST.items() if scale >= smallest)


def to_device(host: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the CPU's memory without waiting for what the GPU has still to do.

    Only pinned memory is copied so. PyTorch hands its bytes to nobody else before the copy is done, also where the
    pinned tensor is forgotten at once.
    """
    if device.type != "cuda":
        return host.to(device)
    return host.pin_memory().to(device, non_blocking=True)
