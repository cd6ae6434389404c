"""Several bags at once, compared with one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.evaluation_samples import FRAMES, combined, shots, timeless, work, write_bag

from erfnet_ros.core.errors import BagError, EvaluationError
from erfnet_ros.evaluation.offline.dask_workers import run_here, run_on_dask, run_processes
from erfnet_ros.evaluation.offline.job import Job

THREADS = max(1, (os.cpu_count() or 1) // 2)
"""What `run_processes` gives to each of two processes: labels depend on it."""


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bags")
    return [write_bag(folder / name, part) for name, part in (("a", shots()[:5]), ("b", shots()[5:]))]


def works(bags: list[Path], folder: Path) -> list[Job]:
    return [replace(work(bag, folder), threads=THREADS) for bag in bags]


Calls = list[tuple[int, int, int]]


@pytest.fixture(scope="module")
def one_after_the_other(tmp_path_factory: pytest.TempPathFactory, bags: list[Path]) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("here")
    calls: Calls = []
    result = timeless(combined(run_here(works(bags, folder), lambda *call: calls.append(call)), folder))
    assert calls[0] == (0, 0, 5)
    assert calls[-1] == (1, FRAMES - 5, FRAMES - 5)
    return result


def test_two_processes_come_to_the_same_as_one(
    tmp_path: Path, bags: list[Path], one_after_the_other: dict[str, object]
) -> None:
    calls: Calls = []
    result = combined(run_processes(works(bags, tmp_path), 2, lambda *call: calls.append(call)), tmp_path)
    assert timeless(result) == one_after_the_other
    assert {bag for bag, _, _ in calls} == {0, 1}


def test_a_kept_segmenter_takes_the_threads_of_its_job(
    tmp_path: Path, bags: list[Path], one_after_the_other: dict[str, object]
) -> None:
    """Labels depend on the number of threads: a bag's figures must not depend on what ran before it."""
    torch.set_num_threads(THREADS + 1)
    assert timeless(combined(run_here(works(bags, tmp_path), lambda *call: None), tmp_path)) == one_after_the_other


def test_what_stops_a_bag_in_a_process_is_told_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"missing', which does not exist"):
        run_processes(works([tmp_path / "missing"], tmp_path), 1, lambda *call: None)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A real scheduler with a worker, reached over TCP."""
    distributed = pytest.importorskip("distributed", reason="needs Dask")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, protocol="tcp", host="127.0.0.1"
    ) as local:
        yield local.scheduler_address


def test_a_dask_cluster_comes_to_the_same(
    tmp_path: Path, bags: list[Path], cluster: str, one_after_the_other: dict[str, object]
) -> None:
    calls: Calls = []
    result = combined(run_on_dask(works(bags, tmp_path), cluster, lambda *call: calls.append(call)), tmp_path)
    assert timeless(result) == one_after_the_other
    assert sorted(calls) == [(0, 5, 5), (1, FRAMES - 5, FRAMES - 5)]


def test_what_stops_a_bag_on_a_cluster_is_told_in_its_own_words(tmp_path: Path, bags: list[Path], cluster: str) -> None:
    with pytest.raises(BagError, match=r"missing', which does not exist"):
        run_on_dask(works([*bags, tmp_path / "missing"], tmp_path), cluster, lambda *call: None)


def test_a_cluster_that_is_not_there_is_an_error_in_words(
    tmp_path: Path, bags: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="needs Dask")
    monkeypatch.setattr("erfnet_ros.evaluation.offline.dask_workers._CONNECT_S", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(EvaluationError, match=f"Expected a Dask scheduler at '{address}'"):
            run_on_dask(works(bags, tmp_path), address, lambda *call: None)
