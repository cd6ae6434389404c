"""Published images are read back as they were."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sensor_msgs.msg", reason="ROS messages are not installed")

from std_msgs.msg import Header

from erfnet_ros.core.image import to_array
from erfnet_ros.ros.node.image_conversion import from_array, png_from_array


@given(width=st.integers(8, 40), height=st.integers(8, 40), seed=st.integers(0, 99))
def test_what_is_published_is_read_back_unchanged(width: int, height: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    header = Header(frame_id="camera")
    for encoding, given_pixels in (("rgb8", pixels), ("bgr8", pixels[..., ::-1])):
        image = from_array(given_pixels, encoding, header)
        assert (image.step, image.header.frame_id, image.is_bigendian) == (3 * width, "camera", 0)
        np.testing.assert_array_equal(to_array(image), pixels)


def test_a_compressed_mask_is_lossless() -> None:
    """JPEG would invent classes along every border."""
    labels = np.random.default_rng(2).integers(0, 256, (33, 21), np.uint8)
    compressed = png_from_array(labels, Header())
    assert "png" in compressed.format
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(compressed.data, np.uint8), cv2.IMREAD_UNCHANGED), labels)
