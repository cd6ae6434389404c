"""Interleaved runs: candidates are timed in turns, so that other load on the machine affects all alike."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import torch

from erfnet_ros.commands.benchmark.candidates import Candidate
from erfnet_ros.commands.benchmark.statistics import AUTHORS, NETWORK, Limits, Row, Workload, times
from erfnet_ros.commands.benchmark.workloads import Setup
from erfnet_ros.core.array_types import Pixels
from erfnet_ros.inference.pytorch.cpu import on_single_thread
from erfnet_ros.models.pipeline import Pipeline

_PAUSE_S = 0.02
"""Threads of one engine that still wait busily for more would slow down the next."""


def run_interleaved(setup: Setup, candidates: Sequence[Candidate], runs: int) -> list[list[float]]:
    """Return the milliseconds of each candidate's runs; each runs once a round, in another order each time.

    Args:
        candidates: Engines, warmed up; each takes the batches of its workload one after another.
    """
    measured: list[list[float]] = [[] for _ in candidates]
    shuffler = random.Random(0)
    for number in range(runs):
        setup.say(f"run {number + 1} of {runs}")
        for index in shuffler.sample(range(len(candidates)), len(candidates)):
            candidate = candidates[index]
            batches = setup.frames[candidate.workload]
            given = candidate.prepare(batches[number % len(batches)])
            time.sleep(_PAUSE_S)
            measured[index].append(candidate.clock(partial(candidate.run, given)))
    return measured


def agreements(setup: Setup, candidates: Sequence[Candidate]) -> list[float | None]:
    """Return for each candidate the share of pixels on which it chooses the class that PyTorch chooses in fp32."""
    shares: list[float | None] = [None for _ in candidates]
    for number, workload in enumerate(setup.workloads):
        setup.say(f"agreement with fp32 at {workload.camera[0]}x{workload.camera[1]}")
        pipeline = Pipeline(setup.checkpoint, workload.input_size).eval()
        expected = [on_single_thread(_labels_in_fp32, pipeline, batch) for batch in setup.frames[number]]
        for index, candidate in enumerate(candidates):
            if candidate.workload == number and candidate.engine not in (AUTHORS, NETWORK):
                answers = [_labels(candidate, batch) for batch in setup.frames[number]]
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
    workloads: Sequence[Workload], limits: Limits, runs: Iterable[tuple[Candidate, Sequence[float], float | None]]
) -> list[Row]:
    """Turn candidates, the milliseconds of their runs and their agreements into rows, by workload and then by median.

    The original PyTorch code comes first.
    """
    found = [(candidate, times(values_ms), agreement) for candidate, values_ms, agreement in runs]
    authors = {candidate.workload: own.p50 for candidate, own, _ in found if candidate.engine == AUTHORS}
    rows = []
    for candidate, own, agreement in found:
        workload, rate = workloads[candidate.workload], limits.gmac_s.get(candidate.precision)
        rows.append(
            Row(
                candidate.engine,
                candidate.precision,
                candidate.device,
                candidate.workload,
                own,
                speedup=authors[candidate.workload] / own.p50,
                fps=1e3 * workload.batch / own.p50,
                share=None if rate is None else workload.batch * workload.gmacs / (own.p50 / 1e3) / rate,
                agreement=agreement,
            )
        )
    return sorted(rows, key=lambda row: (row.workload, row.engine != AUTHORS, row.times.p50))
