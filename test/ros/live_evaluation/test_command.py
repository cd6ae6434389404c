"""`erfnet evaluate-bag --live`: the real node as its own process, a bag over real DDS."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

from support.erfnet_process import ErfnetProcess
from support.evaluation_samples import FRAMES, IMAGE_TOPIC, SETTINGS, SIZE, changed, evaluated, shots, write_bag
from support.live_node import running_node

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import ErfnetError
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.evaluation.inputs.bag_scan import scan_bag
from erfnet_ros.evaluation.results.frame_records import ANSWERED, REJECTED
from erfnet_ros.evaluation.results.result import LIVE, Result
from erfnet_ros.ros.live_evaluation.drop_reasons import LOST_AFTER, LOST_BEFORE, SKIPPED
from erfnet_ros.ros.live_evaluation.replay_run import playback_of

ENGINE = ("--input-size", f"{SIZE[0]}x{SIZE[1]}", "--engine", "pytorch", "--precision", "fp32")
Start = Callable[..., ErfnetProcess]

KEPT = 8
"""Images that are played slowly."""

SLOW_RATES = ("0.2", "0.05")
"""Of the bag's 10 Hz. A machine that is too busy for the first is given the second."""


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return write_bag(tmp_path / "bag", shots())


@pytest.fixture
def start(start_erfnet: Start) -> Start:
    return partial(start_erfnet, "evaluate-bag", "--live")


def accounted(result: Result) -> Counter[str]:
    """Return the images by what became of them, and check that none is missing or counted twice."""
    told = Counter(record.outcome for record in result.records)
    assert [record.index for record in result.records] == list(range(result.frames.images))
    assert told == {
        name: count for name in ("answered", "dropped", "rejected") if (count := getattr(result.frames, name))
    }
    assert result.frames.images == result.frames.answered + result.frames.dropped + result.frames.rejected
    for record in result.records:
        assert (record.latency_ms is None, record.reason is None) == (
            record.outcome != ANSWERED,
            record.outcome == ANSWERED,
        )
    return told


def test_at_a_pace_that_the_node_keeps_up_with_the_score_is_that_of_the_offline_evaluation(
    start: Start, tmp_path: Path
) -> None:
    """One image is broken: both count it as rejected, and score all others."""
    bag = write_bag(tmp_path / "bag", changed(lambda index, shot: {"broken": index == 5})[:KEPT])
    for rate in SLOW_RATES:
        out = tmp_path / f"out_{rate}"
        live = start(
            str(bag), "-o", str(out), "--rate", rate, *ENGINE, "--output-bag", "--require", "dropped<=0 miou>0"
        )
        status, output = live.finish()
        live.assert_nothing_is_left()
        result = Result.read(out)
        if not result.frames.dropped:
            break
    assert (status, result.mode) == (0, LIVE), output
    offline = evaluated(bag, tmp_path / "offline")
    assert result.score is not None
    assert offline.score is not None
    assert (result.score.matrix == offline.score.matrix).all()
    assert result.miou == offline.miou
    # Whose last digits depend on the number of threads.
    assert result.score.calibration.error == pytest.approx(offline.score.calibration.error, abs=1e-5)
    assert result.temporal_consistency == offline.temporal_consistency
    assert accounted(result) == {"answered": KEPT - 1, "rejected": 1}
    assert result.records[5].outcome == REJECTED
    assert "refused by the node" in (result.records[5].reason or "")
    assert [record.miou for record in result.records] == [record.miou for record in offline.records]
    assert result.streaming_statistics is not None
    assert result.streaming_statistics.frames == KEPT
    assert_measured(result, float(rate))
    for name in ("report.html", "report.md", "node.log"):
        assert (out / name).is_file(), name
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []
    assert all((out / picture.file).is_file() for picture in result.pictures)
    with BagReader(out / "bags" / "bag") as reader:
        assert reader.topics["/segmentation/mask"].count == KEPT - 1


def assert_measured(result: Result, rate: float) -> None:
    """Look for every figure that only live mode has."""
    assert result.latency_ms is not None
    assert 0 < result.latency_ms.p50 <= result.latency_ms.p90 <= result.latency_ms.p99 <= result.latency_ms.max
    assert result.age_ms is not None
    # Between two images lie 100 ms of the bag: at its publication, the newest mask is of the image before or older.
    assert result.age_ms.p50 > 0.9 * 100 / rate
    assert result.jitter_ms is not None
    assert set(result.stages_ms) >= {"preprocess", "inference", "postprocess", "node", "harness"}
    assert result.stages_ms["node"].p50 < result.latency_ms.max
    assert result.usage is not None
    assert result.usage.cpu_percent > 0
    assert result.usage.memory_mb > 100
    assert result.provenance.rate == rate
    assert result.provenance.versions["middleware"]
    assert any("The measuring adds to it at most" in note for note in result.methods)


def test_at_a_pace_that_is_too_fast_drops_are_counted_and_lateness_costs_accuracy(start: Start, tmp_path: Path) -> None:
    """Twelve images within a fortieth of a second, in each of two bags of one run, raw ones and compressed ones."""
    bags = [write_bag(tmp_path / name, shots(), compressed=name == "second") for name in ("first", "second")]
    out = tmp_path / "out"
    live = start(*map(str, bags), "-o", str(out), "--rate", "50", *ENGINE, "--require", "dropped<=0.02 latency_max<60")
    status, output = live.finish()
    assert status == 1, output
    live.assert_nothing_is_left()
    assert "dropped<=0.02: failed" in output
    assert "latency_max<60: passed" in output
    result = Result.read(out)
    assert [bag.name for bag in result.bags] == ["first", "second"]
    counts = Counter(record.outcome for record in result.records)
    assert counts["dropped"] > 0
    assert counts["answered"] >= 2
    assert counts["answered"] + counts["dropped"] == len(result.records) == 2 * FRAMES
    assert result.frames.dropped == counts["dropped"]
    reasons = {record.reason for record in result.records if record.reason}
    assert SKIPPED in reasons
    assert reasons <= {SKIPPED, LOST_BEFORE, LOST_AFTER}
    assert any(f"Of {2 * FRAMES} images {counts['dropped']} were dropped" in note for note in result.notes)
    # Nothing queues: the newest image of each bag is always answered, and an image waits for the one before it at most.
    assert result.records[FRAMES - 1].outcome == result.records[-1].outcome == ANSWERED
    assert result.latency_ms is not None
    assert result.streaming_miou is not None
    assert result.miou is not None
    assert result.streaming_miou < result.miou
    content = json.loads((out / "result.json").read_text())
    assert content["dropped"] == counts["dropped"] / (2 * FRAMES)


def test_a_node_that_cannot_be_configured_is_said_in_one_message(start: Start, bag: Path, tmp_path: Path) -> None:
    live = start(str(bag), "-o", str(tmp_path / "out"), "--device", "cuda:77", *ENGINE)
    status, output = live.finish()
    assert status == 2
    assert "erfnet: error: The node is up, but: Not configured: Device 'cuda:77'" in output
    assert "Traceback" not in output
    live.assert_nothing_is_left()


def test_a_node_that_dies_ends_the_evaluation_with_its_last_lines(start: Start, bag: Path, tmp_path: Path) -> None:
    live = start(str(bag), "-o", str(tmp_path / "out"), "--rate", "0.05", *ENGINE)
    live.wait_for("Playing")
    os.kill(live.node(), signal.SIGKILL)
    status, output = live.finish()
    assert status == 2
    assert "The node ended by itself (signal SIGKILL). Its last lines:" in output
    assert f"Active: subscribes to {IMAGE_TOPIC}" in output
    assert "Traceback" not in output
    live.assert_nothing_is_left()
    assert not (tmp_path / "out" / "result.json").exists()


def test_ctrl_c_stops_everything_although_a_shell_started_it_in_the_background(
    start: Start, bag: Path, tmp_path: Path
) -> None:
    live = start(str(bag), "-o", str(tmp_path / "out"), "--rate", "0.05", *ENGINE, in_background=True)
    live.wait_for("Playing")
    live.process.send_signal(signal.SIGINT)
    status, output = live.finish()
    assert status == 130, output
    assert "erfnet evaluate-bag: interrupted; run the same command again" in output
    assert "Traceback" not in output
    live.assert_nothing_is_left()


def test_a_node_that_runs_already_is_used_and_left_alone(start: Start, bag: Path, tmp_path: Path) -> None:
    """It takes its images from a topic that the bag does not have: the images are played there."""
    parameters = {"input_size": f"{SIZE[0]}x{SIZE[1]}", "engine": "pytorch", "precision": "fp32"}
    parameters |= {"confidence_threshold": 0.5}
    with running_node(parameters, {"image": "/front/image"}) as node:
        live = start(
            str(bag), "-o", str(tmp_path / "out"), "--node-running", environment={"ROS_DOMAIN_ID": str(node.domain)}
        )
        status, output = live.finish()
        assert status == 0, output
        live.assert_nothing_is_left()
        assert node.process.poll() is None
        assert "on /front/image to pytorch on cpu in fp32" in output
    result = Result.read(tmp_path / "out")
    assert (result.provenance.input_size, result.provenance.threshold) == (parameters["input_size"], 0.5)
    assert result.provenance.engine == "pytorch"
    assert result.frames.images == FRAMES
    assert result.usage is not None
    assert result.usage.memory_mb > 100


def test_what_only_the_starter_of_the_node_can_choose_is_refused(start: Start, bag: Path, tmp_path: Path) -> None:
    live = start(str(bag), "-o", str(tmp_path / "out"), "--node-running", *ENGINE)
    status, output = live.finish()
    assert status == 2
    assert "Expected --node-running without --engine, --precision, --input-size" in output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"stamp_ns": 0, "ground_truth_stamp_ns": 0},
            "Expected stamps on the images of 'bag' for --live, got zero on all",
        ),
        ({"time_ns": 5}, "Expected times in the bag 'bag' to replay it by, got one time for all 12 images"),
    ],
)
def test_a_bag_that_cannot_be_replayed_is_refused(change: dict[str, int], said: str, tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", changed(lambda index, shot: change))
    with BagReader(bag) as reader:
        found = scan_bag(reader, SETTINGS, CAMVID)
    with pytest.raises(ErfnetError, match=said):
        playback_of(found, 1.0)


def test_a_wrong_option_is_said_in_one_line(start: Start, bag: Path, tmp_path: Path) -> None:
    status, output = start(str(bag), "-o", str(tmp_path / "out"), "--rate", "0").finish()
    assert status == 2
    assert output.startswith("erfnet: error: Expected a number above 0 and up to 1000 as --rate ")
    assert output.endswith(" got '0'.\n")
