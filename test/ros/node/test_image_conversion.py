"""Whatever the camera driver sends is read as the picture that it is, or refused with the reason."""

from __future__ import annotations

import re
from array import array

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sensor_msgs = pytest.importorskip("sensor_msgs.msg", reason="ROS messages are not installed")

from std_msgs.msg import Header  # noqa: E402

from erfnet_ros.core.errors import ImageError  # noqa: E402
from erfnet_ros.core.image_encodings import CONVERTED, VIEWED, compressed_to_array  # noqa: E402
from erfnet_ros.ros.node.image_conversion import from_array, png_from_array, to_array  # noqa: E402


def message(encoding: str, pixels: np.ndarray, padding: int = 0) -> sensor_msgs.Image:
    """Lay out (H, W, bytes) pixels in rows of `padding` extra bytes."""
    height, width = pixels.shape[:2]
    rows = np.pad(pixels.reshape(height, -1), ((0, 0), (0, padding)), constant_values=99)
    image = sensor_msgs.Image(height=height, width=width, encoding=encoding, step=rows.shape[1])
    image.data = array("B", rows.tobytes())
    return image


RGB = np.random.default_rng(1).integers(0, 256, (8, 10, 3), np.uint8)
ALPHA = np.full((8, 10, 1), 7, np.uint8)
LAYOUTS = {
    "rgb8": RGB,
    "bgr8": RGB[..., ::-1],
    "rgba8": np.dstack([RGB, ALPHA]),
    "bgra8": np.dstack([RGB[..., ::-1], ALPHA]),
}


@pytest.mark.parametrize("padding", [0, 1, 13])
@pytest.mark.parametrize("encoding", LAYOUTS)
def test_colors_and_row_steps_are_honored(encoding: str, padding: int) -> None:
    np.testing.assert_array_equal(to_array(message(encoding, LAYOUTS[encoding], padding)), RGB)


def test_mono_is_gray_in_all_three_channels() -> None:
    gray = RGB[..., :1]
    np.testing.assert_array_equal(to_array(message("mono8", gray, 5)), np.repeat(gray, 3, axis=2))


@pytest.mark.parametrize("encoding", VIEWED)
def test_8_bit_images_are_views_of_the_message(encoding: str) -> None:
    """A copy of each full-HD frame would cost a millisecond."""
    image = message(encoding, LAYOUTS.get(encoding, RGB[..., :1]))
    view = to_array(image)
    assert np.shares_memory(view, np.frombuffer(image.data, np.uint8))


@given(width=st.integers(8, 40), height=st.integers(8, 40), padding=st.integers(0, 9), seed=st.integers(0, 99))
def test_what_is_published_is_read_back_unchanged(width: int, height: int, padding: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    header = Header(frame_id="camera")
    for encoding, given_pixels in (("rgb8", pixels), ("bgr8", pixels[..., ::-1])):
        image = from_array(given_pixels, encoding, header)
        assert (image.step, image.header.frame_id, image.is_bigendian) == (3 * width, "camera", 0)
        np.testing.assert_array_equal(to_array(image), pixels)
        np.testing.assert_array_equal(to_array(message(encoding, given_pixels, padding)), pixels)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", CONVERTED)
def test_a_flat_gray_survives_every_conversion(encoding: str, padding: int) -> None:
    """Gray is gray in Bayer, YUV and 16 bit alike; a wrong layout would tint it or shift rows."""
    pixels = np.full((8, 10, CONVERTED[encoding]), 128, np.uint8)
    rgb = to_array(message(encoding, pixels, padding))
    assert rgb.shape == (8, 10, 3)
    assert rgb.dtype == np.uint8
    np.testing.assert_allclose(rgb.astype(int), 128, atol=3)


@pytest.mark.parametrize(
    ("encoding", "red"), [("bayer_rggb8", (0, 0)), ("bayer_bggr8", (1, 1)), ("bayer_gbrg8", (1, 0))]
)
def test_bayer_patterns_put_red_where_the_encoding_says(encoding: str, red: tuple[int, int]) -> None:
    mosaic = np.zeros((8, 10, 1), np.uint8)
    mosaic[red[0] :: 2, red[1] :: 2] = 200
    mean = to_array(message(encoding, mosaic))[2:-2, 2:-2].mean((0, 1))
    assert mean[0] > 100 > 20 > mean[2]


def test_yuv_and_16_bit_keep_their_colors() -> None:
    yuyv = np.zeros((8, 10, 2), np.uint8)
    yuyv[..., 0], yuyv[:, 0::2, 1], yuyv[:, 1::2, 1] = 81, 90, 240
    red = to_array(message("yuyv", yuyv))[4, 4].astype(int)
    assert red[0] > 200 > 60 > max(red[1], red[2])
    deep = np.array([65535, 32768, 0], "<u2")
    np.testing.assert_allclose(
        to_array(message("rgb16", np.broadcast_to(deep.view(np.uint8), (8, 10, 6))))[3, 3].astype(int),
        [255, 128, 0],
        atol=1,
    )


def refusal(image: sensor_msgs.Image) -> str:
    with pytest.raises(ImageError) as caught:
        to_array(image)
    return str(caught.value)


def test_an_unknown_encoding_is_named_with_those_that_work() -> None:
    image = message("rgb8", RGB)
    image.encoding = "32FC1"
    assert re.search("encoding out of rgb8, .*got '32FC1'; convert it", refusal(image))


def test_a_step_too_small_for_the_row_is_refused_with_both_numbers() -> None:
    image = message("rgb8", RGB)
    image.step = 29
    assert "step of at least 30 bytes for 10 pixels of rgb8, got 29" in refusal(image)


def test_data_shorter_than_its_rows_is_refused_with_both_numbers() -> None:
    image = message("rgb8", RGB)
    image.data = image.data[:-1]
    assert "240 bytes of data (step 30 x height 8), got 239" in refusal(image)


@pytest.mark.parametrize(("width", "height"), [(0, 0), (1, 1), (8000, 6000)])
def test_sizes_that_cannot_be_segmented_are_refused_before_any_work(width: int, height: int) -> None:
    image = sensor_msgs.Image(width=width, height=height, encoding="rgb8", step=3 * width)
    assert f"got {width}x{height}" in refusal(image)


@pytest.mark.parametrize("extension", [".png", ".jpg"])
def test_compressed_images_come_as_rgb(extension: str) -> None:
    flat = np.empty((16, 24, 3), np.uint8)
    flat[:] = (10, 120, 240)
    encoded = cv2.imencode(extension, flat[..., ::-1])[1]
    image = sensor_msgs.CompressedImage(format="rgb8; jpeg", data=array("B", encoded.tobytes()))
    np.testing.assert_allclose(compressed_to_array(image).astype(int), flat, atol=3)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n", b"not an image", b"\xff\xd8\xff\xe0 cut"])
def test_a_broken_compressed_image_is_refused_with_its_length(data: bytes) -> None:
    image = sensor_msgs.CompressedImage(format="jpeg", data=array("B", data))
    with pytest.raises(ImageError, match=rf"JPEG or PNG.*got {len(data)} bytes of format 'jpeg'"):
        compressed_to_array(image)


def test_a_compressed_mask_is_lossless() -> None:
    """JPEG would invent classes along every border."""
    labels = np.random.default_rng(2).integers(0, 256, (33, 21), np.uint8)
    compressed = png_from_array(labels, Header())
    assert "png" in compressed.format
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(compressed.data, np.uint8), cv2.IMREAD_UNCHANGED), labels)
