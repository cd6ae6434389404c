"""Labeled clouds of a depth camera, with the real projector in its own process over real DDS."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

import rclpy
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from support.depth_scene import (
    CONFIDENCE,
    FRAME,
    HEIGHT,
    LABELS,
    RGB,
    WIDTH,
    Scene,
    calibration,
    cloud,
    depth_image,
    fields_of,
    gray,
    ground_depth,
    running_process,
    running_projector,
)
from support.live_node import NodeProcess, client_of, image_message, pixels_of, running_node

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.ros.points.projector_node import ProjectorNode


@pytest.fixture(scope="module")
def projector() -> Iterator[NodeProcess]:
    with running_process() as process:
        yield process
        assert process.stop() == 0


def test_the_segmenters_mask_lies_on_the_points_of_the_depth_image(fast_checkpoint: Path) -> None:
    """The whole way: camera and depth camera in, mask and cloud out, pixel for pixel."""
    with running_node({"checkpoint": str(fast_checkpoint)}) as node:
        environment = {"ROS_DOMAIN_ID": str(node.domain)}
        with running_projector(environment=environment) as (_, client):
            masks, clouds = client.listen("mask", Image), client.listen("points", PointCloud2)
            scene = Scene(client, image=image_message(RGB), depth=depth_image("16UC1"), info=calibration())
            message = scene.first_cloud(clouds)
            assert (message.height, message.width, message.header.frame_id) == (HEIGHT, WIDTH, FRAME)
            mask = client.wait_for(
                lambda: next((mask for mask in masks if mask.header == message.header), None), "the mask of the cloud"
            )
            points = fields_of(message)
            np.testing.assert_array_equal(points["label"], pixels_of(mask))
            assert 0 < points["confidence"].mean() <= 1
            seen = np.isfinite(points["z"])
            np.testing.assert_array_equal(seen, np.isfinite(ground_depth()))
            # The ground is flat in the points, as it was in the scene.
            np.testing.assert_allclose(points["y"][seen], 1.4, rtol=0.01)
            red, green, blue = np.moveaxis(RGB.astype(np.uint32), 2, 0)
            np.testing.assert_array_equal(points["rgb"].view("<u4"), red << 16 | green << 8 | blue)


def test_a_cloud_gets_label_and_confidence_under_its_own_stamp(projector: NodeProcess) -> None:
    with client_of(projector) as client:
        clouds = client.listen("points", PointCloud2)
        scene = Scene(client, mask=gray(LABELS), confidence=gray(CONFIDENCE), depth=cloud())
        points = fields_of(scene.first_cloud(clouds))
        assert points.dtype.names == ("x", "y", "z", "i", "label", "confidence")
        np.testing.assert_array_equal(points["label"], LABELS)
        given = np.frombuffer(scene.messages["depth"].data, "<f4").reshape(HEIGHT, WIDTH, 4)
        np.testing.assert_array_equal(points["i"], given[..., 3])
        clouds.clear()
        header = scene.publish(delays_ns={"depth": 15_000_000}, frame_ids={"depth": "lidar"})
        scene.publish()
        client.wait_for(lambda: clouds, "the cloud of a depth that is 15 ms late")
        assert clouds[0].header == header or clouds[0].header.stamp.nanosec == 123456789 + 15_000_000


def test_without_subscribers_nothing_is_subscribed_to(projector: NodeProcess) -> None:
    """A cloud that nobody reads must not keep the segmenter busy."""
    with client_of(projector) as client:
        scene = Scene(client, mask=gray(LABELS), confidence=gray(CONFIDENCE), depth=cloud())
        client.diagnosis(lambda s: _value(s, "state") == "waiting", "the projector to wait")
        assert scene.publishers["mask"].get_subscription_count() == 0
        scene.first_cloud(client.listen("points", PointCloud2))
        client.destroy_subscription(next(s for s in client.subscriptions if s.topic_name.endswith("/points")))
        client.wait_for(lambda: not scene.publishers["mask"].get_subscription_count(), "the projector to unsubscribe")


def small_depth() -> Image:
    return depth_image(depth=ground_depth()[::2, ::2])


@pytest.mark.parametrize(
    ("changes", "frame_ids", "delays_ns", "warning"),
    [
        (
            {"depth": small_depth(), "info": calibration(width=80, height=60)},
            {},
            {},
            "pixels, got 80x60",
        ),
        ({"depth": depth_image("64FC1")}, {}, {}, "got encoding '64FC1'"),
        ({"info": calibration((0.0,) * 9)}, {}, {}, "got zeros; calibrate the camera"),
        ({"depth": cloud(height=1)}, {}, {}, "an organized point cloud, got 19200 points in one row"),
        ({"depth": [cloud(height) for height in (20, 30, 40, 60, 80)]}, {}, {}, "a point cloud of the mask's"),
        ({}, {"depth": "depth_frame"}, {}, "got 'depth_frame'; use the depth that the driver aligns"),
        ({}, {}, {"depth": 400_000_000}, "has the stamp of a mask, within 0.02 s; synchronize"),
        ({"info": None}, {}, {}, "Nothing arrives on /depth/camera_info"),
        (
            {"depth": CameraInfo()},
            {},
            {},
            "an Image or a PointCloud2 on /depth/image, got sensor_msgs",
        ),
    ],
    ids=["size", "encoding", "zero K", "unorganized", "changing size", "frame", "stamps", "no camera_info", "type"],
)
def test_input_that_does_not_fit_is_warned_of_once_and_counted(
    changes: dict[str, Any], frame_ids: dict[str, str], delays_ns: dict[str, int], warning: str
) -> None:
    given = {"mask": gray(LABELS), "confidence": gray(CONFIDENCE), "image": image_message(RGB)}
    given |= {"depth": depth_image(), "info": calibration(), **changes}
    depths = given["depth"] if isinstance(given["depth"], list) else [given["depth"]]
    next_depth = itertools.cycle(depths).__next__
    given["depth"] = depths[0]
    with running_projector() as (process, client):
        clouds = client.listen("points", PointCloud2)
        scene = Scene(client, **{name: message for name, message in given.items() if message is not None})

        def warned() -> bool:
            scene.messages["depth"] = next_depth()
            scene.publish(frame_ids, delays_ns)
            client.spin_for(0.1)
            return any(warning in status.message for status in client.diagnostics)

        client.wait_for(warned, "the warning in the diagnostics")
        for _ in range(5):
            warned()
        assert not clouds
        assert process.log().count(warning) == 1
        if "got sensor_msgs" not in warning:
            counts = ("frames_rejected", "frames_unmatched")
            client.diagnosis(lambda s: any(int(_value(s, name)) > 2 for name in counts), "the frames to be counted")
        assert "Traceback" not in process.log()


@pytest.fixture
def in_process() -> Iterator[None]:
    rclpy.init(domain_id=101)
    yield
    rclpy.shutdown()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("kept_classes", ["road", "lawn"], f"expected names out of {', '.join(CAMVID.names)}, got 'lawn'"),
        ("max_range", 0.5, "expected more than min_range (1.0 m) or 0, got 0.5 m"),
        ("stride", 0, "64"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(in_process: None, name: str, value: Any, reason: str) -> None:
    node = ProjectorNode(parameter_overrides=[Parameter("min_range", value=1.0)])
    try:
        (result,) = node.set_parameters([Parameter(name, value=value)])
        assert not result.successful
        assert reason in result.reason
        (result,) = node.set_parameters([Parameter("kept_classes", value=["road", "car"])])
        assert result.successful
        assert np.flatnonzero(node._kept.labels).tolist() == [3, 8]
    finally:
        node.destroy_node()


def test_a_whole_number_is_accepted_for_a_double(in_process: None) -> None:
    """`ros2 param set /segmentation/projector max_range 20` sends an integer."""
    node = ProjectorNode()
    try:
        assert node.set_parameters_atomically([Parameter("max_range", value=20)]).successful
        assert node.get_parameter("max_range").value == 20.0
        assert node.get_parameter("max_range").type_ == Parameter.Type.DOUBLE
    finally:
        node.destroy_node()


def test_parameters_that_the_projector_does_not_have_are_warned_of() -> None:
    names = ("max_rnage", "qos_overrides./segmentation/mask.subscription.depth")
    with running_projector(parameters=dict.fromkeys(names, 5)) as (process, client):
        for name in names:
            warning = f"Parameter '{name}' was set but this node has none of that name"
            client.diagnosis(lambda s, warning=warning: warning in s.message, "the warning")
            assert process.log().count(warning) == 1


def test_a_bad_filter_at_start_is_an_error_until_it_is_mended() -> None:
    with running_projector(parameters={"checkpoint": "cityscapes", "kept_classes": ["lawn"]}) as (_, client):
        scene = Scene(client, mask=gray(LABELS), confidence=gray(CONFIDENCE), depth=cloud())
        client.listen("points", PointCloud2)
        status = client.diagnosis(lambda s: "got 'lawn'" in s.message, "the error in the diagnostics")
        assert status.level == b"\x02"
        assert "traffic light" in status.message
        assert scene.publishers["mask"].get_subscription_count() == 0


def _value(status: Any, key: str) -> str:
    return next((entry.value for entry in status.values if entry.key == key), "0")
