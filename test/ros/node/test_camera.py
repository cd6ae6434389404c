"""Several cameras on one engine: topics, counts and turns, with the real node over real DDS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from erfnet_ros.msg import SegmentationStatistics
from lifecycle_msgs.msg import Transition
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from support.live_node import Client, NodeProcess, client_of, compressed_message, image_message, pixels_of, running_node

from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.inference.segmenter import Segmenter

FRONT = Street(seed=4, size=(192, 128)).frame(10)[0]
REAR = FRONT[:96, :128].copy()
CAMERAS = {"front/image": "/front/image_raw", "rear/image": "/back/rgb"}
SMALL = {"cameras": ["front", "rear"], "input_size": "320x240", "device": "cpu"}


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    with running_node(SMALL, CAMERAS) as process:
        yield process


def status_of(client: Client, part: str, subscribed: bool) -> Any:
    """Wait for a camera's diagnostic status."""
    return client.diagnosis(
        lambda s: s.name.endswith(f"segmenter: camera {part}") and values(s)["subscribed"] == str(subscribed),
        f"camera {part}, subscribed: {subscribed}",
    )


def values(status: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in status.values}


def test_each_cameras_frames_come_out_under_its_own_name(client: Client) -> None:
    """The sizes differ, so a mask of the wrong camera could not pass."""
    segmenter = Segmenter(device="cpu", input_size=(320, 240))
    for name, topic, rgb in (("front", "/front/image_raw", FRONT), ("rear", "/back/rgb", REAR)):
        mask = client.send(client.camera(topic), image_message(rgb), client.listen(f"{name}/mask", Image))
        np.testing.assert_array_equal(pixels_of(mask), segmenter(rgb).labels)
        assert mask.header.frame_id == "camera_optical_frame"


def test_each_cameras_calibration_comes_out_under_its_own_name(client: Client) -> None:
    received = client.listen("rear/camera_info", CameraInfo)
    info = CameraInfo(width=256, height=192, k=[800.0, 0.0, 480.0, 0.0, 800.0, 360.0, 0.0, 0.0, 1.0])
    publisher = client.camera("/back/camera_info", message_type=CameraInfo)
    client.create_timer(0.05, lambda: publisher.publish(info))
    fitted = client.send(client.camera("/back/rgb"), image_message(REAR), received)
    assert (fitted.width, fitted.height, fitted.k[0]) == (128, 96, 400)


def test_a_camera_that_nobody_reads_is_let_go_of(client: Client) -> None:
    """Moving images that nobody looks at costs a robot as much as segmenting some of them."""
    rear = client.camera("/back/rgb")
    client.send(client.camera("/front/image_raw"), image_message(FRONT), client.listen("front/mask", Image))
    assert values(status_of(client, "front", True))["image_topic"] == "/front/image_raw"
    status_of(client, "rear", False)
    assert rear.get_subscription_count() == 0
    whole = client.diagnosis(lambda s: s.name.endswith("segmenter: segmentation"), "the node's own status")
    assert [values(whole)[key] for key in ("state", "cameras", "subscribed_cameras")] == [
        "segmenting",
        "front, rear",
        "front",
    ]
    assert "frames_processed" not in values(whole)


def test_a_bad_frame_concerns_no_other_camera(client: Client, node: NodeProcess) -> None:
    front, rear = client.camera("/front/image_raw"), client.camera("/back/rgb")
    of_front = client.listen("front/statistics", SegmentationStatistics)
    of_rear = client.listen("rear/statistics", SegmentationStatistics)
    before = client.send(front, image_message(FRONT), of_front)
    good = client.send(rear, image_message(REAR), of_rear)
    bad = client.stamped(image_message(REAR))
    bad.encoding = "32FC1"
    rear.publish(bad)
    status = client.diagnosis(lambda s: "got '32FC1'" in s.message, "the diagnosis of the bad frame")
    assert status.name.endswith("camera rear")
    assert client.send(rear, image_message(REAR), of_rear).frames_rejected == good.frames_rejected + 1
    after = client.send(front, image_message(FRONT), of_front)
    assert after.frames_rejected == before.frames_rejected
    assert "Frame of rear rejected" in node.log()
    assert "rejected" not in status_of(client, "front", True).message


def test_the_most_frames_a_second_are_each_cameras_own(client: Client) -> None:
    """A limit for all together would let the second camera of a pair go dark."""
    front, rear = client.camera("/front/image_raw"), client.camera("/back/rgb")
    of_front = client.listen("front/statistics", SegmentationStatistics)
    of_rear = client.listen("rear/statistics", SegmentationStatistics)
    client.send(front, image_message(FRONT), of_front)
    dropped = client.send(rear, image_message(REAR), of_rear).frames_dropped
    try:
        assert client.set("max_rate", 0.01).successful
        # One frame of each camera passes under the limit, and soon no more for 100 s.
        client.send(front, image_message(FRONT), of_front)
        answer = client.send(rear, image_message(REAR), of_rear)
        assert answer.frames_dropped == dropped
        before = int(of_front[-1].frames_dropped)
        client.create_timer(0.1, lambda: front.publish(client.stamped(image_message(FRONT))))
        client.diagnosis(
            lambda s: s.name.endswith("camera front") and int(values(s)["frames_dropped"]) > before,
            "frames above the limit among the dropped of their camera",
        )
        rear_status = status_of(client, "rear", True)
        assert int(values(rear_status)["frames_dropped"]) == dropped
    finally:
        client.set("max_rate", 0.0)


def test_a_fast_camera_does_not_delay_a_slow_one(client: Client) -> None:
    """An executor that always begins with the first subscription would never come to the second."""
    front, rear = client.camera("/front/image_raw"), client.camera("/back/rgb")
    of_front = client.listen("front/statistics", SegmentationStatistics)
    of_rear = client.listen("rear/statistics", SegmentationStatistics)
    before_front = client.send(front, image_message(FRONT), of_front)
    before_rear = client.send(rear, image_message(REAR), of_rear)
    client.create_timer(0.008, lambda: front.publish(client.stamped(image_message(FRONT))))
    sent = 6
    for _ in range(sent):
        message = client.stamped(image_message(REAR))
        rear.publish(message)
        client.wait_for(
            lambda header=message.header: any(s.header == header for s in of_rear), "the slow camera's frame", 20
        )
    slow = of_rear[-1]
    assert slow.frames_processed - before_rear.frames_processed == sent
    assert slow.frames_dropped == before_rear.frames_dropped
    # The fast one was faster than the engine all the time, and had the turns in between.
    assert of_front[-1].frames_dropped > before_front.frames_dropped
    assert of_front[-1].frames_processed - before_front.frames_processed >= sent // 2

    # Both faster than the engine: they share it.
    client.create_timer(0.008, lambda: rear.publish(client.stamped(image_message(REAR))))
    start_front, start_rear = of_front[-1].frames_processed, of_rear[-1].frames_processed
    client.wait_for(lambda: of_front[-1].frames_processed - start_front >= 12, "frames of both cameras")
    assert 8 <= of_rear[-1].frames_processed - start_rear <= 16
    assert of_rear[-1].frames_dropped > slow.frames_dropped


def test_cameras_are_named_renamed_and_refused_without_a_restart() -> None:
    encoded = cv2.imencode(".png", REAR[..., ::-1])[1].tobytes()
    start = {**SMALL, "cameras": "front", "image_transport": "compressed"}
    with running_node(start, {"left/image": "/port/rgb"}) as node, client_of(node) as client:
        client.diagnosis(lambda s: "'cameras': expected a list of strings, got 'front'" in s.message, "the refusal")
        assert client.state() == "unconfigured"
        for bad, reason in ((["front", "front"], "'front' 2 times"), ([""], "got ''"), (["a b"], "got 'a b'")):
            result = client.set("cameras", bad)
            assert not result.successful
            assert reason in result.reason
        assert client.set("cameras", ["left", "right"]).successful
        assert client.change(Transition.TRANSITION_CONFIGURE)
        assert "fixed while the node is configured" in client.set("cameras", ["up"]).reason
        assert client.change(Transition.TRANSITION_ACTIVATE)
        left = client.camera("/port/rgb/compressed", message_type=CompressedImage)
        right = client.camera("/segmentation/right/image/compressed", message_type=CompressedImage)
        for camera, name in ((left, "left"), (right, "right")):
            client.send(camera, compressed_message(encoded), client.listen(f"{name}/mask", Image))
        assert client.change(Transition.TRANSITION_DEACTIVATE)
        client.wait_for(
            lambda: left.get_subscription_count() + right.get_subscription_count() == 0,
            "the node to unsubscribe",
        )
        assert client.change(Transition.TRANSITION_CLEANUP)
        assert client.set("cameras", ["up"]).successful
        assert client.change(Transition.TRANSITION_CONFIGURE)
        status = client.diagnosis(lambda s: s.name.endswith("camera up"), "the renamed camera")
        assert values(status)["image_topic"] == "/segmentation/up/image/compressed"
