"""Encodings of sensor_msgs/Image, as a bag holds them, without ROS."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from erfnet_ros.core import image as core_image
from erfnet_ros.core.errors import ImageError
from erfnet_ros.core.image import CONVERTED, VIEWED, to_array

STORE = get_typestore(Stores.LATEST)
TIME = STORE.types["builtin_interfaces/msg/Time"]
HEADER = STORE.types["std_msgs/msg/Header"](TIME(0, 0), "camera")


def message(encoding: str, pixels: np.ndarray, padding: int = 0) -> Any:
    """Lay out (H, W, bytes) pixels in rows of `padding` extra bytes, as a bag's reader hands them over."""
    height, width = pixels.shape[:2]
    rows = np.pad(pixels.reshape(height, -1), ((0, 0), (0, padding)), constant_values=99)
    image = STORE.types["sensor_msgs/msg/Image"](
        HEADER, height, width, encoding, 0, rows.shape[1], np.frombuffer(rows.tobytes(), np.uint8)
    )
    type = "sensor_msgs/msg/Image"
    return STORE.deserialize_cdr(bytes(STORE.serialize_cdr(image, type)), type)


RGB = np.random.default_rng(1).integers(0, 256, (8, 10, 3), np.uint8)
ALPHA = np.full((8, 10, 1), 7, np.uint8)
LAYOUTS = {
    "rgb8": RGB,
    "bgr8": RGB[..., ::-1],
    "rgba8": np.dstack([RGB, ALPHA]),
    "bgra8": np.dstack([RGB[..., ::-1], ALPHA]),
    "8UC3": RGB[..., ::-1],
    "8UC4": np.dstack([RGB[..., ::-1], ALPHA]),
}


@pytest.mark.parametrize("padding", [0, 1, 13])
@pytest.mark.parametrize("encoding", LAYOUTS)
def test_colors_and_row_steps_are_honored(encoding: str, padding: int) -> None:
    np.testing.assert_array_equal(to_array(message(encoding, LAYOUTS[encoding], padding)), RGB)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_mono_is_gray_in_all_three_channels(encoding: str) -> None:
    """8UC1 is the infrared camera of a RealSense, and what cv_bridge calls gray images by default."""
    gray = RGB[..., :1]
    np.testing.assert_array_equal(to_array(message(encoding, gray, 5)), np.repeat(gray, 3, axis=2))


def test_an_encoding_without_channel_order_is_taken_as_opencv_has_it_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """cv2_to_imgmsg(image) publishes 8UC3; in RGB order a network takes the sky for something else."""
    core_image._warn_of_channel_order.cache_clear()
    for _ in range(3):
        np.testing.assert_array_equal(to_array(message("8UC3", RGB[..., ::-1])), RGB)
    assert [record.getMessage() for record in caplog.records if "taken as BGR" in record.getMessage()] == [
        "Encoding '8UC3' does not tell the order of the colors: it is taken as BGR, as OpenCV has it. Name the order "
        "where the image is published, for example cv2_to_imgmsg(image, 'bgr8')."
    ]


@pytest.mark.parametrize("encoding", VIEWED)
def test_8_bit_images_are_views_of_the_message(encoding: str) -> None:
    """A copy of each full-HD frame would cost a millisecond."""
    image = message(encoding, LAYOUTS.get(encoding, RGB[..., :1]))
    view = to_array(image)
    assert np.shares_memory(view, np.frombuffer(image.data, np.uint8))


def yuv_planes(encoding: str, rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the plane of Y and that of both colors: by OpenCV's planar 4:2:0, or for nv24 by BT.601."""
    height, width = rgb.shape[:2]
    if encoding == "nv24":
        matrix = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
        y, u, v = np.rint(rgb @ matrix.T + (16, 128, 128)).astype(np.uint8).transpose(2, 0, 1)
        return y, np.dstack([u, v]).reshape(height, -1)
    planar = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    u, v = planar[height:].reshape(2, height // 2, width // 2)
    return planar[:height], np.dstack((u, v) if encoding == "nv12" else (v, u)).reshape(-1, width)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ["nv12", "nv21", "nv24"])
def test_planar_yuv_of_oak_and_jetson_cameras_keeps_its_colors(encoding: str, padding: int) -> None:
    rgb = np.zeros((8, 10, 3), np.uint8)
    rgb[:4, :6], rgb[:4, 6:], rgb[4:] = (200, 30, 40), (20, 180, 60), (30, 50, 190)
    image = message(encoding, np.zeros((8, 10, 1), np.uint8), padding)
    rows = [np.pad(plane, ((0, 0), (0, padding * plane.shape[1] // 10))) for plane in yuv_planes(encoding, rgb)]
    image.data = np.concatenate([plane.ravel() for plane in rows])
    np.testing.assert_allclose(to_array(image).astype(int), rgb, atol=6)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", sorted(CONVERTED.keys() - {"nv12", "nv21", "nv24"}))
def test_a_flat_gray_survives_every_conversion(encoding: str, padding: int) -> None:
    """Gray is gray in Bayer, YUV and 16 bit alike; a wrong layout would tint it or shift rows."""
    pixels = np.full((8, 10, CONVERTED[encoding]), 128, np.uint8)
    rgb = to_array(message(encoding, pixels, padding))
    assert rgb.shape == (8, 10, 3)
    assert rgb.dtype == np.uint8
    np.testing.assert_allclose(rgb.astype(int), 128, atol=3)


@pytest.mark.parametrize("bits", ["8", "16"])
@pytest.mark.parametrize(("order", "red"), [("rggb", (0, 0)), ("bggr", (1, 1)), ("gbrg", (1, 0)), ("grbg", (0, 1))])
def test_bayer_patterns_put_red_where_the_encoding_says(order: str, red: tuple[int, int], bits: str) -> None:
    mosaic = np.zeros((8, 10), "<u2" if bits == "16" else np.uint8)
    mosaic[red[0] :: 2, red[1] :: 2] = 200
    pixels = mosaic.view(np.uint8).reshape(8, 10, -1)
    mean = to_array(message(f"bayer_{order}{bits}", pixels))[2:-2, 2:-2].mean((0, 1))
    assert mean[0] > 100 > 20 > mean[2]


@pytest.mark.parametrize("encoding", ["yuyv", "yuv422_yuy2", "uyvy", "yuv422"])
def test_packed_yuv_keeps_its_colors(encoding: str) -> None:
    y, u, v = (0, 1, 1) if encoding in ("yuyv", "yuv422_yuy2") else (1, 0, 0)
    yuv = np.zeros((8, 10, 2), np.uint8)
    yuv[..., y], yuv[:, 0::2, u], yuv[:, 1::2, v] = 81, 90, 240
    red = to_array(message(encoding, yuv))[4, 4].astype(int)
    assert red[0] > 200 > 60 > max(red[1], red[2])


@pytest.mark.parametrize("order", ["<u2", ">u2"])
@pytest.mark.parametrize("encoding", ["mono16", "rgb16", "bgr16", "rgba16", "bgra16"])
def test_16_bit_pixels_are_scaled_by_their_own_range(encoding: str, order: str) -> None:
    """A thermal camera's 8000 to 8400 and a 12-bit sensor's 0 to 4095 became nearly black, and were segmented."""
    channels = CONVERTED[encoding] // 2
    ramp = np.linspace(8000, 8400, 80).reshape(8, 10, 1).repeat(channels, 2).round()
    image = message(encoding, ramp.astype(order).view(np.uint8))
    image.is_bigendian = int(order == ">u2")
    expected = ((ramp - 8000) * 255 / 400)[..., :1].repeat(3, 2)
    np.testing.assert_allclose(to_array(image).astype(int), expected, atol=1)


def test_a_dead_pixel_does_not_take_the_range_of_a_thermal_image() -> None:
    thermal = np.linspace(8000, 8400, 4800).reshape(60, 80).round().astype("<u2")
    thermal[30, 40] = 0
    rgb = to_array(message("mono16", thermal.view(np.uint8).reshape(60, 80, 2)))
    assert rgb[0].max() < 10
    assert rgb[-1].min() > 245


@pytest.mark.parametrize(("encoding", "width", "height"), [("uyvy", 9, 8), ("nv12", 9, 8), ("nv21", 10, 9)])
def test_yuv_of_an_odd_side_is_refused_in_plain_words(encoding: str, width: int, height: int) -> None:
    image = message(encoding, np.zeros((height, width, CONVERTED[encoding]), np.uint8))
    text = f"even sides for {encoding}, in which pixels share their color, got {width}x{height}"
    with pytest.raises(ImageError, match=text):
        to_array(image)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"encoding": "lab8"}, "encoding out of rgb8, .*got 'lab8'; convert it"),
        ({"encoding": "32FC1"}, "got '32FC1'; choose the color topic of this depth camera"),
        ({"step": 29}, "step of at least 30 bytes for 10 pixels of rgb8, got 29"),
        ({"data": bytes(239)}, r"240 bytes of data \(step 30 x 8 rows\), got 239"),
        *(({"width": w, "height": h, "step": 3 * w}, f"got {w}x{h}") for w, h in ((0, 0), (1, 1), (8000, 6000))),
    ],
)
def test_an_unusable_image_is_refused_with_its_value(changes: dict[str, Any], text: str) -> None:
    image = message("rgb8", RGB)
    for name, value in changes.items():
        setattr(image, name, value)
    with pytest.raises(ImageError, match=text):
        to_array(image)
