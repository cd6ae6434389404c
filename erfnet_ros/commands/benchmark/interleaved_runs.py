"""Time everybody in turn: what else the machine does hits all alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from erfnet_ros.commands.benchmark.candidates import Contestant
from erfnet_ros.commands.benchmark.statistics import AUTHORS, Limits, NetworkAlone, Row, Setting, Times, times
from erfnet_ros.core.array_types import Pixels
from erfnet_ros.inference.pytorch.single_thread import on_own_thread
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.models.pipeline import Pipeline

_PAUSE_S = 0.02
"""Threads of one engine that still wait busily for more would slow down the next."""


def run_rounds(
    contestants: Sequence[Contestant],
    frames: Sequence[Sequence[Pixels]],
    rounds: int,
    say: Callable[[str], None],
) -> list[list[float]]:
    """Return the milliseconds of each contestant's runs; everybody runs once a round, in another order each time.

    Args:
        contestants: Who runs, warmed up.
        frames: For each setting, batches of images, taken one after another.
        rounds: How many runs each does.
        say: Takes a line on what is going on.
    """
    measured: list[list[float]] = [[] for _ in contestants]
    shuffler = random.Random(0)
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for index in shuffler.sample(range(len(contestants)), len(contestants)):
            contestant = contestants[index]
            batches = frames[contestant.setting]
            given = contestant.prepare(batches[number % len(batches)])
            time.sleep(_PAUSE_S)
            measured[index].append(contestant.clock(partial(contestant.run, given)))
    return measured


def agreements(
    contestants: Sequence[Contestant],
    checkpoint: Checkpoint,
    settings: Sequence[Setting],
    frames: Sequence[Sequence[Pixels]],
    say: Callable[[str], None],
) -> list[float | None]:
    """Return for each contestant the share of pixels on which it chooses the class that PyTorch chooses in fp32."""
    shares: list[float | None] = [None for _ in contestants]
    for number, setting in enumerate(settings):
        say(f"agreement with fp32 at {setting.camera[0]}x{setting.camera[1]}")
        pipeline = Pipeline(checkpoint, setting.input_size).eval()
        expected = [on_own_thread(_labels_in_fp32, pipeline, batch) for batch in frames[number]]
        for index, contestant in enumerate(contestants):
            if contestant.setting == number and contestant.engine != AUTHORS:
                answers = [_labels(contestant, batch) for batch in frames[number]]
                same = [float((labels == right).mean()) for labels, right in zip(answers, expected, strict=True)]
                shares[index] = float(np.mean(same))
    return shares


def _labels_in_fp32(pipeline: Pipeline, batch: Pixels) -> Pixels:
    with torch.inference_mode():
        labels: Pixels = pipeline(torch.from_numpy(batch))[0].numpy()
    return labels


def _labels(contestant: Contestant, batch: Pixels) -> Pixels:
    labels: Pixels = contestant.run(batch)[0]  # type: ignore[index]
    return labels


def make_rows(
    contestants: Sequence[Contestant],
    measured: Sequence[Sequence[float]],
    agreed: Sequence[float | None],
    settings: Sequence[Setting],
    limits: Limits,
) -> list[Row]:
    """Turn times into rows, by setting, the authors' way first and then the fastest."""
    figures = [times(values) for values in measured]
    authors = {
        contestant.setting: found.p50
        for contestant, found in zip(contestants, figures, strict=True)
        if contestant.engine == AUTHORS
    }
    rows = []
    for contestant, found, share in zip(contestants, figures, agreed, strict=True):
        setting = settings[contestant.setting]
        rows.append(
            Row(
                contestant.engine,
                contestant.precision,
                contestant.device,
                contestant.setting,
                found,
                authors[contestant.setting] / found.p50,
                1e3 * setting.batch / found.p50,
                _reached(found, setting, limits.gmac_s.get(contestant.precision)),
                share,
            )
        )
    return sorted(rows, key=lambda row: (row.setting, row.engine != AUTHORS, row.times.p50))


def make_networks(
    contestants: Sequence[Contestant],
    measured: Sequence[Sequence[float]],
    settings: Sequence[Setting],
    limits: Limits,
) -> list[NetworkAlone]:
    """Turn the times of `networks_alone` into figures, by setting, the fastest first."""
    found = []
    for contestant, values in zip(contestants, measured, strict=True):
        figures, rate = times(values), limits.gmac_s.get(contestant.precision)
        share = _reached(figures, settings[contestant.setting], rate)
        found.append(NetworkAlone(contestant.precision, contestant.device, contestant.setting, figures, share))
    return sorted(found, key=lambda network: (network.setting, network.times.p50))


def _reached(found: Times, setting: Setting, rate: float | None) -> float | None:
    """Return the share of a matrix rate (GMAC/s) that the median is, 0..1; None without one."""
    return None if rate is None else setting.batch * setting.gmacs / (found.p50 / 1e3) / rate
