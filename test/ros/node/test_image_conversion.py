"""Conversion of images to messages and back."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sensor_msgs.msg", reason="ROS messages are not installed")

from std_msgs.msg import Header

from erfnet_ros.core.image import to_array
from erfnet_ros.core.image_decoding import compressed_to_array
from erfnet_ros.ros.node.image_conversion import compressed_from_array, from_array, to_rgb


@given(width=st.integers(8, 40), height=st.integers(8, 40), seed=st.integers(0, 99))
def test_what_is_published_is_read_back_unchanged(width: int, height: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    header = Header(frame_id="camera")
    for encoding, given_pixels in (("rgb8", pixels), ("bgr8", pixels[..., ::-1])):
        image = from_array(given_pixels, encoding, header)
        assert (image.step, image.header.frame_id, image.is_bigendian) == (3 * width, "camera", 0)
        np.testing.assert_array_equal(to_array(image), pixels)


def test_pixels_are_copied_into_a_message_once() -> None:
    """At 1920x1080 a copy of mask and confidence is 2 MB each a frame."""
    labels = np.zeros((1080, 1920), np.uint8)
    tracemalloc.start()
    message = from_array(labels, "mono8", Header())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(message.data) == labels.size
    assert most < 1.5 * labels.size


def test_a_bgr_message_is_read_in_place() -> None:
    message = from_array(np.zeros((20, 30, 3), np.uint8), "bgr8", Header())
    assert np.shares_memory(to_rgb(message), np.frombuffer(message.data, np.uint8))


def test_a_compressed_mask_is_lossless() -> None:
    """JPEG would invent classes along every border."""
    labels = np.random.default_rng(2).integers(0, 256, (33, 21), np.uint8)
    compressed = compressed_from_array(labels, Header())
    assert compressed.format == "mono8; png compressed "
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(compressed.data, np.uint8), cv2.IMREAD_UNCHANGED), labels)


def test_a_compressed_color_image_is_what_compressed_image_transport_decodes() -> None:
    """Its subscriber turns BGR into RGB where the format says so; a wrong word swaps red and blue in RViz."""
    rgb = np.full((48, 64, 3), (200, 90, 30), np.uint8)
    for quality, form in ((None, "rgb8; png compressed bgr8"), (95, "rgb8; jpeg compressed bgr8")):
        compressed = compressed_from_array(rgb, Header(), quality)
        assert compressed.format == form
        assert np.abs(compressed_to_array(compressed).astype(int) - rgb).max() <= (0 if quality is None else 4)
