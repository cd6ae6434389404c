"""The camera of files behaves as a driver does: encodings, stamps, calibration, rate."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from erfnet_ros.core.image import to_array
from erfnet_ros.core.image_decoding import compressed_to_array
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.ros.harness.child_process import child_environment

ROOT = Path(__file__).resolve().parents[3]
SIZE = (96, 72)
DOMAIN = 1 + (os.getpid() + 50) % 101
FRAMES = 6


class Viewer:
    """Subscribe to topics and collect what comes."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor, types: dict[str, Any]) -> None:
        self._executor = executor
        self.messages: dict[str, list[Any]] = {topic: [] for topic in types}
        for topic, message_type in types.items():
            node.create_subscription(message_type, topic, self.messages[topic].append, 10)

    def wait_for(self, count: int) -> None:
        """Spin until every topic has brought `count` messages."""
        deadline = time.monotonic() + 60
        while min(map(len, self.messages.values())) < count and time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.1)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Node, SingleThreadedExecutor]]:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = Node("viewer", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield node, executor
    executor.shutdown()
    node.destroy_node()
    context.shutdown()


def start_camera(*arguments: str) -> subprocess.Popen[str]:
    own = ["--size", "96x72", "--frames", str(FRAMES), "--wait", "60", "--rate", "10"]
    return subprocess.Popen(
        [sys.executable, "-m", "erfnet_ros.ros.harness.file_camera", *own, *arguments],
        cwd=ROOT,
        env=child_environment() | {"ROS_DOMAIN_ID": str(DOMAIN)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_raw_images_carry_the_sources_pixels_with_fresh_stamps(
    node: tuple[Node, SingleThreadedExecutor], encoding: str
) -> None:
    viewer = Viewer(*node, {"/camera/image_raw": Image, "/camera/camera_info": CameraInfo})
    camera = start_camera("--encoding", encoding, "--frame-id", "front")
    viewer.wait_for(FRAMES - 1)
    output = camera.communicate(timeout=60)[0]
    assert camera.returncode == 0, output
    assert f"Published {FRAMES} frames at " in output
    images, calibrations = viewer.messages.values()
    assert len(images) >= FRAMES - 1, output
    frames = [Street(0, SIZE).frame(index)[0] for index in range(FRAMES)]
    shown = [next(i for i, rgb in enumerate(frames) if np.array_equal(rgb, to_array(image))) for image in images]
    assert shown == list(range(shown[0], shown[0] + len(shown)))
    assert {image.encoding for image in images} == {encoding}
    assert {image.header.frame_id for image in images} == {"front"}
    stamps = [image.header.stamp.sec + image.header.stamp.nanosec / 1e9 for image in images]
    assert abs(stamps[-1] - time.time()) < 60
    assert np.diff(stamps).min() > 0
    assert (calibrations[-1].width, calibrations[-1].height) == SIZE
    assert calibrations[-1].header in [image.header for image in images]


def test_compressed_images_are_jpegs_of_the_source(node: tuple[Node, SingleThreadedExecutor]) -> None:
    viewer = Viewer(*node, {"/camera/image_raw/compressed": CompressedImage})
    camera = start_camera("--encoding", "jpeg")
    viewer.wait_for(FRAMES - 1)
    output = camera.communicate(timeout=60)[0]
    assert camera.returncode == 0, output
    message = viewer.messages["/camera/image_raw/compressed"][-1]
    assert "jpeg" in message.format
    street = Street(0, SIZE)
    frames = np.stack([street.frame(index)[0] for index in range(FRAMES)]).astype(int)
    assert np.abs(frames - compressed_to_array(message)).mean(axis=(1, 2, 3)).min() < 8


def test_a_topic_is_remapped_as_ros_arguments_say(node: tuple[Node, SingleThreadedExecutor]) -> None:
    viewer = Viewer(*node, {"/robot/front": Image})
    camera = start_camera("--ros-args", "-r", "image_raw:=/robot/front")
    viewer.wait_for(1)
    camera.communicate(timeout=60)
    assert viewer.messages["/robot/front"]


def test_a_camera_that_nobody_reads_says_so() -> None:
    camera = start_camera("--wait", "0.5")
    output = camera.communicate(timeout=60)[0]
    assert camera.returncode == 2
    assert "Expected a subscriber of /camera/image_raw within 0.5 s, got none" in output


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--rate", "0", "expected a rate above 0 and up to 1000 Hz, got '0'"),
        ("--rate", "nan", "expected a rate above 0 and up to 1000 Hz, got 'nan'"),
        (
            "--size",
            "wide",
            "Expected --size WIDTHxHEIGHT with sides of 16 to 4096 pixels, such as 1280x720; got 'wide'",
        ),
        ("--source", "nowhere", "nowhere"),
    ],
)
def test_bad_options_are_refused_with_their_value(option: str, value: str, message: str) -> None:
    camera = start_camera(option, value)
    output = camera.communicate(timeout=60)[0]
    assert camera.returncode == 2
    assert message in output
    assert "Traceback" not in output
