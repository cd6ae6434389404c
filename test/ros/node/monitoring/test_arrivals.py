"""Arrival monitor: missing images, compared with a slow camera and a slow node."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from sensor_msgs.msg import Image
from support.live_node import Client, NodeProcess, client_of, image_message, running_node

from erfnet_ros.ros.node.camera import ArrivalMonitor
from erfnet_ros.ros.transport import PROFILE_VARIABLES, profile_variable

BUSY, IDLE_S = -float("inf"), 10.0


def after(numbers: range, period_s: float, idle_s: float) -> ArrivalMonitor:
    """Return a monitor that began at 0 s and got these images, the last after len(numbers) periods."""
    monitor = ArrivalMonitor(0.0)
    for place, number in enumerate(numbers, 1):
        info = {"publication_sequence_number": number, "publisher_gid": {"data": [7]}}
        monitor.arrived(info, place * period_s, idle_s)
    return monitor


def test_a_camera_that_sends_nothing_is_silent_after_two_seconds() -> None:
    monitor = after(range(30), 0.1, IDLE_S)
    assert monitor.silence_s(4.9, IDLE_S) == 0
    assert monitor.silence_s(5.1, IDLE_S) == pytest.approx(2.1)
    monitor.arrived({}, 5.2, IDLE_S)
    assert monitor.silence_s(5.3, IDLE_S) == 0


def test_a_frame_that_takes_long_is_no_silence() -> None:
    """The first frame of an engine may compile it; images wait in the reader meanwhile."""
    assert after(range(1), 0.1, IDLE_S).silence_s(30.0, BUSY) == 0
    assert after(range(1), 0.1, IDLE_S).silence_s(30.0, 0.05) == 0


def test_a_dead_camera_is_noticed_while_another_keeps_the_node_busy() -> None:
    monitor = after(range(30), 0.1, BUSY)
    monitor.nothing_waits(6.0)
    assert monitor.silence_s(6.5, BUSY) == pytest.approx(3.0)


def test_a_slow_camera_is_silent_after_three_of_its_periods() -> None:
    monitor = after(range(4), 5.0, IDLE_S)
    assert monitor.silence_s(34.0, IDLE_S) == 0
    assert monitor.silence_s(36.0, IDLE_S) == pytest.approx(16.0)


def test_images_that_get_lost_while_the_node_waits_for_them_are_counted() -> None:
    window = after(range(0, 120, 20), 0.6, 0.5).window(3.7)
    assert (window.received, window.missed, round(window.lost)) == (6, 95, 79)
    assert window.too_many_lost
    assert window.lost_percent == pytest.approx(100 * window.lost / 101)


def test_images_that_a_slow_node_leaves_out_are_replaced_not_lost() -> None:
    window = after(range(0, 120, 20), 0.6, 0.02).window(3.7)
    assert not window.too_many_lost
    assert window.replaced_percent == pytest.approx(100 * 95 / 101 - window.lost_percent)
    assert window.replaced_percent > 85


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    with running_node({"device": "cpu"}) as process:
        yield process


@pytest.fixture
def client(node: NodeProcess) -> Iterator[Client]:
    with client_of(node) as client:
        client.reach("active")
        client.listen("mask", Image)
        yield client


@pytest.mark.parametrize(
    "transports", [{}, {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}], ids=["default", "large data"]
)
def test_a_camera_that_sends_large_images_without_the_profile_is_told_which(
    client: Client, node: NodeProcess, transports: dict[str, str], tmp_path: Path
) -> None:
    """One of 102 full-HD images arrived, and the diagnostics said OK."""
    inherited = (*PROFILE_VARIABLES, "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
    environment = {name: value for name, value in os.environ.items() if name not in inherited}
    domain = {"ROS_DOMAIN_ID": str(node.domain)}
    command = [sys.executable, "-m", "erfnet_ros.ros.harness.file_camera", "--size", "1920x1080", "--frames", "3"]
    command += ["--rate", "15", "--reliability", "best_effort", "--loop"]
    with (tmp_path / "log").open("w") as log:
        camera = subprocess.Popen(command, env={**environment, **domain, **transports}, stdout=log, stderr=log)
        try:
            status = client.diagnosis(lambda s: "are lost on the way" in s.message, "a warning of the loss")
        finally:
            camera.terminate()
            camera.wait()
    assert status.level == b"\x01"
    assert f"start the camera with 'export {profile_variable()}=/" in status.message
    assert "which has a publisher" in node.log()


def test_a_camera_that_stops_is_told_within_seconds(client: Client) -> None:
    camera, masks = client.camera(), client.listen("mask", Image)
    client.send(camera, image_message(np.full((64, 96, 3), 90, np.uint8)), masks)
    first = client.diagnosis(lambda s: "No image for" in s.message, "the warning")
    # It was told after 20 s.
    assert 2 <= int(re.search(r"No image for (\d+) s", first.message)[1]) < 10
