"""Frames to train on: all in the device's memory, or read from the disk when they are needed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import psutil
import torch
from torch import Tensor

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import ParameterError, SourceError, TrainingError
from erfnet_ros.data.datasets import DataSet
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.training.config.recipe import Synthetic
from erfnet_ros.training.data.augmentation import ClassPixelSamples, sample_class_pixels

T = TypeVar("T")

_MEMORY_SHARE = 0.5
"""Share of the free memory that frames may take: the network needs some too."""

_WINDOW = 32


@dataclass(frozen=True)
class FrameOptions:
    """How frames are read.

    Attributes:
        device: Where the network is trained.
        max_height: Taller frames are shrunk to this height, pixels; None keeps them.
        seed: Of the class pixel samples.
        place: memory, disk, or auto: memory where the frames have one size and fit.
        workers: Threads or processes that read and render.
        processes: Processes on this machine that train together.
    """

    device: torch.device
    max_height: int | None = None
    seed: int = 1
    place: str = "auto"
    workers: int = 1
    processes: int = 1


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
        """Return the samples of one frame, whose `labels` are not needed here."""
        return self.pixel_samples[index]


@dataclass(frozen=True)
class DiskFrames:
    """Frames of one (width, height), or of several, that are decoded each time they are needed."""

    data: DataSet
    size: tuple[int, int] | None
    options: FrameOptions

    def __len__(self) -> int:
        return len(self.data)

    def pixels(self, index: int) -> tuple[Pixels, Pixels]:
        """Return image (H, W, 3) and labels (H, W) of one frame."""
        return read_frame(self.data, index, self.options.max_height)

    def pixel_samples_in(self, index: int, labels: Pixels) -> ClassPixelSamples:
        """Return where one frame's classes are, found in its `labels`, which takes as long as to cut a crop."""
        random = np.random.default_rng((self.options.seed, index))
        return sample_class_pixels(labels, len(self.data.class_set), random)


TrainingFrames = MemoryFrames | DiskFrames


@dataclass(frozen=True)
class ClassFrequencies:
    """Number of pixels of each class in a split, and sizes of its frames.

    Attributes:
        pixels: (C,) int64, void left out.
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

    @property
    def rare_classes(self) -> list[int]:
        """Ids of the classes that have some pixels, and fewer than the median class."""
        rare: list[int] = np.flatnonzero((self.pixels > 0) & (self.pixels < np.median(self.pixels))).tolist()
        return rare


def read_frame(data: DataSet, index: int, max_height: int | None) -> tuple[Pixels, Pixels]:
    """Decode one frame and shrink it where it is taller than `max_height`: images by area, labels by nearest pixel."""
    frame = data[index]
    if frame.ground_truth is None:
        raise SourceError(f"Expected labels in split {data.split} of {data.name}, got none; name a split with labels.")
    height, width = frame.ground_truth.shape
    if max_height is None or height <= max_height:
        return frame.rgb, frame.ground_truth
    size = (max(1, round(width * max_height / height)), max_height)
    rgb = cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA)
    # INTER_NEAREST would pick the upper left of each block, half a block away from what the image shows.
    ground_truth = cv2.resize(frame.ground_truth, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return rgb.astype(np.uint8, copy=False), ground_truth.astype(np.uint8, copy=False)


def count_classes(data: DataSet, options: FrameOptions) -> ClassFrequencies:
    """Decode every frame once and count its pixels, so that no bad file stops a run later."""

    def count(index: int) -> tuple[npt.NDArray[np.int64], tuple[int, int]]:
        _, labels = read_frame(data, index, options.max_height)
        return np.bincount(labels.ravel(), minlength=VOID + 1), (labels.shape[1], labels.shape[0])

    pixels = np.zeros(VOID + 1, np.int64)
    sizes: Counter[tuple[int, int]] = Counter()
    for counts, size in _map_in_threads(count, len(data), options.workers):
        pixels += counts
        sizes[size] += 1
    pixels = pixels[: len(data.class_set)]
    if not pixels.sum():
        raise SourceError(f"Expected labeled pixels in split {data.split} of {data.name}, got void alone.")
    return ClassFrequencies(pixels, sizes)


def open_frames(
    data: DataSet, size: tuple[int, int] | None, options: FrameOptions, *, sample_pixels: bool = True
) -> TrainingFrames:
    """Read a split of one (width, height), pixels, into memory, or leave it on the disk, as `options` say.

    Splits of several sizes, for which `size` is None, stay on the disk. Only training needs class pixel samples.

    Raises:
        ParameterError: Frames of several sizes cannot be kept in memory.
        TrainingError: The memory is too small for them.
    """
    if options.place == "memory" and size is None:
        raise ParameterError(
            f"Expected frames of one size in split {data.split} of {data.name} to keep them in memory, got several; "
            "use --frames disk."
        )
    if size is not None and (
        options.place == "memory" or (options.place == "auto" and _fits_memory(len(data), size, options))
    ):
        return _load_frames(data, size, options, sample_pixels=sample_pixels)
    return DiskFrames(data, size, options)


def _fits_memory(frames: int, size: tuple[int, int], options: FrameOptions) -> bool:
    """Tell whether frames fit into half of the memory that is free, in each of the processes here."""
    if options.device.type == "cuda":
        free = torch.cuda.mem_get_info(options.device)[0]
    else:
        free = psutil.virtual_memory().available // options.processes
    return frames * size[0] * size[1] * 4 <= _MEMORY_SHARE * free


def _load_frames(data: DataSet, size: tuple[int, int], options: FrameOptions, *, sample_pixels: bool) -> MemoryFrames:
    width, height = size
    try:
        images = torch.empty((len(data), height, width, 3), dtype=torch.uint8, device=options.device)
        labels = torch.empty((len(data), height, width), dtype=torch.uint8, device=options.device)
    except RuntimeError as error:
        # A GPU's is a torch.cuda.OutOfMemoryError, a CPU's a plain RuntimeError.
        raise TrainingError(
            f"Expected {len(data)} frames of {width}x{height} ({len(data) * width * height * 4 / 1e9:.1f} GB) to fit "
            f"into the memory of {options.device}, got too little; use --frames disk."
        ) from error

    def read(index: int) -> ClassPixelSamples | None:
        image, ground_truth = read_frame(data, index, options.max_height)
        images[index], labels[index] = torch.from_numpy(image), torch.from_numpy(ground_truth)
        random = np.random.default_rng((options.seed, index))
        return sample_class_pixels(ground_truth, len(data.class_set), random) if sample_pixels else None

    samples = tuple(part for part in _map_in_threads(read, len(data), options.workers) if part is not None)
    return MemoryFrames(images, labels, samples)


def render_streets(synthetic: Synthetic, size: tuple[int, int], options: FrameOptions) -> MemoryFrames:
    """Render the synthetic frames, with CamVid's classes, that a recipe asks for, at a (width, height)."""
    seeds = range(synthetic.first_seed, synthetic.first_seed + synthetic.streets)
    indices = tuple(range(0, synthetic.frames * synthetic.every, synthetic.every))
    tasks = [(street, size, indices) for street in seeds]
    if options.workers > 1 and len(tasks) > options.workers:
        # Ctrl-C reaches all processes of a terminal; the workers end without a traceback.
        on_start = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        with ProcessPoolExecutor(options.workers, get_context("forkserver"), on_start) as pool:
            drives = list(pool.map(_render, tasks))
    else:
        drives = [_render(task) for task in tasks]
    images = np.concatenate([images for images, _ in drives])
    labels = np.concatenate([labels for _, labels in drives])
    samples = tuple(
        # Another seed than the real frames' of the same number.
        sample_class_pixels(part, len(CAMVID), np.random.default_rng((options.seed + 1, index)))
        for index, part in enumerate(labels)
    )
    return MemoryFrames(
        torch.from_numpy(images).to(options.device), torch.from_numpy(labels).to(options.device), samples
    )


def default_workers(processes: int) -> int:
    """Return how many workers each of the `processes` that train on this machine may use."""
    return max(1, min(16, len(os.sched_getaffinity(0)) // processes))


def _render(task: tuple[int, tuple[int, int], Sequence[int]]) -> tuple[Pixels, Pixels]:
    seed, size, indices = task
    street = Street(seed, size)
    images, labels = zip(*(street.frame(index) for index in indices), strict=True)
    return np.stack(images), np.stack(labels)


def _map_in_threads(work: Callable[[int], T], count: int, workers: int) -> Iterator[T]:
    """Yield `work(0)`, `work(1)`, ... in order, a few computed at a time, as what is yielded may be large."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for begin in range(0, count, _WINDOW):
            yield from pool.map(work, range(begin, min(count, begin + _WINDOW)))
