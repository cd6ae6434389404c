"""Node harness: one node, undisturbed by other programs in its domain."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

import rclpy
from rclpy.context import Context
from sensor_msgs.msg import Image
from support.bag_samples import TOPIC, write_bag
from support.live_node import DEADLINE_S, running_node

from erfnet_ros.ros.harness.bag_player import MODULE
from erfnet_ros.ros.harness.child_process import ProcessError
from erfnet_ros.ros.harness.harness import NodeHarness
from erfnet_ros.ros.harness.node_process import NodeConfig
from erfnet_ros.ros.harness.playback import Playback

DOMAIN = 1 + (os.getpid() + 33) % 101
MASK = "/segmentation/mask"


@pytest.mark.parametrize(
    ("topics", "said"),
    [
        ([TOPIC], f"Expected this replay alone to publish {TOPIC}, got 2 publishers"),
        ([MASK, MASK], f"Expected one segmentation node in ROS_DOMAIN_ID {DOMAIN}, got 2, which all answer"),
    ],
)
def test_other_cameras_and_nodes_in_the_domain_are_an_error(
    topics: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their images would take the node's time, and their masks would be counted as its own."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
    playback = Playback("player", MODULE, (str(write_bag(tmp_path / "bag", 2)),), TOPIC)
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    other = rclpy.create_node("other", context=context)
    try:
        publishers = [other.create_publisher(Image, topic, 1) for topic in topics]
        with (
            NodeHarness(
                NodeConfig(None), playback, topics=("mask", "statistics"), keep=lambda index, arrival: None
            ) as harness,
            pytest.raises(ProcessError, match=said),
        ):
            harness.wait_until_ready()
        assert len(publishers) == len(topics)
    finally:
        other.destroy_node()
        rclpy.shutdown(context=context)


def test_a_second_node_that_starts_does_not_hide_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it loads, it publishes diagnostics of the same name that know no engine."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
    playback = Playback("player", MODULE, (str(write_bag(tmp_path / "bag", 2)),), TOPIC)
    node = NodeConfig({"engine": "pytorch", "device": "cpu", "precision": "fp32"}, tmp_path / "node.log")
    second = running_node({"autostart": False}, environment={"ROS_DOMAIN_ID": str(DOMAIN)})
    with (
        NodeHarness(node, playback, topics=("mask", "statistics"), keep=lambda index, arrival: None) as harness,
        second,
    ):
        harness.wait_until_ready()
        deadline = time.monotonic() + DEADLINE_S
        while harness.recorder.count_publishers("/diagnostics") < 2:
            assert time.monotonic() < deadline
            harness.settle_counts()
        # The two nodes publish in turns.
        for _ in range(4):
            harness.settle_counts()
            assert harness.recorder.engine() == "pytorch on cpu in fp32"
