"""Output recorder: stamps and frame ids of serialized messages."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

from erfnet_ros.msg import SegmentationStatistics
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from erfnet_ros.data.bags.message_types import IMAGE, known_types
from erfnet_ros.data.bags.messages import header, image
from erfnet_ros.ros.harness.output_recorder import read_header, read_statistics

STAMP_NS = 1_700_000_000_123_456_789


@pytest.mark.parametrize("message_type", [Image, CompressedImage, SegmentationStatistics])
@pytest.mark.parametrize("frame_id", ["", "camera_optical_frame", "kamera_ü"])
def test_header_of_a_serialized_message_is_that_of_the_message(message_type: type, frame_id: str) -> None:
    message = message_type()
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(STAMP_NS, 1_000_000_000)
    message.header.frame_id = frame_id
    assert read_header(message) == (STAMP_NS, frame_id)
    assert read_header(serialize_message(message)) == (STAMP_NS, frame_id)


@pytest.mark.parametrize("little_endian", [True, False])
def test_both_byte_orders_are_read(little_endian: bool) -> None:
    import numpy as np

    store = known_types()
    message = image(np.zeros((8, 8), np.uint8), "mono8", header(STAMP_NS, "camera"))
    data = store.serialize_cdr(message, IMAGE, little_endian=little_endian)
    assert read_header(bytes(data)) == (STAMP_NS, "camera")


def test_statistics_are_the_same_serialized_or_not() -> None:
    message = SegmentationStatistics(frames_processed=3, frames_dropped=2, frames_rejected=1, inference_ms=4.5)
    assert read_statistics(message) is message
    assert read_statistics(serialize_message(message)) == message
