"""The batch of each step. Seed and step alone decide it, so that a resumed run sees the same."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from erfnet_ros.training.config.schedule import Plan
from erfnet_ros.training.data.augmentation import Views, draw_view, warp
from erfnet_ros.training.data.frame_store import MemoryFrames, TrainingFrames

Batch = tuple[Tensor, Tensor, Tensor]
"""Images (N, 3, H, W) uint8, labels (N, H, W) uint8 with void 255, light (N, 4) float32; see `augmentation.relight`."""

_ORDER, _VIEW = 0, 1


@dataclass(frozen=True)
class Share:
    """Frames, and how many views of them each batch holds."""

    frames: TrainingFrames
    per_batch: int


@dataclass(frozen=True)
class Draw:
    """What decides the batches of a stage.

    Attributes:
        plan: The stage.
        seed: The recipe's seed.
        shares: What each batch is made of, in order.
        rarity: (C,) odds of each class to be the center of a view.
        rank: Which of `processes` this is: it makes every `processes`-th view of each batch.
        processes: How many processes train together.
    """

    plan: Plan
    seed: int
    shares: tuple[Share, ...]
    rarity: npt.NDArray[np.float64]
    rank: int = 0
    processes: int = 1

    def items(self, step: int) -> list[tuple[int, int, int]]:
        """Return (share, frame, number in the batch) of each view that this process makes at `step`."""
        found = []
        first = 0
        for number, share in enumerate(self.shares):
            for n in range(share.per_batch):
                if (first + n) % self.processes == self.rank:
                    epoch, place = divmod(step * share.per_batch + n, len(share.frames))
                    frame = _order(self.seed, self.plan.index, number, epoch, len(share.frames))[place]
                    found.append((number, int(frame), first + n))
            first += share.per_batch
        return found

    def random(self, step: int, item: int) -> np.random.Generator:
        """Return the source of chance of one view."""
        return np.random.default_rng((_VIEW, self.seed, self.plan.index, step, item))

    def view(self, step: int, item: tuple[int, int, int]) -> Batch:
        """Make one view, as a batch of one without its first axis."""
        share, frame, number = item
        phase = self.plan.phase(step)
        frames = self.shares[share].frames
        image, labels = frames.pixels(frame)
        spots = frames.spots_in(frame, labels) if phase.rare_share else None
        size = (labels.shape[1], labels.shape[0])
        view = draw_view(phase, size, spots, self.rarity, self.random(step, number))
        views = Views.of([view], [frame], torch.device("cpu"))
        images, truth = warp(torch.from_numpy(image)[None], torch.from_numpy(labels)[None], views, phase)
        return images[0], truth[0], views.light[0]

    def batch(self, step: int) -> Batch:
        """Make this process's views of a step where all frames are in memory, on the device that they lie on."""
        phase = self.plan.phase(step)
        items = self.items(step)
        # All shares have frames of one size, on one device.
        shares = [share.frames for share in self.shares if isinstance(share.frames, MemoryFrames)]
        size = shares[0].size
        drawn = [
            draw_view(phase, size, shares[share].spots[frame], self.rarity, self.random(step, n))
            for share, frame, n in items
        ]
        views = Views.of(drawn, [frame for _, frame, _ in items], shares[0].images.device)
        ends = [sum(which <= number for which, _, _ in items) for number in range(len(shares) - 1)]
        chosen = list(zip(shares, views.frames.tensor_split(ends), strict=True))
        images = torch.cat([frames.images[index] for frames, index in chosen])
        labels = torch.cat([frames.labels[index] for frames, index in chosen])
        return *warp(images, labels, views, phase), views.light


def batches(draw: Draw, first_step: Callable[[], int], workers: int) -> _MemoryBatches | DataLoader[Batch]:
    """Return an iterable over the batches from a step on to the stage's end.

    Args:
        draw: What decides them.
        first_step: Asked when the iteration begins: where the stage stands then.
        workers: Processes that decode and cut, where frames are not in memory.
    """
    if all(isinstance(share.frames, MemoryFrames) for share in draw.shares):
        return _MemoryBatches(draw, first_step)
    return DataLoader(
        _Views(draw),
        batch_sampler=_Steps(draw, first_step),
        num_workers=workers,
        worker_init_fn=_start_worker,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None,
    )


class _MemoryBatches:
    """Batches of frames in memory, each made when it is asked for."""

    def __init__(self, draw: Draw, first_step: Callable[[], int]) -> None:
        self._draw, self._first_step = draw, first_step

    def __iter__(self) -> Iterator[Batch]:
        for step in range(self._first_step(), self._draw.plan.steps):
            yield self._draw.batch(step)


class _Steps:
    """For each step the keys of its views."""

    def __init__(self, draw: Draw, first_step: Callable[[], int]) -> None:
        self._draw, self._first_step = draw, first_step

    def __iter__(self) -> Iterator[list[tuple[int, tuple[int, int, int]]]]:
        for step in range(self._first_step(), self._draw.plan.steps):
            yield [(step, item) for item in self._draw.items(step)]


class _Views(Dataset[Batch]):
    """Views by their keys."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw

    def __getitem__(self, key: tuple[int, tuple[int, int, int]]) -> Batch:
        return self._draw.view(*key)


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)
    # Ctrl-C reaches every process of the terminal, systemd's SIGTERM all of a service; the one that trains decides.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@lru_cache(maxsize=8)
def _order(seed: int, stage: int, share: int, epoch: int, frames: int) -> npt.NDArray[np.int64]:
    """Return in which order an epoch shows the frames."""
    return np.random.default_rng((_ORDER, seed, stage, share, epoch)).permutation(frames)
