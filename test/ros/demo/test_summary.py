"""The demo's summary.json and printed lines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from erfnet_ros.evaluation.metrics.latency import LatencyStatistics
from erfnet_ros.ros.demo.summary import Summary
from erfnet_ros.ros.transport import profile_variable

SUMMARY = Summary(
    source="synthetic",
    frames_in=150,
    frames_out=150,
    passes=1,
    fps=15.012345,
    latency_ms=LatencyStatistics(40, 50, 60, 60, 50),
    latency_quarters_ms=(LatencyStatistics(40, 50, 60, 60, 50),) * 4,
    miou=0.55321,
    iou={"sky": 0.9, "fence": None},
    scored=150,
    engine="pytorch",
    device="cpu",
    precision="bf16",
    inference_ms=LatencyStatistics(35, 40, 45, 45, 40),
    rate_hz=15,
    camera_rate_hz=15,
    dropped=0,
    rejected=0,
    lost=0,
    stamps_mismatched=0,
    outputs={"mask": 150},
)


def test_summary_file_has_the_names_that_scripts_read(tmp_path: Path) -> None:
    SUMMARY.write(tmp_path / "summary.json")
    content = json.loads((tmp_path / "summary.json").read_text())
    assert content["frames_in"] == content["frames_out"] == 150
    assert content["fps"] == 15.0123
    assert content["latency_ms"] == {"p50": 40, "p90": 50, "p99": 60, "max": 60, "mean": 50}
    assert content["miou"] == 0.5532
    assert content["iou"] == {"sky": 0.9, "fence": None}
    assert (content["engine"], content["device"], content["precision"]) == ("pytorch", "cpu", "bf16")


def test_miou_is_null_without_ground_truth(tmp_path: Path) -> None:
    summary = replace(SUMMARY, miou=None, iou=None, scored=0)
    summary.write(tmp_path / "summary.json")
    assert json.loads((tmp_path / "summary.json").read_text())["miou"] is None
    assert "mIoU" not in "\n".join([*summary.lines(), summary.title()])


def test_a_run_that_kept_up_has_no_note() -> None:
    assert SUMMARY.limits() == []


def test_dropped_frames_are_blamed_on_the_engine_with_its_rate() -> None:
    (note,) = replace(SUMMARY, dropped=50, inference_ms=LatencyStatistics(100, 110, 120, 120, 110)).limits()
    assert "100 ms a frame (median), good for 10.0 Hz" in note
    assert "dropped 50" in note


def test_a_slow_camera_is_blamed_itself() -> None:
    (note,) = replace(SUMMARY, camera_rate_hz=9.0).limits()
    assert note.startswith("the camera reached 9.0 Hz of 15 Hz")


def test_lost_frames_point_at_the_transport() -> None:
    (note,) = replace(SUMMARY, lost=3).limits()
    assert "3 frames got lost" in note
    assert profile_variable() in note
