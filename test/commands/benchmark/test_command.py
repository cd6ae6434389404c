"""`erfnet benchmark`: measured engines, and what is said of engines that cannot be measured."""

from __future__ import annotations

import json
import platform
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from erfnet_ros.commands.benchmark import command, hardware_limits
from erfnet_ros.commands.benchmark.candidates import Candidate, Opened, choose
from erfnet_ros.commands.benchmark.command import camera_sizes, make_parser, node_minutes
from erfnet_ros.commands.benchmark.hardware_limits import best_of, measure_limits
from erfnet_ros.commands.benchmark.interleaved_runs import make_rows, run_interleaved
from erfnet_ros.commands.benchmark.network_only import networks_alone
from erfnet_ros.commands.benchmark.startup_time import measure_startup, used_gpu_memory_mb
from erfnet_ros.commands.benchmark.statistics import (
    AUTHORS,
    NETWORK,
    Limits,
    Machine,
    Report,
    Times,
    Unavailable,
    Workload,
    times,
)
from erfnet_ros.commands.benchmark.tables import as_text
from erfnet_ros.commands.benchmark.workloads import Setup, make_workloads, network_macs, read_frames
from erfnet_ros.core.errors import EngineError, ErfnetError, ParameterError
from erfnet_ros.inference.device import has_bf16_units
from erfnet_ros.inference.engine import EngineRequest
from erfnet_ros.inference.factory import open_engine
from erfnet_ros.inference.pytorch import engine as pytorch_engine
from erfnet_ros.models import checkpoint as checkpoints
from erfnet_ros.models.checkpoint import Checkpoint

SIZE = (96, 64)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the shipped weights, as if they had been trained at a small size."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    checkpoints.save(replace(checkpoints.load(), input_size=SIZE), path)
    return path


@pytest.fixture(scope="module")
def measured(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run's files."""
    folder = tmp_path_factory.mktemp("run")
    arguments = ["--quick", "--sizes", "96x64", "--engines", "pytorch:fp32,pytorch:fp16", "--device", "cpu"]
    files = ["--json", f"{folder}/run.json", "--markdown", f"{folder}/run.md", "--plot", f"{folder}/run.png"]
    files += ["--report", f"{folder}/report.md"]
    assert command.main([*arguments, "--checkpoint", str(weights), *files]) == 0
    return folder


def test_the_original_code_is_row_one_and_all_others_are_compared_with_it(measured: Path) -> None:
    first, second = json.loads((measured / "run.json").read_text())["rows"]
    assert (first["engine"], first["precision"], first["speedup"]) == ("authors", "fp32", 1.0)
    assert (second["engine"], second["precision"], second["device"]) == ("pytorch", "fp32", "cpu")
    assert second["speedup"] == pytest.approx(first["times"]["p50"] / second["times"]["p50"])
    assert second["times"]["runs"] == 3
    assert second["agreement"] == 1.0
    assert 0 < second["share"] < 1.5


def test_the_json_says_where_the_figures_come_from(measured: Path) -> None:
    report = json.loads((measured / "run.json").read_text())
    assert report["machine"]["software"]["torch"] == torch.__version__
    assert report["limits"]["gmac_s"].keys() >= ({"fp32", "bf16"} if has_bf16_units() else {"fp32"})
    assert report["workloads"][0]["network"] == [96, 64]
    assert report["frames"] == "synthetic"


def test_the_point_cloud_of_each_camera_size_is_timed(measured: Path) -> None:
    (cloud,) = json.loads((measured / "run.json").read_text())["clouds"]
    assert (cloud["camera"], cloud["times"]["runs"]) == ([96, 64], 3)
    assert f"{cloud['times']['p50']:.1f} ms" in (measured / "run.md").read_text().split("labeled point cloud")[1]


def test_an_engine_that_cannot_run_is_listed_with_the_reason(measured: Path) -> None:
    """A missing row would look like an engine that nobody thought of."""
    (missing,) = json.loads((measured / "run.json").read_text())["unavailable"]
    assert (missing["engine"], missing["precision"]) == ("pytorch", "fp16")
    assert "longer than in fp32" in missing["reason"]
    assert "pytorch fp16: not available: " in (measured / "run.md").read_text()


def test_precisions_that_lack_the_same_share_a_line() -> None:
    """Sixteen lines of the same sentence would hide the one that matters."""
    missing = [Unavailable("onnxruntime", name, f"'{name}' is not computed") for name in ("fp16", "bf16")]
    where = Machine("processor", 2, "", "", 0.0, {"torch": "2"})
    report = Report(where, Limits("cpu", 1.0, {}), "synthetic", (), (), (), (), tuple(missing), ())
    assert as_text(report).endswith("onnxruntime fp16, bf16: not available: 'fp16', 'bf16' is not computed")


def test_what_an_engine_notes_is_said_once_beneath_the_tables(
    weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Times in plain layers look like a slow engine to whoever is not told."""
    monkeypatch.setattr(pytorch_engine, "fused_pipeline", lambda *_: (None, "they are somewhere else"))
    arguments = ["--quick", "--sizes", "96x64,64x48", "--engines", "pytorch:fp32", "--device", "cpu"]
    files = ["--json", f"{tmp_path}/run.json", "--markdown", f"{tmp_path}/run.md"]
    assert command.main([*arguments, "--checkpoint", str(weights), *files]) == 0
    (note,) = json.loads((tmp_path / "run.json").read_text())["notes"]
    assert (note["engine"], note["precision"]) == ("pytorch", "fp32")
    assert (tmp_path / "run.md").read_text().count(f"- pytorch fp32: {note['text']}\n") == 1


def test_the_markdown_has_a_line_for_each_row(measured: Path) -> None:
    text = (measured / "run.md").read_text()
    assert "| engine | median | p99 |" in text
    assert "| original PyTorch code, fp32 |" in text
    assert "| pytorch fp32 |" in text


def test_the_report_stands_alone_in_an_issue(measured: Path) -> None:
    """Figures of a machine that nobody here has are of use only with its driver, its clocks and its limits."""
    text = (measured / "report.md").read_text()
    assert text.startswith(f"## erfnet benchmark\n\n- system: {platform.system()}")
    assert f"torch {torch.__version__}" in text
    assert (measured / "run.md").read_text() in text
    run = json.loads((measured / "run.json").read_text())
    bound_ms = 1e3 * run["workloads"][0]["gmacs"] / run["limits"]["gmac_s"]["fp32"]
    assert re.search(rf"\| image 96x64, network sees the same \| [\d.]+ ms \| {bound_ms:.2f} ms", text)


def test_the_picture_has_bars_in_two_colors(measured: Path) -> None:
    picture = cv2.imread(str(measured / "run.png"))
    assert picture is not None
    for blue, green, red in ((0xC9, 0x63, 0x25), (0x0A, 0x60, 0xC2)):
        assert (picture == (blue, green, red)).all(-1).sum() > 1000


def test_times_are_median_99th_percentile_and_least() -> None:
    assert times([5.0]) == Times(5.0, 5.0, 5.0, 1)
    found = times([float(value) for value in range(1, 102)])
    assert found == Times(51.0, 100.0, 1.0, 101)


BATCH = np.zeros((1, 8, 8, 3), np.uint8)


def setup_of(batch: np.ndarray, checkpoint: Checkpoint | None = None) -> Setup:
    """Return a benchmark of one workload, which is a batch of images at the network's size."""
    workload = Workload(SIZE, SIZE, None, 1, 1.0)
    return Setup(checkpoint or checkpoints.load(), "cpu", [workload], [[batch]], lambda line: None)


def idle(engine: str, seen: list[str]) -> Candidate:
    run: Callable[[object], object] = lambda images: seen.append(engine)  # noqa: E731
    return Candidate(engine, "fp32", "cpu", 0, lambda images: images, run)


class HandsOver:
    """An engine on a GPU that gave up; made of its attributes, for there is no GPU to break."""

    name, precision, notes = "pytorch", "fp16", ("pytorch on cuda:0 failed, so pytorch on cpu goes on.",)

    def __init__(self, device: str) -> None:
        self.device = device

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images[..., 0], images[..., 1]

    def close(self) -> None:
        """Nothing is held."""


def test_an_engine_that_handed_over_meanwhile_is_not_measured_by_its_substitute() -> None:
    """The CPU's times would stand there as the GPU's."""
    engines = [(HandsOver(device), "pytorch", "fp16", "cuda:0") for device in ("cuda:0", "cpu")]
    (failed,) = Opened([], [], engines).failed()
    assert failed == Unavailable("pytorch", "fp16", "pytorch on cuda:0 failed, so pytorch on cpu goes on.")


def test_everybody_runs_once_a_round_in_changing_order() -> None:
    """Whoever always followed the same neighbor would be measured with its heat in the caches."""
    seen: list[str] = []
    values = run_interleaved(setup_of(BATCH), [idle(name, seen) for name in "abcd"], 4)
    assert [len(runs) for runs in values] == [4, 4, 4, 4]
    rounds = [seen[first : first + 4] for first in range(0, 16, 4)]
    assert all(sorted(turn) == list("abcd") for turn in rounds)
    assert len({tuple(turn) for turn in rounds}) > 1


def test_a_candidate_may_bring_a_clock_of_its_own() -> None:
    """A GPU tells what it was busy with; the wall's clock would add what launching takes."""
    seen: list[str] = []
    candidate = replace(idle("network alone", seen), clock=lambda work: work() or 0.7)
    assert run_interleaved(setup_of(BATCH), [candidate], 2) == [[0.7, 0.7]]
    assert seen == ["network alone"] * 2


def test_the_network_alone_has_a_table_of_its_own() -> None:
    """Among the engines, which do more, it would look like the fastest."""
    workload = Workload((640, 480), (480, 360), None, 1, 8.0)
    network = replace(idle(NETWORK, []), device="cuda:0", precision="fp16")
    limits = Limits("cuda:0", 10.0, {"fp16": 20_000.0})
    _, found = make_rows([workload], limits, [(network, [0.8], None), (idle(AUTHORS, []), [8.0], None)])
    assert (found.precision, found.times.p50, found.share) == ("fp16", 0.8, pytest.approx(0.5))
    where = Machine("processor", 2, "GPU", "", 0.0, {})
    text = as_text(Report(where, limits, "synthetic", (workload,), (), (found,), (), (), ()))
    assert re.search(r"network alone on cuda:0.*\n.*\n *image 640x480, .* fp16 +0\.80 ms +0\.80 ms +50 %", text)


def test_the_network_alone_is_measured_on_gpus_only(weights: Path) -> None:
    """A CPU's engine runs fused layers: the time of the plain ones would say nothing of it."""
    assert networks_alone(setup_of(BATCH, checkpoints.load(weights)), [idle("pytorch", [])]) == ([], [])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_the_network_alone_takes_less_than_all_of_it(weights: Path) -> None:
    setup = setup_of(np.zeros((1, SIZE[1], SIZE[0], 3), np.uint8), checkpoints.load(weights))
    engine = open_engine(EngineRequest(setup.checkpoint, "cuda", "fp16"), "pytorch")
    whole = Candidate("pytorch", "fp16", engine.device, 0, lambda images: images, engine)
    networks, missing = networks_alone(setup, [whole])
    assert not missing
    alone, around = (min(values) for values in run_interleaved(setup, [*networks, whole], 5))
    assert 0 < alone < around


def test_rows_know_speedup_rate_and_share() -> None:
    workload = Workload((100, 50), (100, 50), None, 2, 0.5)
    slow, fast = idle(AUTHORS, []), idle("pytorch", [])
    limits = Limits("cpu", 10.0, {"fp32": 100.0})
    rows = make_rows([workload], limits, [(fast, [20.0], 0.999), (slow, [80.0], None)])
    assert [row.engine for row in rows] == [AUTHORS, "pytorch"]
    assert (rows[1].speedup, rows[1].fps, rows[1].agreement) == (4.0, 100.0, 0.999)
    assert rows[1].share == pytest.approx(0.5)


def test_the_work_is_that_of_the_paper() -> None:
    """26.6 GMAC at 1024x512, counted by hand for 20 classes; a layer left out would make every share too small."""
    assert network_macs(20, (1024, 512)) / 1e9 == pytest.approx(26.8, abs=0.4)
    assert network_macs(11, (192, 128)) == 4 * network_macs(11, (96, 64))


def test_the_papers_size_is_also_measured_without_resizing() -> None:
    workloads = make_workloads(checkpoints.load(), [(640, 480), (1024, 512)], 1)
    assert [(workload.camera, workload.input_size) for workload in workloads] == [
        ((640, 480), None),
        ((1024, 512), None),
        ((1024, 512), (1024, 512)),
    ]
    assert workloads[2].network == (1024, 512)
    assert workloads[1].network[0] * workloads[1].network[1] < 200_000


def test_frames_come_in_batches_of_the_cameras_size(tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((40, 60, 3), 50 * index, np.uint8))
    workload = Workload((96, 64), (96, 64), None, 2, 1.0)
    batches = read_frames(str(tmp_path), checkpoints.load(), workload, number=2)
    assert [batch.shape for batch in batches] == [(2, 64, 96, 3)] * 2
    assert batches[1][1].max() == 100


def test_the_machines_limits_are_rates() -> None:
    limits = measure_limits(torch.device("cpu"), quick=True)
    assert limits.copy_gb_s > 0.1
    assert all(rate > 0.1 for rate in limits.gmac_s.values())
    again = Limits("cpu", 2.0, {"fp32": 5.0})
    assert best_of(again, Limits("cpu", 1.0, {"fp32": 7.0})) == Limits("cpu", 2.0, {"fp32": 7.0})


def test_fp32_has_the_rate_of_the_arithmetic_that_convolutions_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU they multiply in TF32; held against a rate without it, they would reach more than there is."""
    seen: list[bool] = []

    def least_s(work: Callable[[], object], device: torch.device) -> float:
        seen.append(torch.backends.cuda.matmul.allow_tf32)
        return 1.0

    monkeypatch.setattr(hardware_limits, "_least_s", least_s)
    measure_limits(torch.device("cpu"), quick=True)
    assert seen[1], "the first is the copy, the second fp32's product"
    assert not torch.backends.cuda.matmul.allow_tf32


def test_a_start_is_measured_cold_and_warm_in_processes_of_their_own(weights: Path) -> None:
    began_s = time.monotonic()
    start = measure_startup(weights, "pytorch", "fp32", device="cpu", size=SIZE)
    # Each begins with the import of PyTorch.
    assert min(start.warm_s, start.cold_s) > 0.1
    assert start.warm_s + start.cold_s < time.monotonic() - began_s
    assert start.memory_mb > 100
    assert start.gpu_memory_mb is None


def test_the_memory_is_that_of_the_gpu_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    used_mib = {torch.device("cuda", 0): 10, torch.device("cuda", 1): 700}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: ((1000 - used_mib[device]) << 20, 1000 << 20))
    assert used_gpu_memory_mb("cuda:1") == 700


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"first mask in a fresh process, got: .*nowhere\.safetensors"):
        measure_startup(tmp_path / "nowhere.safetensors", "pytorch", "fp32", device="cpu", size=SIZE)


def test_engines_are_chosen_by_word_with_or_without_precision() -> None:
    assert choose(["pytorch:fp32", "pytorch:fp32"]) == [("pytorch", "fp32")]
    assert {name for name, _ in choose([])} >= {"pytorch", "onnxruntime"}
    assert ("pytorch", "bf16") in choose(["pytorch"])
    with pytest.raises(ParameterError, match=r"Expected --engines to be of pytorch, .*, got 'caffe'"):
        choose(["caffe"])


def test_sizes_that_are_none_are_refused() -> None:
    assert camera_sizes("96x64, 640x480") == ((96, 64), (640, 480))
    with pytest.raises(ParameterError, match="different sizes such as 640x480,1920x1080, got '96x64,auto'"):
        camera_sizes("96x64,auto")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--minutes", "10"], "Expected --minutes with --node or --all, got --minutes 10 without"),
        (["--node", "--minutes", "-1"], "Expected --minutes from 0 to 1440, got -1"),
    ],
)
def test_minutes_are_those_of_the_node(arguments: list[str], expected: str) -> None:
    """Left unheard, they would look measured."""
    with pytest.raises(ParameterError, match=expected):
        node_minutes(make_parser().parse_args(arguments))
    assert node_minutes(make_parser().parse_args(["--node", "--minutes", "10"])) == 10


def test_a_place_for_files_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    """Not after five minutes of measuring."""
    with pytest.raises(ErfnetError, match=r"Expected a file in a folder that exists, got '.*nowhere/run\.json'"):
        command.main(["--quick", "--json", str(tmp_path / "nowhere" / "run.json")])
