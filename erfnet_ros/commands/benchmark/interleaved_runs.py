"""Interleaved runs: candidates are timed in turns, so that other load on the machine affects all alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from erfnet_ros.commands.benchmark.candidates import Candidate
from erfnet_ros.commands.benchmark.statistics import AUTHORS, Limits, NetworkAlone, Row, Times, Workload, times
from erfnet_ros.core.array_types import Pixels
from erfnet_ros.inference.pytorch.cpu import on_single_thread
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.models.pipeline import Pipeline

_PAUSE_S = 0.02
"""Threads of one engine that still wait busily for more would slow down the next."""


def run_interleaved(
    candidates: Sequence[Candidate],
    frames: Sequence[Sequence[Pixels]],
    runs: int,
    say: Callable[[str], None],
) -> list[list[float]]:
    """Return the milliseconds of each candidate's runs; each runs once a round, in another order each time.

    Args:
        candidates: Engines, warmed up.
        frames: For each workload, batches of images, taken one after another.
        runs: Of each candidate.
        say: Called with each line of progress.
    """
    measured: list[list[float]] = [[] for _ in candidates]
    shuffler = random.Random(0)
    for number in range(runs):
        say(f"run {number + 1} of {runs}")
        for index in shuffler.sample(range(len(candidates)), len(candidates)):
            candidate = candidates[index]
            batches = frames[candidate.workload]
            given = candidate.prepare(batches[number % len(batches)])
            time.sleep(_PAUSE_S)
            measured[index].append(candidate.clock(partial(candidate.run, given)))
    return measured


def agreements(
    candidates: Sequence[Candidate],
    checkpoint: Checkpoint,
    workloads: Sequence[Workload],
    frames: Sequence[Sequence[Pixels]],
    say: Callable[[str], None],
) -> list[float | None]:
    """Return for each candidate the share of pixels on which it chooses the class that PyTorch chooses in fp32."""
    shares: list[float | None] = [None for _ in candidates]
    for number, workload in enumerate(workloads):
        say(f"agreement with fp32 at {workload.camera[0]}x{workload.camera[1]}")
        pipeline = Pipeline(checkpoint, workload.input_size).eval()
        expected = [on_single_thread(_labels_in_fp32, pipeline, batch) for batch in frames[number]]
        for index, candidate in enumerate(candidates):
            if candidate.workload == number and candidate.engine != AUTHORS:
                answers = [_labels(candidate, batch) for batch in frames[number]]
                same = [float((labels == right).mean()) for labels, right in zip(answers, expected, strict=True)]
                shares[index] = float(np.mean(same))
    return shares


def _labels_in_fp32(pipeline: Pipeline, batch: Pixels) -> Pixels:
    with torch.inference_mode():
        labels: Pixels = pipeline(torch.from_numpy(batch))[0].numpy()
    return labels


def _labels(candidate: Candidate, batch: Pixels) -> Pixels:
    labels: Pixels = candidate.run(batch)[0]  # type: ignore[index]
    return labels


def make_rows(
    candidates: Sequence[Candidate],
    measured: Sequence[Sequence[float]],
    agreed: Sequence[float | None],
    workloads: Sequence[Workload],
    limits: Limits,
) -> list[Row]:
    """Turn times into rows, by workload, the original PyTorch code first and then the fastest."""
    figures = [times(values) for values in measured]
    authors = {
        candidate.workload: found.p50
        for candidate, found in zip(candidates, figures, strict=True)
        if candidate.engine == AUTHORS
    }
    rows = []
    for candidate, found, share in zip(candidates, figures, agreed, strict=True):
        workload = workloads[candidate.workload]
        rows.append(
            Row(
                candidate.engine,
                candidate.precision,
                candidate.device,
                candidate.workload,
                found,
                authors[candidate.workload] / found.p50,
                1e3 * workload.batch / found.p50,
                _reached(found, workload, limits.gmac_s.get(candidate.precision)),
                share,
            )
        )
    return sorted(rows, key=lambda row: (row.workload, row.engine != AUTHORS, row.times.p50))


def make_networks(
    candidates: Sequence[Candidate],
    measured: Sequence[Sequence[float]],
    workloads: Sequence[Workload],
    limits: Limits,
) -> list[NetworkAlone]:
    """Turn the times of `networks_alone` into figures, by workload, the fastest first."""
    found = []
    for candidate, values in zip(candidates, measured, strict=True):
        figures, rate = times(values), limits.gmac_s.get(candidate.precision)
        share = _reached(figures, workloads[candidate.workload], rate)
        found.append(NetworkAlone(candidate.precision, candidate.device, candidate.workload, figures, share))
    return sorted(found, key=lambda network: (network.workload, network.times.p50))


def _reached(found: Times, workload: Workload, rate: float | None) -> float | None:
    """Return the share of a matrix rate (GMAC/s) that the median is, 0..1; None without one."""
    return None if rate is None else workload.batch * workload.gmacs / (found.p50 / 1e3) / rate
