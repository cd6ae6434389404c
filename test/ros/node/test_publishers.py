"""Output topics of the node, row by row, in its own process over real DDS."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from erfnet_ros.msg import SegmentationStatistics
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from support.live_node import Client, NodeProcess, client_of, compressed_message, image_message, pixels_of, running_node

from erfnet_ros.core.array_types import VOID
from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.image import scale_to_8_bit
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.inference.segmenter import Segmentation, Segmenter
from erfnet_ros.ros.node.publishers import OUTPUTS
from erfnet_ros.visualization.overlay import blend, color_mask

ROOT = Path(__file__).resolve().parents[3]
RGB = Street(seed=4, size=(480, 360)).frame(10)[0]


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter()


@pytest.fixture(scope="module")
def expected(segmenter: Segmenter) -> Segmentation:
    """What the library says of the same picture; the node must say the same."""
    return segmenter(RGB)


def test_mask_holds_the_librarys_labels_under_the_images_header(client: Client, expected: Segmentation) -> None:
    masks = client.listen("mask", Image)
    mask = client.send(client.camera(), image_message(RGB), masks)
    assert (mask.encoding, mask.width, mask.height, mask.step) == ("mono8", 480, 360, 480)
    np.testing.assert_array_equal(pixels_of(mask), expected.labels)
    assert mask.header.frame_id == "camera_optical_frame"


def test_confidence_comes_with_the_masks_stamp(client: Client, expected: Segmentation) -> None:
    confidences = client.listen("confidence", Image)
    masks = client.listen("mask", Image)
    confidence = client.send(client.camera(), image_message(RGB), confidences)
    np.testing.assert_array_equal(pixels_of(confidence), expected.confidence)
    client.wait_for(lambda: any(mask.header == confidence.header for mask in masks), "the mask of the same frame")


def test_overlay_is_the_image_under_class_colors(client: Client, segmenter: Segmenter, expected: Segmentation) -> None:
    overlay = client.send(client.camera(), image_message(RGB), client.listen("overlay", Image))
    assert overlay.encoding == "rgb8"
    wanted = blend(RGB, expected.labels, segmenter.class_set.palette(), 0.5)
    np.testing.assert_array_equal(pixels_of(overlay), wanted)


def test_color_mask_is_the_class_colors_alone(client: Client, segmenter: Segmenter, expected: Segmentation) -> None:
    colors = client.send(client.camera(), image_message(RGB), client.listen("color_mask", Image))
    assert colors.encoding == "rgb8"
    np.testing.assert_array_equal(pixels_of(colors), color_mask(expected.labels, segmenter.class_set.palette()))


@pytest.mark.parametrize("topic", ["mask", "confidence", "color_mask", "overlay"])
def test_compressed_outputs_decode_to_the_raw_ones(client: Client, topic: str) -> None:
    raw_images, compressed_images = client.listen(topic, Image), client.listen(f"{topic}/compressed", CompressedImage)
    compressed = client.send(client.camera(), image_message(RGB), compressed_images)
    raw = client.wait_for(lambda: next((r for r in raw_images if r.header == compressed.header), None), "the raw image")
    decoded = cv2.imdecode(np.frombuffer(compressed.data, np.uint8), cv2.IMREAD_UNCHANGED)
    decoded = decoded[..., ::-1] if decoded.ndim == 3 else decoded
    if topic == "overlay":
        assert compressed.format == "rgb8; jpeg compressed bgr8"
        assert np.abs(decoded.astype(int) - pixels_of(raw)).mean() < 8
    else:
        assert compressed.format.split(";")[0] == raw.encoding
        np.testing.assert_array_equal(decoded, pixels_of(raw))


def test_jpeg_quality_changes_while_running(client: Client) -> None:
    camera, overlays = client.camera(), client.listen("overlay/compressed", CompressedImage)
    fine = client.send(camera, image_message(RGB), overlays)
    assert client.set("jpeg_quality", 10).successful
    assert len(client.send(camera, image_message(RGB), overlays).data) < len(fine.data) / 2
    refused = client.set("jpeg_quality", 0)
    assert not refused.successful
    assert client.set("jpeg_quality", 80).successful


def test_a_late_subscriber_gets_the_legend(client: Client) -> None:
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    legends = client.listen("legend", Image, latched)
    client.wait_for(lambda: legends, "the legend")
    colors = {tuple(color) for color in pixels_of(legends[0]).reshape(-1, 3).tolist()}
    assert set(CAMVID.colors) <= colors


def test_every_output_is_documented_with_its_type() -> None:
    rows = re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", (ROOT / "docs" / "topics.md").read_text(), re.M)
    documented = {topic: types for topics, types in rows for topic in re.findall("`(.*?)`(?! in)", topics)}
    for output in OUTPUTS:
        assert documented[output.topic].split(",")[0].endswith(output.message_type.__name__)


def test_statistics_are_those_of_the_mask(client: Client, segmenter: Segmenter, expected: Segmentation) -> None:
    received = client.listen("statistics", SegmentationStatistics)
    statistics = client.send(client.camera(), image_message(RGB), received)
    assert list(statistics.class_names) == list(segmenter.class_set.names)
    shares = np.bincount(expected.labels.ravel(), minlength=len(segmenter.class_set)) / expected.labels.size
    np.testing.assert_allclose(statistics.shares, shares, atol=1e-6)
    assert statistics.void_share == 0
    assert 0 < statistics.inference_ms < statistics.total_ms
    assert statistics.frames_processed > 0


def test_a_camera_info_wanted_before_any_came_costs_no_frame(client: Client) -> None:
    received, masks = client.listen("camera_info", CameraInfo), client.listen("mask", Image)
    statistics = client.listen("statistics", SegmentationStatistics)
    client.send(client.camera(), image_message(RGB), masks)
    rejected = client.wait_for(lambda: statistics, "statistics")[-1].frames_rejected
    frame = client.send(client.camera(), image_message(RGB), statistics)
    assert frame.frames_rejected == rejected
    assert received == []


def test_camera_info_is_republished_with_the_mask(client: Client) -> None:
    received = client.listen("camera_info", CameraInfo)
    info = CameraInfo(width=960, height=720, k=[800.0, 0.0, 480.0, 0.0, 800.0, 360.0, 0.0, 0.0, 1.0])
    publisher = client.camera("/camera/camera_info", message_type=CameraInfo)
    client.create_timer(0.05, lambda: publisher.publish(info))
    fitted = client.send(client.camera(), image_message(RGB), received)
    assert (fitted.width, fitted.height) == (480, 360)
    assert fitted.k[0] == pytest.approx(400)


def test_diagnostics_say_who_computes_and_that_nobody_listens(client: Client) -> None:
    status = client.diagnosis(lambda status: True, "a diagnostic status")
    values = {entry.key: entry.value for entry in status.values}
    assert values["engine"] == "pytorch"
    assert values["image_topic"] == "/camera/image_raw"
    assert values["state"] == "waiting"


def test_without_listeners_there_is_no_subscription_to_the_camera(client: Client) -> None:
    """A robot that nobody watches must not pay for segmentation, nor for moving the images."""
    camera = client.camera()
    client.diagnosis(lambda status: _value(status, "state") == "waiting", "the node to notice that nobody listens")
    assert camera.get_subscription_count() == 0
    masks = client.listen("mask", Image)
    client.send(camera, image_message(RGB), masks)
    client.destroy_subscription(next(s for s in client.subscriptions if s.topic_name.endswith("/mask")))
    client.wait_for(lambda: camera.get_subscription_count() == 0, "the node to unsubscribe")


@pytest.mark.parametrize("reliable", [True, False], ids=["reliable", "best effort"])
def test_the_cameras_own_reliability_is_matched(client: Client, reliable: bool) -> None:
    """A mismatch is ROS 2's commonest silence: two endpoints, no images, no error."""
    camera = client.camera(reliable=reliable)
    client.send(camera, image_message(RGB), client.listen("mask", Image))
    client.wait_for(lambda: _reader(client).reliability == camera.qos_profile.reliability, "a reader like the camera")


def test_the_subscription_follows_a_camera_that_comes_back_otherwise(client: Client, node: NodeProcess) -> None:
    masks = client.listen("mask", Image)
    first = client.camera(reliable=True)
    client.send(first, image_message(RGB), masks)
    client.destroy_publisher(first)
    client.send(client.camera(reliable=False), image_message(RGB), masks)
    assert "incompatible QoS" not in node.log()


@pytest.mark.parametrize(
    ("encoding", "pixels", "seen"),
    [
        ("bgr8", RGB[..., ::-1], RGB),
        ("rgba8", np.dstack([RGB, RGB[..., 0]]), RGB),
        ("bgra8", np.dstack([RGB[..., ::-1], RGB[..., 0]]), RGB),
        ("mono8", RGB[..., 1:2], np.repeat(RGB[..., 1:2], 3, axis=2)),
        ("rgb8", np.pad(RGB, ((0, 0), (0, 8), (0, 0))), RGB),
        ("rgb16", np.dstack([RGB, RGB])[..., [0, 0, 1, 1, 2, 2]], scale_to_8_bit(RGB.astype(np.uint16) * 257)),
    ],
    ids=["bgr8", "rgba8", "bgra8", "mono8", "padded rows", "rgb16"],
)
def test_every_layout_gives_the_mask_of_the_same_picture(
    client: Client, segmenter: Segmenter, encoding: str, pixels: np.ndarray, seen: np.ndarray
) -> None:
    message = image_message(pixels, encoding)
    message.width = 480
    mask = client.send(client.camera(), message, client.listen("mask", Image))
    np.testing.assert_array_equal(pixels_of(mask), segmenter(np.ascontiguousarray(seen)).labels)


def test_a_frame_size_that_changes_in_midstream_changes_the_mask(client: Client, segmenter: Segmenter) -> None:
    camera, masks = client.camera(), client.listen("mask", Image)
    for size in ((480, 360), (640, 480), (480, 360)):
        rgb = cv2.resize(RGB, size)
        np.testing.assert_array_equal(pixels_of(client.send(camera, image_message(rgb), masks)), segmenter(rgb).labels)


def test_threshold_and_overlay_change_while_running(client: Client) -> None:
    camera, masks, overlays = client.camera(), client.listen("mask", Image), client.listen("overlay", Image)
    try:
        assert client.set("confidence_threshold", 1.0).successful
        assert client.set("overlay_alpha", 0.0).successful
        mask = client.send(camera, image_message(RGB), masks)
        assert (pixels_of(mask) == VOID).mean() > 0.5
        np.testing.assert_array_equal(pixels_of(client.send(camera, image_message(RGB), overlays)), RGB)
    finally:
        client.set("confidence_threshold", 0.0)
        client.set("overlay_alpha", 0.5)


def test_only_the_newest_frame_is_segmented_and_the_others_are_counted(client: Client) -> None:
    """A queue would show the robot the past; the last frame of a burst must come out, the ones before need not."""
    camera, received = client.camera(), client.listen("statistics", SegmentationStatistics)
    before = client.send(camera, image_message(RGB), received)
    burst = [client.stamped(image_message(RGB)) for _ in range(12)]
    for message in burst:
        camera.publish(message)
    last = client.wait_for(
        lambda: next((s for s in received if s.header == burst[-1].header), None), "the burst's last frame"
    )
    segmented = last.frames_processed - before.frames_processed
    dropped = last.frames_dropped - before.frames_dropped
    assert dropped > 0
    assert segmented + dropped >= len(burst)


def test_max_rate_drops_and_counts(client: Client) -> None:
    camera, received = client.camera(), client.listen("statistics", SegmentationStatistics)
    before = client.send(camera, image_message(RGB), received)
    try:
        assert client.set("max_rate", 1).successful
        first = client.send(camera, image_message(RGB), received)
        later = client.send(camera, image_message(RGB), received)
        assert later.frames_dropped >= first.frames_dropped >= before.frames_dropped
        assert later.frames_processed > first.frames_processed
    finally:
        assert client.set("max_rate", 0.0).successful


def test_services_answer_during_inference(client: Client) -> None:
    """A lifecycle manager that waits for inference would take the node for dead."""
    camera, masks = client.camera(), client.listen("mask", Image)
    large = cv2.resize(RGB, (1920, 1080))
    client.send(camera, image_message(large), masks)
    count = len(masks)
    for _ in range(5):
        camera.publish(client.stamped(image_message(large)))
        assert client.state() == "active"
        assert client.describe("overlay_alpha").description
    client.wait_for(lambda: len(masks) > count, "masks while services are answered")


def test_compressed_images_are_decoded() -> None:
    encoded = cv2.imencode(".png", RGB[..., ::-1])[1].tobytes()
    expected_labels = Segmenter()(RGB).labels
    with running_node({"image_transport": "compressed"}) as node, client_of(node) as client:
        client.reach("active")
        camera = client.camera("/camera/image_raw/compressed", message_type=CompressedImage)
        mask = client.send(camera, compressed_message(encoded), client.listen("mask", Image))
        np.testing.assert_array_equal(pixels_of(mask), expected_labels)


def _reader(client: Client) -> QoSProfile:
    readers = client.get_subscriptions_info_by_topic("/camera/image_raw")
    return next((reader.qos_profile for reader in readers if reader.node_name == "segmenter"), QoSProfile(depth=1))


def _value(status: object, key: str) -> str:
    return next(entry.value for entry in status.values if entry.key == key)
