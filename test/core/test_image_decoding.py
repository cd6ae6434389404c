"""Compressed images: decoding, Bayer patterns, and files that are refused before they take memory."""

from __future__ import annotations

import struct
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from erfnet_ros.core.errors import ImageError
from erfnet_ros.core.image_decoding import compressed_to_array

RGB = np.zeros((32, 48, 3), np.uint8)
RGB[:16, :24], RGB[:16, 24:], RGB[16:] = (200, 30, 40), (20, 180, 60), (30, 50, 190)


def compressed(format: str, pixels: np.ndarray, extension: str = ".png") -> SimpleNamespace:
    return SimpleNamespace(format=format, data=cv2.imencode(extension, pixels)[1])


def mosaic(rgb: np.ndarray) -> np.ndarray:
    """Return the pixels that a sensor of pattern RGGB sees."""
    seen = rgb[..., 1].copy()
    seen[::2, ::2], seen[1::2, 1::2] = rgb[::2, ::2, 0], rgb[1::2, 1::2, 2]
    return seen


@pytest.mark.parametrize("extension", [".png", ".jpg"])
def test_compressed_images_come_as_rgb(extension: str) -> None:
    flat = np.empty((16, 24, 3), np.uint8)
    flat[:] = (10, 120, 240)
    image = compressed_to_array(compressed("rgb8; jpeg", flat[..., ::-1], extension))
    np.testing.assert_allclose(image.astype(int), flat, atol=3)


@pytest.mark.parametrize("extension", [".png", ".jpg"])
def test_a_compressed_mosaic_is_debayered(extension: str) -> None:
    """image_transport compresses a Bayer pattern as if it were gray; scored as such it cost 7 points of mIoU."""
    image = compressed_to_array(compressed("bayer_rggb8; jpeg compressed ", mosaic(RGB), extension)).astype(int)
    for rows, columns in ((slice(4, 12), slice(4, 20)), (slice(4, 12), slice(28, 44)), (slice(20, 28), slice(4, 44))):
        np.testing.assert_allclose(image[rows, columns].mean((0, 1)), RGB[rows, columns].mean((0, 1)), atol=20)


def test_a_mosaic_that_was_debayered_before_compression_is_left_alone() -> None:
    image = compressed("bayer_rggb8; png compressed bgr8", RGB[..., ::-1])
    np.testing.assert_array_equal(compressed_to_array(image), RGB)


@pytest.mark.parametrize("format", ["mono16; png compressed mono16", "png"])
def test_16_bit_pixels_are_scaled_by_their_own_range(format: str) -> None:
    ramp = np.linspace(8000, 8400, 80).reshape(8, 10).round().astype(np.uint16)
    expected = ((ramp - 8000.0) * 255 / 400)[..., None].repeat(3, 2)
    np.testing.assert_allclose(compressed_to_array(compressed(format, ramp)).astype(int), expected, atol=1)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n", b"not an image", b"\xff\xd8\xff\xe0 cut"])
def test_a_broken_image_is_refused_with_its_length(data: bytes) -> None:
    with pytest.raises(ImageError, match=rf"JPEG or PNG.*got {len(data)} bytes of format 'jpeg'"):
        compressed_to_array(SimpleNamespace(format="jpeg", data=np.frombuffer(data, np.uint8)))


@pytest.mark.parametrize(
    ("format", "reason"),
    [
        ("h264", "a video whose frames need those before; decode it"),
        ("hevc", "a video whose"),
        ("16UC1; compressedDepth png", "a depth image; choose the topic of the color image"),
        ("16UC1; png compressed 16UC1", "a depth image"),
        ("avif", "not decoded here; set the camera driver to jpeg or png"),
    ],
)
def test_a_format_that_cannot_be_segmented_is_named_with_what_to_do(format: str, reason: str) -> None:
    with pytest.raises(ImageError, match=rf"Expected a JPEG or PNG .*got format '{format}', .*{reason}"):
        compressed_to_array(compressed(format, RGB))


@pytest.mark.parametrize("extension", [".jp2", ".hdr", ".ras", ".gif"])
def test_a_rarely_used_decoder_does_not_see_foreign_data(extension: str) -> None:
    """Such decoders have a history of memory faults."""
    if not cv2.haveImageWriter(f"image{extension}"):
        pytest.skip("this OpenCV does not write the format")
    with pytest.raises(ImageError, match="cannot be decoded"):
        compressed_to_array(compressed("jpeg", RGB.astype(np.float32) if extension == ".hdr" else RGB, extension))


@pytest.mark.parametrize("side", [5000, 30_000])
def test_a_small_file_of_a_huge_image_is_refused_before_it_is_decoded(side: int) -> None:
    """2.6 MB of PNG can be 30000 x 30000 pixels, which would take 2.7 GB; only the header is there to be read."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + checksum

    head = chunk(b"IHDR", side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0]))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    with pytest.raises(ImageError, match=r"at most 16\.8 megapixels, got"):
        compressed_to_array(SimpleNamespace(format="png", data=np.frombuffer(data, np.uint8)))


@pytest.mark.parametrize("extension", [".jpg", ".tiff", ".webp"])
def test_the_size_in_the_header_counts_in_each_format(extension: str) -> None:
    """A header can be changed by hand: the limit must not depend on what follows it."""
    small, side = cv2.imencode(extension, RGB, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes(), 16_383
    place, size = {
        ".jpg": (small.find(b"\xff\xc0") + 5, struct.pack(">HH", side, side)),
        ".webp": (small.find(b"VP8L") + 9, struct.pack("<I", side | side << 14)),
        # Tag, type, count and value of width (256) and height (257), which come first.
        ".tiff": (small.find(struct.pack("<HH", 256, 3)), struct.pack("<HHIIHHII", 256, 4, 1, side, 257, 4, 1, side)),
    }[extension]
    huge = small[:place] + size + small[place + len(size) :]
    with pytest.raises(ImageError, match=r"at most 16\.8 megapixels"):
        compressed_to_array(SimpleNamespace(format="png", data=np.frombuffer(huge, np.uint8)))
