"""`erfnet benchmark` of node and transport, with real processes over real DDS."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

from support.erfnet_process import ErfnetProcess


def run(*arguments: str) -> tuple[int, str]:
    return ErfnetProcess("benchmark", *arguments).finish()


def test_transport_counts_images_with_and_without_the_profile(tmp_path: Path) -> None:
    status, output = run("--transport", "--seconds", "1", "--json", str(tmp_path / "figures.json"))
    assert status == 0, output
    report = json.loads((tmp_path / "figures.json").read_text())
    ours, plain = report["transport"]
    assert ours["sent"] == plain["sent"] == 60
    assert ours["received"] >= 45, output
    assert 0 < ours["transport_ms"]["p50"] <= ours["transport_ms"]["p99"]
    assert f"{ours['received']} / 60" in output
    assert set(report) == {"machine", "transport"}


def test_the_nodes_overhead_and_what_grows_with_time_are_measured(fast_checkpoint: Path, tmp_path: Path) -> None:
    """What grows by a little with each frame ends a robot's day."""
    json_file = tmp_path / "figures.json"
    files = ["--checkpoint", str(fast_checkpoint), "--json", str(json_file)]
    status, output = run("--node", "--frames", "4", "--minutes", "0.1", *files)
    assert status == 0, output
    report = json.loads(json_file.read_text())
    assert [(row["width"], row["height"], row["frames"]) for row in report["node"]] == [(640, 480, 4), (1920, 1080, 4)]
    for row in report["node"]:
        assert row["overhead_ms"]["p50"] > 0
        assert row["overhead_ms"]["p50"] + row["inference_ms"]["p50"] < 1.5 * row["latency_ms"]["p99"]
    assert report["machine"]["processor"] in output
    over_time = report["endurance"]
    assert over_time["sent"] == 90
    assert 10 <= over_time["answered"] <= 90
    assert len(over_time["memory_mb"]) == len(over_time["latency_ms"]) == 10
    assert all(50 < memory < 5000 for memory in over_time["memory_mb"])
    assert f"{over_time['memory_mb'][-1]:.0f} MB" in output


def test_a_missing_checkpoint_is_said_in_one_message(tmp_path: Path) -> None:
    status, output = run("--node", "--checkpoint", str(tmp_path / "nowhere.safetensors"))
    assert status == 2
    assert "nowhere.safetensors" in output
    assert "Traceback" not in output
