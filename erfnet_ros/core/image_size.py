"""Input sizes of the network and camera sizes, as options give them."""

from __future__ import annotations

import re

from erfnet_ros.core.errors import ParameterError

MIN_SIDE, MAX_SIDE = 8, 4096
_MIN_CAMERA_SIDE = 16


def check_input_size(width: int, height: int) -> None:
    """Raise ParameterError for sides outside 8..4096 pixels."""
    if not (MIN_SIDE <= width <= MAX_SIDE and MIN_SIDE <= height <= MAX_SIDE):
        raise ParameterError(
            f"Expected an input_size of {MIN_SIDE} to {MAX_SIDE} pixels per side, got {width}x{height}."
        )


def parse_input_size(text: str) -> tuple[int, int] | None:
    """Return (width, height) of `WIDTHxHEIGHT`, or None for `auto`; raise ParameterError for anything else."""
    if text == "auto":
        return None
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if match is None:
        raise ParameterError(f"Expected input_size to be auto or WIDTHxHEIGHT such as 640x360, got '{text}'.")
    width, height = int(match[1]), int(match[2])
    check_input_size(width, height)
    return width, height


def parse_camera_size(text: str) -> tuple[int, int]:
    """Return (width, height) of `WIDTHxHEIGHT`, given to `--size`; raise ParameterError for anything else."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text, re.ASCII)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if min(size) < _MIN_CAMERA_SIDE or max(size) > MAX_SIDE:
        raise ParameterError(
            f"Expected --size WIDTHxHEIGHT with sides of {_MIN_CAMERA_SIDE} to {MAX_SIDE} pixels, such as 1280x720; "
            f"got '{text}'."
        )
    return size
