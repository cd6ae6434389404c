"""Batches: each depends on seed and step alone, so that a resumed run sees the same."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from erfnet_ros.training.config.schedule import Plan
from erfnet_ros.training.data.augmentation import CropBatch, draw_crop, warp
from erfnet_ros.training.data.frame_store import MemoryFrames, TrainingFrames
from erfnet_ros.training.data.unlabeled_frames import UnlabeledFrames

Batch = tuple[Tensor, Tensor, Tensor]
"""Images (N, 3, H, W) uint8, labels (N, H, W) uint8 with void 255, `Crop.color_jitter` (N, 9) float32."""

_ORDER, _VIEW = 0, 1

T = TypeVar("T")


@dataclass(frozen=True)
class BatchPart:
    """Frames, and how many crops of them each batch holds."""

    frames: TrainingFrames | UnlabeledFrames
    per_batch: int


@dataclass(frozen=True)
class BatchSampler:
    """Draws the batches of a stage.

    Attributes:
        parts: What each batch is made of, in order.
        sampling_weights: (C,) relative probability that a crop is centered on the class.
        rank: Which of `processes` this is: it makes every `processes`-th crop of each batch.
    """

    plan: Plan
    seed: int
    parts: tuple[BatchPart, ...]
    sampling_weights: npt.NDArray[np.float64]
    rank: int = 0
    processes: int = 1

    def items(self, step: int) -> list[tuple[int, int, int]]:
        """Return (part, frame, number in the batch) of each crop that this process makes at `step`."""
        found = []
        first = 0
        for number, part in enumerate(self.parts):
            for n in range(part.per_batch):
                if (first + n) % self.processes == self.rank:
                    epoch, place = divmod(step * part.per_batch + n, len(part.frames))
                    frame = _order((self.seed, self.plan.index, number, epoch), len(part.frames))[place]
                    found.append((number, int(frame), first + n))
            first += part.per_batch
        return found

    def keys(self, step: int) -> list[tuple[int, tuple[int, int, int]]]:
        """Return the step together with each of its `items`."""
        return [(step, item) for item in self.items(step)]

    def random(self, step: int, item: int) -> np.random.Generator:
        """Return the random number generator of one crop."""
        return np.random.default_rng((_VIEW, self.seed, self.plan.index, step, item))

    def crop(self, step: int, item: tuple[int, int, int]) -> Batch:
        """Make one crop, as a batch of one without its first axis."""
        part, frame, number = item
        phase = self.plan.phase(step)
        frames = self.parts[part].frames
        image, labels = frames.pixels(frame)
        pixel_samples = frames.pixel_samples_in(frame, labels) if phase.rare_class_fraction else None
        size = (labels.shape[1], labels.shape[0])
        crop = draw_crop(
            phase, size, samples=pixel_samples, weights=self.sampling_weights, random=self.random(step, number)
        )
        crops = CropBatch.of([crop], [frame], torch.device("cpu"))
        images, ground_truth = warp(
            torch.from_numpy(image)[None], torch.from_numpy(labels)[None], crops=crops, phase=phase
        )
        return images[0], ground_truth[0], crops.color_jitter[0]

    def batch(self, step: int) -> Batch:
        """Make this process's crops of a step where all frames are in memory, on the device that they lie on."""
        phase = self.plan.phase(step)
        items = self.items(step)
        # All parts have frames of one size, on one device.
        parts = [part.frames for part in self.parts if isinstance(part.frames, MemoryFrames)]
        size = parts[0].size
        drawn = [
            draw_crop(
                phase,
                size,
                samples=parts[part].pixel_samples[frame],
                weights=self.sampling_weights,
                random=self.random(step, n),
            )
            for part, frame, n in items
        ]
        crops = CropBatch.of(drawn, [frame for _, frame, _ in items], parts[0].images.device)
        ends = [sum(which <= number for which, _, _ in items) for number in range(len(parts) - 1)]
        chosen = list(zip(parts, crops.frames.tensor_split(ends), strict=True))
        images = torch.cat([frames.images[index] for frames, index in chosen])
        labels = torch.cat([frames.labels[index] for frames, index in chosen])
        return *warp(images, labels, crops=crops, phase=phase), crops.color_jitter


def batches(
    sampler: BatchSampler, first_step: Callable[[], int], workers: int, *, pin_memory: bool = False
) -> Iterable[Batch]:
    """Return an iterable over the batches from a step on to the stage's end.

    Args:
        sampler: Draws them.
        first_step: Called when the iteration begins.
        workers: Processes that decode and cut, where frames are not in memory.
        pin_memory: Whether a GPU trains, to which pinned memory is copied without waiting.
    """
    if all(isinstance(part.frames, MemoryFrames) for part in sampler.parts):
        return _Steps(sampler.batch, first_step, sampler.plan.steps)
    return DataLoader(
        _Crops(sampler),
        batch_sampler=_Steps(sampler.keys, first_step, sampler.plan.steps),
        num_workers=workers,
        worker_init_fn=_start_worker,
        pin_memory=pin_memory,
        prefetch_factor=4 if workers else None,
    )


class _Steps(Generic[T]):
    """What `make` returns for each step of a stage, made when it is requested."""

    def __init__(self, make: Callable[[int], T], first_step: Callable[[], int], end: int) -> None:
        self._make, self._first_step, self._end = make, first_step, end

    def __iter__(self) -> Iterator[T]:
        return map(self._make, range(self._first_step(), self._end))


class _Crops(Dataset[Batch]):
    """Crops by `BatchSampler.keys`."""

    def __init__(self, sampler: BatchSampler) -> None:
        self._sampler = sampler

    def __getitem__(self, key: tuple[int, tuple[int, int, int]]) -> Batch:
        return self._sampler.crop(*key)


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)
    # Ctrl-C reaches every process of the terminal, systemd's SIGTERM all of a service; the one that trains decides.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@lru_cache(maxsize=8)
def _order(epoch: tuple[int, ...], frames: int) -> npt.NDArray[np.int64]:
    """Return in which order an epoch, given by seed, stage, part and number, shows the frames."""
    return np.random.default_rng((_ORDER, *epoch)).permutation(frames)
