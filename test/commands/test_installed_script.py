"""The installed `erfnet` script with worker processes, which import it again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.evaluation_samples import shots, write_bag
from support.small_datasets import make_camvid

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "erfnet"
"""The file that colcon installs under lib/ and bin/."""


def erfnet(*arguments: str | Path) -> str:
    """Run the script to its end and return what it wrote."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bags")
    return [write_bag(folder / name, part) for name, part in (("a", shots()[:2]), ("b", shots()[2:4]))]


def test_the_installed_script_is_this_one() -> None:
    installed = shutil.which("erfnet")
    if installed is None or "AMENT_PREFIX_PATH" not in os.environ:
        pytest.skip("needs the built workspace")
    assert Path(installed).read_bytes() == SCRIPT.read_bytes()


def test_it_trains_with_worker_processes_resumes_and_evaluates(tmp_path: Path) -> None:
    """Without a guard each worker starts the training again, and the run ends with a broken process pool."""
    pytest.importorskip("lightning", reason="needs Lightning (the extra 'training')")
    data, run, recipe = make_camvid(tmp_path / "camvid"), tmp_path / "run", tmp_path / "tiny.yaml"
    stage = {"name": "network", "part": "network", "phases": [{"steps": 2, "crop": [32, 24]}]}
    synthetic = {"per_batch": 1, "streets": 3, "frames": 1}
    recipe.write_text(yaml.safe_dump({"batch_size": 2, "synthetic": synthetic, "stages": [stage]}))
    train = ("train", "camvid", "--data", data, "--out", run, "--device", "cpu", "--workers", "2", "--frames", "disk")
    assert erfnet(*train, "--recipe", recipe).count("Reading the 4 frames") == 1
    checkpoint = run / "checkpoint.safetensors"
    trained = checkpoint.read_bytes()
    assert (run / "report.html").is_file()
    erfnet(*train, "--resume")
    assert checkpoint.read_bytes() == trained
    scores = tmp_path / "scores.json"
    erfnet("evaluate", "camvid", "--data", data, "--split", "val", "--checkpoint", checkpoint, "--json", scores)
    assert json.loads(scores.read_text())["frames"] == 2


def test_it_evaluates_bags_in_worker_processes(tmp_path: Path, bags: list[Path]) -> None:
    erfnet("evaluate-bag", *bags, "-o", tmp_path / "out", "--input-size", "96x72", "--jobs", "2")
    assert json.loads((tmp_path / "out" / "result.json").read_text())["frames"]["scored"] == 4


def test_it_evaluates_bags_on_a_dask_cluster(tmp_path: Path, bags: list[Path]) -> None:
    distributed = pytest.importorskip("distributed", reason="needs Dask")
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None, protocol="tcp") as cluster:
        address = cluster.scheduler_address
        erfnet("evaluate-bag", *bags, "-o", tmp_path / "out", "--input-size", "96x72", "--dask", address)
    assert json.loads((tmp_path / "out" / "result.json").read_text())["frames"]["scored"] == 4
