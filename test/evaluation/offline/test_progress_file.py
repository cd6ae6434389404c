"""Progress file: resumed runs, compared with uninterrupted ones."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.evaluation_samples import (
    FRAMES,
    START_NS,
    Shot,
    combined,
    evaluated,
    scene,
    shots,
    timeless,
    work,
    write_bag,
)

from erfnet_ros.commands.cli import main
from erfnet_ros.evaluation.offline import evaluate_bag
from erfnet_ros.evaluation.offline.job import run_job
from erfnet_ros.evaluation.offline.progress_file import EVERY, FOLDER
from erfnet_ros.evaluation.results.result import Result

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 120
LONG = 2 * EVERY + 20
SMALL = (32, 24)


@pytest.fixture(scope="module")
def long_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag of tiny frames, all different."""
    rgb, ground_truth = scene()[0]
    content = []
    for index in range(LONG):
        time_ns = START_NS + index * 10_000_000
        moved = [np.ascontiguousarray(np.roll(part, index, 1)[:24, :32]) for part in (rgb, ground_truth)]
        content.append(Shot(time_ns, time_ns, time_ns, *moved))
    return write_bag(tmp_path_factory.mktemp("long") / "bag", content)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_ended_resumes_to_the_same_result(
    tmp_path: Path, long_bag: Path, capsys: pytest.CaptureFixture[str], end: signal.Signals
) -> None:
    command = [
        sys.executable,
        "-m",
        "erfnet_ros.commands",
        "evaluate-bag",
        str(long_bag),
        "-o",
        str(tmp_path / "killed"),
    ]
    command += ["--input-size", "32x24", "--precision", "fp32"]
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    progress = tmp_path / "killed" / FOLDER
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + DEADLINE_S
    while not list(progress.glob("*.json")):
        assert time.monotonic() < deadline
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            pytest.fail(f"it ended before it could be killed: {process.communicate()[1]}")
    process.send_signal(signal.SIGSTOP)
    assert main(["evaluate-bag", str(long_bag), "-o", str(tmp_path / "killed")]) == 2, "two runs in one folder"
    assert "another process writes" in capsys.readouterr().err
    process.send_signal(end)
    process.send_signal(signal.SIGCONT)
    told = process.communicate(timeout=DEADLINE_S)[1]
    assert process.returncode == (130 if end == signal.SIGINT else -signal.SIGKILL)
    assert end == signal.SIGKILL or "run the same command again to resume" in told
    assert not (tmp_path / "killed" / "result.json").exists(), "it was killed too late for this test"

    seen: list[int] = []
    resumed = run_job(work(long_bag, tmp_path / "killed", input_size=SMALL), lambda done, total: seen.append(done))
    assert EVERY <= seen[0] < LONG, "it began anew"
    whole = run_job(work(long_bag, tmp_path / "whole", input_size=SMALL))
    results = [combined([outcome], tmp_path / name) for name, outcome in (("killed", resumed), ("whole", whole))]
    assert timeless(results[0]) == timeless(results[1])
    pictures = [sorted((tmp_path / name / "frames").iterdir()) for name in ("killed", "whole")]
    assert [file.read_bytes() for file in pictures[0]] == [file.read_bytes() for file in pictures[1]]


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An output folder whose run stopped after 8 of 12 images, the last entry being after 6."""

    class StoppedError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 8:
            raise StoppedError

    monkeypatch.setattr(evaluate_bag, "EVERY", 3)
    bag = write_bag(tmp_path / "bag", shots())
    with pytest.raises(StoppedError):
        run_job(work(bag, tmp_path / "out"), stop)
    return tmp_path / "out"


def resumed_at(folder: Path, resumes: bool = True, **changes: object) -> tuple[int, Result]:
    """Evaluate again; return at which image it began, and the result."""
    seen: list[int] = []
    task = replace(work(folder.parent / "bag", folder, **changes), resumes=resumes)
    outcome = run_job(task, lambda done, total: seen.append(done))
    return seen[0], combined([outcome], folder)


def test_an_interrupted_run_goes_on_and_comes_to_the_same(tmp_path: Path, interrupted: Path) -> None:
    began, result = resumed_at(interrupted)
    assert began == 6
    assert timeless(result) == timeless(evaluated(tmp_path / "bag", tmp_path / "anew"))


def test_a_finished_bag_is_not_done_again(tmp_path: Path, interrupted: Path) -> None:
    resumed_at(interrupted)
    assert resumed_at(interrupted)[0] == FRAMES


def test_no_resume_begins_anew(interrupted: Path) -> None:
    assert resumed_at(interrupted, resumes=False)[0] == 0


OTHERS = ({"threshold": 0.5}, {"input_size": (48, 32)}, {"boundaries": True}, {"precision": "auto"})


@pytest.mark.parametrize("changes", OTHERS)
def test_other_options_begin_anew(interrupted: Path, changes: dict[str, object]) -> None:
    """Half a bag at one threshold and half at another would be a number of neither."""
    assert resumed_at(interrupted, **changes)[0] == 0


def test_another_content_of_the_bag_begins_anew(tmp_path: Path, interrupted: Path) -> None:
    shutil.rmtree(tmp_path / "bag")
    write_bag(tmp_path / "bag", [shots()[index] for index in (1, 0, *range(2, FRAMES))])
    assert resumed_at(interrupted)[0] == 0


@pytest.mark.parametrize("damage", ["", "{}", "null", "[]", '{"score": {}}'])
def test_a_damaged_progress_file_costs_time_and_not_the_result(tmp_path: Path, interrupted: Path, damage: str) -> None:
    (file,) = (interrupted / FOLDER).iterdir()
    file.write_text(damage)
    began, result = resumed_at(interrupted)
    assert began == 0
    assert timeless(result) == timeless(evaluated(tmp_path / "bag", tmp_path / "anew"))


def test_a_progress_file_with_a_damaged_score_begins_anew(interrupted: Path) -> None:
    (file,) = (interrupted / FOLDER).iterdir()
    content = json.loads(file.read_text())
    content["score"]["matrix"][0][0] = -1
    file.write_text(json.dumps(content))
    assert resumed_at(interrupted)[0] == 0
