"""What is found wrong with a camera and with the node's process; the camera is a real one, the time is given."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from support.live_node import DEADLINE_S, free_domain

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.inference.fallback import FallbackEngine
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.ros import diagnostic_keys as keys
from erfnet_ros.ros.node.camera import ArrivalMonitor, Camera
from erfnet_ros.ros.node.frame_scheduler import FrameScheduler
from erfnet_ros.ros.node.monitoring.findings import camera_findings, gpu_memory_mb, process_findings
from erfnet_ros.ros.node.parameters import Settings

NOW_S = 1000.0


@pytest.fixture(scope="module")
def scheduler() -> FrameScheduler:
    segmenter = Segmenter(device="cpu", input_size=(96, 64))
    return FrameScheduler(segmenter, Settings(), rclpy.logging.get_logger("test"))


@pytest.fixture
def camera(scheduler: FrameScheduler) -> Iterator[Camera]:
    """A camera to which the node has subscribed, as it is asked for masks."""
    rclpy.init(domain_id=free_domain())
    node, tester = LifecycleNode("segmenter", namespace="segmentation"), Node("tester")
    group = MutuallyExclusiveCallbackGroup()
    camera = Camera(node, "", class_set=CAMVID, compressed=False, group=group, scheduler=scheduler)
    node.trigger_configure()
    node.trigger_activate()
    volatile = tester.create_subscription(Image, "/segmentation/mask", lambda mask: None, 1)
    tester.create_publisher(Image, camera.topic, 1)
    end_s = time.monotonic() + DEADLINE_S
    while not (camera.publishers.wanted() and node.count_publishers(camera.topic)):
        assert time.monotonic() < end_s
    camera.update_subscription()
    assert volatile
    yield camera
    tester.destroy_node()
    node.destroy_node()
    rclpy.shutdown()


def receive(camera: Camera, numbers: range, idle_s: float = 0.0) -> None:
    """Let numbered images arrive, ten a second, the last one just now."""
    camera.arrivals = ArrivalMonitor(NOW_S - 10)
    for place, number in enumerate(numbers):
        info = {"publication_sequence_number": number, "publisher_gid": {"data": [7]}}
        camera.arrivals.arrived(info, NOW_S - 0.1 * (len(numbers) - 1 - place), idle_s)
    camera.received_s = NOW_S
    camera.stamp_ns = camera.node.get_clock().now().nanoseconds


def found(camera: Camera) -> dict[str, Any]:
    return {name: finding.fills for name, finding in camera_findings(camera, NOW_S)}


def test_a_camera_that_works_has_no_finding(camera: Camera) -> None:
    receive(camera, range(30))
    camera.confidence, camera.segmented_s = 0.9, NOW_S
    assert found(camera) == {}


def test_a_node_slower_than_the_camera_is_found(camera: Camera) -> None:
    receive(camera, range(0, 60, 2))
    assert found(camera)[keys.SLOW]["percent"] == pytest.approx(100 * 29 / 59)


def test_images_that_get_lost_are_not_blamed_on_the_node(camera: Camera) -> None:
    receive(camera, range(0, 600, 20), idle_s=10.0)
    assert list(found(camera)) == [keys.LOSS]


def test_a_scene_that_the_network_does_not_know_is_found(camera: Camera) -> None:
    receive(camera, range(30))
    camera.confidence, camera.segmented_s = 0.7, NOW_S
    assert found(camera)[keys.LOW_CONFIDENCE]["confidence"] == 0.7
    camera.segmented_s = NOW_S - 60
    assert found(camera) == {}, "nobody is told of a scene that passed long ago"


@pytest.mark.parametrize(
    ("stamp_s", "condition", "age"),
    [
        (0, keys.ZERO_STAMPS, None),
        (-3, keys.STAMP_AGE, "3.0 s old"),
        (4, keys.STAMP_AGE, "stamped 4.0 s in the future"),
    ],
)
def test_stamps_that_do_not_tell_the_time_of_capture_are_found(
    camera: Camera, stamp_s: int, condition: str, age: str | None
) -> None:
    receive(camera, range(30))
    camera.stamp_ns = camera.stamp_ns + 1_000_000_000 * stamp_s if stamp_s else 0
    (name,) = found(camera)
    assert name == condition
    assert found(camera)[name].get("age") == age


def test_a_subscriber_that_can_receive_nothing_is_found(camera: Camera) -> None:
    receive(camera, range(30))
    latched = Node("latched")
    latched.create_subscription(
        Image,
        "/segmentation/overlay",
        lambda overlay: None,
        QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    )
    end_s = time.monotonic() + DEADLINE_S
    while not (now := found(camera)):
        assert time.monotonic() < end_s
    assert now[keys.INCOMPATIBLE_SUBSCRIBER]["topic"] == "/segmentation/overlay"
    latched.destroy_node()


def test_what_is_wrong_with_the_process_is_found() -> None:
    engine = Segmenter(device="cpu", engine="pytorch", input_size=(64, 48)).engine
    assert dict(process_findings(engine, 49.0, 900.0, None)) == {}
    fallen_back = FallbackEngine(engine, [], "The GPU is not used, which is slower.")
    findings = dict(process_findings(fallen_back, 51.0, 900.0, (400.0, 8500.0)))
    assert list(findings) == [keys.ENGINE_FALLBACK, keys.MEMORY_GROWTH, keys.GPU_MEMORY]
    assert findings[keys.ENGINE_FALLBACK].fills["failure"] == "The GPU is not used, which is slower."


def test_a_gpu_that_pytorch_cannot_ask_is_no_fault() -> None:
    """It may be gone, and the node goes on with the CPU."""
    assert gpu_memory_mb("cpu") is None
    assert gpu_memory_mb(f"cuda:{torch.cuda.device_count()}") is None
