"""Frames of several cameras that wait together run as one batch, and never at the cost of another camera's."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import rclpy
from erfnet_ros.msg import SegmentationStatistics
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image
from support.live_node import DEADLINE_S, image_message

from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.engine import Engine
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.ros.node.camera import NodeCamera
from erfnet_ros.ros.node.frame_scheduler import Frames, Settings, batch_pays

FRONT = np.full((64, 96, 3), 90, np.uint8)
OTHER_SIZE = np.full((72, 96, 3), 90, np.uint8)
SETTINGS = Settings(confidence_threshold=0.0, overlay_alpha=0.5, max_rate=0.0)

_domains = itertools.count(os.getpid())


class Rig:
    """Two cameras of a lifecycle node, images that wait for them, and what they publish; spun in the test's thread.

    The images' callback group belongs to nobody's executor, so that an image stays in its reader until a round takes
    it.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        rclpy.init(domain_id=1 + next(_domains) % 101)
        self._node = LifecycleNode("segmenter", namespace="segmentation")
        self._tester = Node("tester")
        self._tester_executor = SingleThreadedExecutor()
        self._tester_executor.add_node(self._tester)
        group = MutuallyExclusiveCallbackGroup()
        self.front, self.rear = (
            NodeCamera(self._node, name, segmenter.class_set, "raw", group, lambda camera, message: None)
            for name in ("front", "rear")
        )
        self.answers: dict[str, list[Any]] = {"front": [], "rear": []}
        for name, received in self.answers.items():
            self._tester.create_subscription(
                SegmentationStatistics, f"/segmentation/{name}/statistics", received.append, 10
            )
        self._rear_publisher: Publisher = self._tester.create_publisher(Image, "/segmentation/rear/image", 1)
        self._node.trigger_configure()
        self._node.trigger_activate()
        self._wait_for(lambda: self.front.outputs.wanted() and self.rear.outputs.wanted())
        self.rear.update()
        self._wait_for(self._rear_publisher.get_subscription_count)

    def round(self, frames: Frames, front: Image, rear: Image) -> tuple[Any, Any]:
        """Let an image of the rear camera wait, serve one of the front camera, and return what both publish."""
        before = self.rear.processed + self.rear.rejected
        self._rear_publisher.publish(rear)
        end = time.monotonic() + DEADLINE_S
        # The image needs a moment to reach the reader; rounds before that serve the front camera alone.
        while self.rear.processed + self.rear.rejected == before and time.monotonic() < end:
            frames.serve(self.front, front, SETTINGS)
        return self._newest(self.front), self._newest(self.rear)

    def _newest(self, camera: NodeCamera) -> Any:
        """Return what the camera's last segmented frame published, or None where there was none."""
        received = self.answers[camera.name]
        if camera.processed:
            self._wait_for(lambda: received and received[-1].frames_processed == camera.processed)
        return received[-1] if received else None

    def _wait_for(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end
            self._tester_executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        self._tester_executor.shutdown()
        self._tester.destroy_node()
        self._node.destroy_node()
        rclpy.shutdown()


class OneImageEngine:
    """An engine whose device has memory for one image."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.device, self.precision, self.notes = engine.name, engine.device, engine.precision, engine.notes

    def __call__(self, images: Any) -> Any:
        if len(images) > 1:
            raise EngineError(f"The memory of {self.device} does not hold {len(images)} images.")
        return self._engine(images)

    def close(self) -> None:
        self._engine.close()


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(device="cpu", input_size=(96, 64))


@pytest.fixture
def rig(segmenter: Segmenter) -> Iterator[Rig]:
    rig = Rig(segmenter)
    yield rig
    rig.close()


def frames_of(rig: Rig, segmenter: Segmenter, batch: bool) -> Frames:
    return Frames(segmenter, (rig.front, rig.rear), lambda: batch, rclpy.logging.get_logger("test"))


def test_frames_of_one_size_that_wait_together_share_one_run(rig: Rig, segmenter: Segmenter) -> None:
    """Each frame of a batch tells the whole run's time: to the last digit the same only where it was one run."""
    front, rear = rig.round(frames_of(rig, segmenter, True), image_message(FRONT), image_message(FRONT))
    assert front.inference_ms == rear.inference_ms
    assert (front.frames_rejected, rear.frames_processed) == (0, 1)


def test_frames_of_two_sizes_run_one_after_the_other(rig: Rig, segmenter: Segmenter) -> None:
    front, rear = rig.round(frames_of(rig, segmenter, True), image_message(FRONT), image_message(OTHER_SIZE))
    assert front.inference_ms != rear.inference_ms
    assert rear.frames_processed == 1


def test_where_a_batch_does_not_pay_each_frame_has_its_own_run(rig: Rig, segmenter: Segmenter) -> None:
    """On a CPU the first frame would come out as late as the last."""
    assert not batch_pays("cpu")
    assert batch_pays("cuda:0")
    front, rear = rig.round(frames_of(rig, segmenter, False), image_message(FRONT), image_message(FRONT))
    assert front.inference_ms != rear.inference_ms


def test_a_bad_frame_in_a_batch_leaves_the_others(rig: Rig, segmenter: Segmenter) -> None:
    bad = image_message(FRONT)
    bad.encoding = "32FC1"
    front, rear = rig.round(frames_of(rig, segmenter, True), image_message(FRONT), bad)
    assert rear is None
    assert front.frames_rejected == 0
    assert "32FC1" in (rig.rear.complaint or "")
    assert rig.front.complaint is None


def test_a_batch_that_fails_is_run_frame_by_frame_and_told_once(rig: Rig) -> None:
    """Memory that runs out in midstream must cost speed, not frames."""
    small = Segmenter(device="cpu", input_size=(96, 64))
    small.engine = OneImageEngine(small.engine)
    frames = frames_of(rig, small, True)
    for _ in range(2):
        front, rear = rig.round(frames, image_message(FRONT), image_message(FRONT))
        assert front.inference_ms != rear.inference_ms
    assert (rig.front.rejected, rig.rear.rejected) == (0, 0)
    assert frames.notes == (
        "Images of several cameras run one after the other: 2 at once failed (The memory of cpu does not hold 2 "
        "images.).",
    )
