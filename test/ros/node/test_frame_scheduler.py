"""Frame scheduler: batches of several cameras' frames, and no camera that waits for another."""

from __future__ import annotations

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
from support.live_node import DEADLINE_S, free_domain, image_message

from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.engine import Engine
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.ros.node.camera import Camera
from erfnet_ros.ros.node.frame_scheduler import FrameScheduler, batch_pays
from erfnet_ros.ros.node.parameters import Settings

FRONT = np.full((64, 96, 3), 90, np.uint8)
OTHER_SIZE = np.full((72, 96, 3), 90, np.uint8)


class CameraPair:
    """Two cameras of a lifecycle node, images that wait for them, and what they publish; spun in the test's thread.

    The images' callback group belongs to nobody's executor, so that an image stays in its reader until a round takes
    it.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        rclpy.init(domain_id=free_domain())
        self._node = LifecycleNode("segmenter", namespace="segmentation")
        self._tester = Node("tester")
        self._tester_executor = SingleThreadedExecutor()
        self._tester_executor.add_node(self._tester)
        group = MutuallyExclusiveCallbackGroup()
        self.scheduler = FrameScheduler(segmenter, Settings(), rclpy.logging.get_logger("test"))
        options = {"class_set": segmenter.class_set, "compressed": False, "group": group, "scheduler": self.scheduler}
        self.front, self.rear = (Camera(self._node, name, **options) for name in ("front", "rear"))
        self.scheduler.cameras = (self.front, self.rear)
        self.scheduler.start()
        self.answers: dict[str, list[Any]] = {"front": [], "rear": []}
        for name, received in self.answers.items():
            self._tester.create_subscription(
                SegmentationStatistics, f"/segmentation/{name}/statistics", received.append, 10
            )
        self._rear_publisher: Publisher = self._tester.create_publisher(Image, "/segmentation/rear/image", 1)
        self._node.trigger_configure()
        self._node.trigger_activate()
        self._wait_for(lambda: self.front.publishers.wanted() and self.rear.publishers.wanted())
        self.rear.update_subscription()
        self._wait_for(self._rear_publisher.get_subscription_count)

    def round(self, front: Image, rear: Image) -> tuple[Any, Any]:
        """Let an image of the rear camera wait, serve one of the front camera, and return what both publish."""
        before = self.rear.processed + self.rear.rejected
        self._rear_publisher.publish(rear)
        end = time.monotonic() + DEADLINE_S
        # The image needs a moment to reach the reader; rounds before that serve the front camera alone.
        while self.rear.processed + self.rear.rejected == before and time.monotonic() < end:
            self.scheduler.process_round(self.front, front)
        return self._newest(self.front), self._newest(self.rear)

    def _newest(self, camera: Camera) -> Any:
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

    def __enter__(self) -> CameraPair:
        return self

    def __exit__(self, *raised: object) -> None:
        self._tester_executor.shutdown()
        self._tester.destroy_node()
        self._node.destroy_node()
        rclpy.shutdown()


class BatchEngine:
    """A CPU engine that says it is a GPU, on which a batch pays, with memory for so many images."""

    def __init__(self, engine: Engine, most_images: int) -> None:
        self._engine = engine
        self._most_images = most_images
        self.name, self.device, self.precision, self.notes = engine.name, "cuda:0", engine.precision, engine.notes

    def __call__(self, images: Any) -> Any:
        if len(images) > self._most_images:
            raise EngineError(f"The memory of {self.device} does not hold {len(images)} images.")
        return self._engine(images)

    def close(self) -> None:
        self._engine.close()


def segmenter_of(most_images: int) -> Segmenter:
    segmenter = Segmenter(device="cpu", input_size=(96, 64))
    segmenter.engine = BatchEngine(segmenter.engine, most_images)
    return segmenter


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return segmenter_of(most_images=2)


@pytest.fixture
def pair(segmenter: Segmenter) -> Iterator[CameraPair]:
    with CameraPair(segmenter) as pair:
        yield pair


def test_frames_of_one_size_that_wait_together_share_one_run(pair: CameraPair) -> None:
    """Each frame of a batch tells the whole run's time: to the last digit the same only where it was one run."""
    front, rear = pair.round(image_message(FRONT), image_message(FRONT))
    assert front.inference_ms == rear.inference_ms
    assert (front.frames_rejected, rear.frames_processed) == (0, 1)


def test_frames_of_two_sizes_run_one_after_the_other(pair: CameraPair) -> None:
    front, rear = pair.round(image_message(FRONT), image_message(OTHER_SIZE))
    assert front.inference_ms != rear.inference_ms
    assert rear.frames_processed == 1


def test_where_a_batch_does_not_pay_each_frame_has_its_own_run() -> None:
    """On a CPU the first frame would come out as late as the last."""
    assert not batch_pays("cpu")
    assert batch_pays("cuda:0")
    with CameraPair(Segmenter(device="cpu", input_size=(96, 64))) as pair:
        front, rear = pair.round(image_message(FRONT), image_message(FRONT))
    assert front.inference_ms != rear.inference_ms


def test_a_bad_frame_in_a_batch_leaves_the_others(pair: CameraPair) -> None:
    bad = image_message(FRONT)
    bad.encoding = "32FC1"
    front, rear = pair.round(image_message(FRONT), bad)
    assert rear is None
    assert front.frames_rejected == 0
    assert "32FC1" in (pair.rear.last_error or "")
    assert pair.front.last_error is None


def test_a_batch_that_fails_is_run_frame_by_frame_and_told_once() -> None:
    """Memory that runs out in midstream must cost speed, not frames."""
    with CameraPair(segmenter_of(most_images=1)) as pair:
        for _ in range(2):
            front, rear = pair.round(image_message(FRONT), image_message(FRONT))
            assert front.inference_ms != rear.inference_ms
    assert (pair.front.rejected, pair.rear.rejected) == (0, 0)
    assert pair.scheduler.notes == (
        "Images of several cameras run one after the other: 2 at once failed (The memory of cuda:0 does not hold 2 "
        "images.).",
    )
