"""Hypothesis strategies of messages that no camera should send."""

from __future__ import annotations

import math
import zlib
from array import array

import cv2
import numpy as np
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from erfnet_ros.core.image import CONVERTED, VIEWED

ENCODINGS = (*VIEWED, *CONVERTED, "16UC1", "32FC1", "")

# DDS ends a string at the first NUL, and takes no halves of surrogate pairs.
_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
_UINT32 = st.one_of(st.integers(0, 40), st.sampled_from([2**31, 2**32 - 1]), st.integers(0, 2**32 - 1))
_FLOATS = st.one_of(st.floats(), st.sampled_from([0.0, math.inf, -1e308]))


def _bytes(content: bytes) -> array[int]:
    return array("B", content)


HEADERS = st.builds(Header, frame_id=_TEXTS)

_ANY_IMAGE = st.builds(
    Image,
    header=HEADERS,
    height=_UINT32,
    width=_UINT32,
    encoding=st.one_of(st.sampled_from(ENCODINGS), _TEXTS),
    is_bigendian=st.integers(0, 255),
    step=_UINT32,
    data=st.binary(max_size=4000).map(_bytes),
)


@st.composite
def _nearly_right_image(draw: st.DrawFn) -> Image:
    """An image of a known encoding with the right step, whose data may be a little too short or long."""
    encoding = draw(st.sampled_from((*VIEWED, *CONVERTED)))
    height, width = draw(st.integers(7, 24)), draw(st.integers(7, 24))
    step = width * (VIEWED.get(encoding) or CONVERTED[encoding]) + draw(st.integers(0, 3))
    length = max(0, step * height * draw(st.sampled_from([1, 2, 3])) + draw(st.integers(-2, 2)))
    filled = _bytes(draw(st.binary(min_size=8, max_size=64)).ljust(64, b"\x55") * (length // 64 + 1))[:length]
    return Image(header=draw(HEADERS), height=height, width=width, encoding=encoding, step=step, data=filled)


IMAGES = st.one_of(_ANY_IMAGE, _nearly_right_image())

_PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
REAL_FILES = tuple(cv2.imencode(f".{kind}", _PICTURE)[1].tobytes() for kind in ("png", "jpg", "tiff", "webp", "bmp"))


@st.composite
def damaged(draw: st.DrawFn, files: tuple[bytes, ...]) -> bytes:
    """A real file of which a few bytes are changed, cut out or doubled."""
    content = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.integers(1, 8))
        kind = draw(st.sampled_from(["change", "cut", "double", "end", "number"]))
        if kind == "change":
            content[place : place + length] = draw(st.binary(min_size=length, max_size=length))
        elif kind == "cut":
            del content[place : place + length]
        elif kind == "double":
            content[place:place] = content[place : place + length]
        elif kind == "end":
            del content[place:]
        else:
            number = draw(st.sampled_from([0, 1, 2**31 - 1, 2**32 - 1, 2**63]))
            content[place : place + 8] = number.to_bytes(8, draw(st.sampled_from(["big", "little"])))
    return bytes(content)


FORMATS = st.one_of(
    st.sampled_from(["jpeg", "png", "rgb8; jpeg compressed bgr8", "bayer_rggb8; png compressed bayer_rggb8", "h264"]),
    _TEXTS,
)
ENCODED = st.one_of(damaged(REAL_FILES), st.binary(max_size=300))
COMPRESSED_IMAGES = st.builds(CompressedImage, header=HEADERS, format=FORMATS, data=ENCODED.map(_bytes))
CAMERA_INFOS = st.builds(
    CameraInfo,
    header=HEADERS,
    height=_UINT32,
    width=_UINT32,
    distortion_model=_TEXTS,
    d=st.lists(_FLOATS, max_size=20),
    k=st.lists(_FLOATS, min_size=9, max_size=9),
    r=st.lists(_FLOATS, min_size=9, max_size=9),
    p=st.lists(_FLOATS, min_size=12, max_size=12),
)


def bomb(side: int) -> bytes:
    """Return a whole PNG of side x side black RGB pixels; 30000 are 2.7 GB in 2.6 MB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    rows, packed = zlib.compressobj(9), b""
    packed = b"".join(rows.compress(bytes(1 + 3 * side)) for _ in range(side)) + rows.flush()
    head = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
