"""Frames to train on: a small data set whole in the device's memory, a large one read as it is needed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import psutil
import torch
from torch import Tensor

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.core.class_set import CAMVID, ClassSet
from erfnet_ros.core.errors import ParameterError, SourceError, TrainingError
from erfnet_ros.data.datasets import DataSet
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.training.config.recipe import Synthetic
from erfnet_ros.training.data.augmentation import ClassPixelSamples, sample_class_pixels

T = TypeVar("T")

_MEMORY_SHARE = 0.5
"""Frames may take this much of the free memory: the network needs some too."""

_WINDOW = 32


@dataclass(frozen=True)
class MemoryFrames:
    """Frames of one size in memory.

    Attributes:
        images: (N, H, W, 3) uint8, on the device that trains.
        labels: (N, H, W) uint8 class ids, void 255, on the same.
        pixel_samples: For each frame where its classes are; empty for frames that are not trained on.
    """

    images: Tensor
    labels: Tensor
    pixel_samples: tuple[ClassPixelSamples, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of every frame, pixels."""
        return self.images.shape[2], self.images.shape[1]

    def pixels(self, index: int) -> tuple[Pixels, Pixels]:
        """Return image (H, W, 3) and labels (H, W) of one frame."""
        return self.images[index].cpu().numpy(), self.labels[index].cpu().numpy()

    def pixel_samples_in(self, index: int, labels: Pixels) -> ClassPixelSamples:
        """Return where one frame's classes are; `labels` are the frame's."""
        return self.pixel_samples[index]


@dataclass(frozen=True)
class DiskFrames:
    """Frames that are decoded whenever they are needed.

    Attributes:
        data: The data set.
        max_height: Taller frames are shrunk to this height, pixels; None keeps them.
        seed: Of the pixel samples.
        size: (width, height) of the frames, pixels; None where they differ.
    """

    data: DataSet
    max_height: int | None
    seed: int
    size: tuple[int, int] | None

    def __len__(self) -> int:
        return len(self.data)

    def pixels(self, index: int) -> tuple[Pixels, Pixels]:
        """Return image (H, W, 3) and labels (H, W) of one frame."""
        return read_frame(self.data, index, self.max_height)

    def pixel_samples_in(self, index: int, labels: Pixels) -> ClassPixelSamples:
        """Return where one frame's classes are, found in its `labels`, which takes as long as to cut a view."""
        return _pixel_samples(labels, len(self.data.class_set), self.seed, index)


TrainingFrames = MemoryFrames | DiskFrames


@dataclass(frozen=True)
class ClassFrequencies:
    """What a split holds.

    Attributes:
        pixels: (C,) int64 number of pixels by class, void left out.
        sizes: Number of frames by their (width, height) after shrinking, pixels.
    """

    pixels: npt.NDArray[np.int64]
    sizes: Mapping[tuple[int, int], int]

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) of every frame, pixels; None where they differ."""
        return next(iter(self.sizes)) if len(self.sizes) == 1 else None

    @property
    def commonest_size(self) -> tuple[int, int]:
        """(width, height) of most frames, pixels; where several are equally common, the one of middle area."""
        most = max(self.sizes.values())
        tied = [size for size, frames in self.sizes.items() if frames == most]
        return sorted(tied, key=lambda size: (size[0] * size[1], size))[len(tied) // 2]

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """(C,) share of the known pixels by class, summing to 1."""
        shares: npt.NDArray[np.float64] = self.pixels / self.pixels.sum()
        return shares


def read_frame(data: DataSet, index: int, max_height: int | None) -> tuple[Pixels, Pixels]:
    """Decode one frame and shrink it where it is taller than `max_height`: images by area, labels by nearest pixel.

    Raises:
        SourceError: The frame cannot be used, or has no labels.
    """
    frame = data[index]
    if frame.truth is None:
        raise SourceError(f"Expected labels in split {data.split} of {data.name}, got none; name a split with labels.")
    height, width = frame.truth.shape
    if max_height is None or height <= max_height:
        return frame.rgb, frame.truth
    size = (max(1, round(width * max_height / height)), max_height)
    rgb = cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA)
    # INTER_NEAREST would pick the upper left of each block, half a block away from what the image shows.
    truth = cv2.resize(frame.truth, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return rgb.astype(np.uint8, copy=False), truth.astype(np.uint8, copy=False)


def count_classes(data: DataSet, max_height: int | None, workers: int) -> ClassFrequencies:
    """Decode every frame once and count its pixels, so that no bad file stops a run later.

    Raises:
        SourceError: A frame cannot be used, or no pixel of the split has a class.
    """

    def count(index: int) -> tuple[npt.NDArray[np.int64], tuple[int, int]]:
        _, labels = read_frame(data, index, max_height)
        return np.bincount(labels.ravel(), minlength=VOID + 1), (labels.shape[1], labels.shape[0])

    pixels = np.zeros(VOID + 1, np.int64)
    sizes: Counter[tuple[int, int]] = Counter()
    for counts, size in _map_in_threads(count, len(data), workers):
        pixels += counts
        sizes[size] += 1
    pixels = pixels[: len(data.class_set)]
    if not pixels.sum():
        raise SourceError(f"Expected labeled pixels in split {data.split} of {data.name}, got void alone.")
    return ClassFrequencies(pixels, sizes)


def fits_memory(frames: int, size: tuple[int, int] | None, device: torch.device, processes: int) -> bool:
    """Tell whether frames of one size fit into half of the memory that is free, in each of the processes here."""
    if size is None:
        return False
    free = (
        torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available / processes
    )
    return frames * size[0] * size[1] * 4 <= _MEMORY_SHARE * free


def load_frames(
    data: DataSet,
    size: tuple[int, int],
    max_height: int | None,
    seed: int,
    device: torch.device,
    workers: int,
    trained_on: bool,
) -> MemoryFrames:
    """Read a whole split, whose frames have one size, into the device's memory.

    Raises:
        TrainingError: The memory does not hold them.
    """
    classes = len(data.class_set)
    images, labels = _allocate_frames(len(data), size, device)

    def read(index: int) -> ClassPixelSamples | None:
        image, truth = read_frame(data, index, max_height)
        images[index], labels[index] = torch.from_numpy(image), torch.from_numpy(truth)
        return _pixel_samples(truth, classes, seed, index) if trained_on else None

    pixel_samples = tuple(part for part in _map_in_threads(read, len(data), workers) if part is not None)
    return MemoryFrames(images, labels, pixel_samples)


def render_streets(
    recipe: Synthetic, class_set: ClassSet, size: tuple[int, int], seed: int, device: torch.device, workers: int
) -> MemoryFrames:
    """Render the synthetic frames that a recipe asks for.

    Args:
        recipe: Which streets and frames.
        class_set: The data set's; the streets know CamVid's classes alone.
        size: (width, height) of the frames, pixels.
        seed: Of the pixel samples.
        device: Where the frames shall lie.
        workers: Processes that render.

    Raises:
        ParameterError: The class set is another one.
    """
    if class_set.names != CAMVID.names:
        raise ParameterError(
            f"Expected the classes of camvid for synthetic frames, got those of {class_set.name}; "
            "set synthetic: null in the recipe."
        )
    seeds = range(recipe.first_seed, recipe.first_seed + recipe.streets)
    indices = tuple(range(0, recipe.frames * recipe.every, recipe.every))
    tasks = [(street, size, indices) for street in seeds]
    if workers > 1 and len(tasks) > workers:
        with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
            drives = list(pool.map(_render, tasks))
    else:
        drives = [_render(task) for task in tasks]
    images = np.concatenate([images for images, _ in drives])
    labels = np.concatenate([labels for _, labels in drives])
    # Another seed than the real frames' of the same number.
    pixel_samples = tuple(_pixel_samples(part, len(class_set), seed + 1, index) for index, part in enumerate(labels))
    return MemoryFrames(torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device), pixel_samples)


def default_workers() -> int:
    """Return how many processes or threads this process may well use."""
    return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _allocate_frames(frames: int, size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return memory for images (N, H, W, 3) and labels (N, H, W), uint8."""
    width, height = size
    try:
        images = torch.empty((frames, height, width, 3), dtype=torch.uint8, device=device)
        return images, torch.empty((frames, height, width), dtype=torch.uint8, device=device)
    except RuntimeError as error:
        # A GPU's is a torch.cuda.OutOfMemoryError, a CPU's a plain RuntimeError.
        raise TrainingError(
            f"Expected {frames} frames of {width}x{height} ({frames * width * height * 4 / 1e9:.1f} GB) to fit into "
            f"the memory of {device}, got too little; take --frames disk."
        ) from error


def _render(task: tuple[int, tuple[int, int], Sequence[int]]) -> tuple[Pixels, Pixels]:
    seed, size, indices = task
    street = Street(seed, size)
    images, labels = zip(*(street.frame(index) for index in indices), strict=True)
    return np.stack(images), np.stack(labels)


def _pixel_samples(labels: Pixels, classes: int, seed: int, index: int) -> ClassPixelSamples:
    return sample_class_pixels(labels, classes, np.random.default_rng((seed, index)))


def _map_in_threads(work: Callable[[int], T], count: int, workers: int) -> Iterator[T]:
    """Yield `work(0)`, `work(1)`, ... in order; OpenCV decodes outside Python's lock.

    Few at a time: what is yielded may be large.
    """
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for begin in range(0, count, _WINDOW):
            yield from pool.map(work, range(begin, min(count, begin + _WINDOW)))
