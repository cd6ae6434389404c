"""The harness measures the node alone: what others do to it must not be taken for its own doing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

import rclpy
from rclpy.context import Context
from sensor_msgs.msg import Image
from support.bag_samples import TOPIC, write_bag

from erfnet_ros.ros.harness.child_process import ProcessError
from erfnet_ros.ros.harness.harness import NodeHarness
from erfnet_ros.ros.harness.node_process import NodeConfig
from erfnet_ros.ros.harness.playback import Playback

DOMAIN = 1 + (os.getpid() + 33) % 101


def test_a_camera_that_still_publishes_to_a_running_node_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its images would take the node's time, and their drops would be counted as ours."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
    playback = Playback("player", "erfnet_ros.ros.harness.bag_player", (str(write_bag(tmp_path / "bag", 2)),), TOPIC)
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    camera = rclpy.create_node("camera", context=context)
    try:
        camera.create_publisher(Image, TOPIC, 1)
        with NodeHarness(NodeConfig(None), playback, ("mask", "statistics"), lambda index, arrival: None) as harness:
            with pytest.raises(ProcessError, match=f"Expected this replay alone to publish {TOPIC}, got 2 publishers"):
                harness.wait_until_ready()
            assert harness.node is None
            assert harness.player.length == 2
    finally:
        camera.destroy_node()
        rclpy.shutdown(context=context)
