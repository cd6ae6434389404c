"""Contact sheets, labeled strips, PNG files and videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import ImageError
from erfnet_ros.core.output_files import write_file
from erfnet_ros.visualization.overlay import color_mask

Color = tuple[int, int, int]

PANEL_WIDTH = 400
"""Width of each picture on the contact sheet, pixels."""

_BACKGROUND: Color = (22, 24, 28)
_TEXT: Color = (238, 238, 238)
_FAINT: Color = (160, 164, 172)
_MARGIN = 24
_GAP = 10
_LINE = 26
_TITLE_LINE = 44
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Sample:
    """One frame and what came of it, all (H, W[, 3]) uint8 of one size.

    Attributes:
        caption: What stands above the row; printable ASCII, for OpenCV's fonts have nothing else.
        ground_truth: (H, W) class ids, 255 void; None where the ground truth is not known.
        labels: (H, W) class ids from the network, 255 void.
    """

    caption: str
    rgb: Pixels
    ground_truth: Pixels | None
    labels: Pixels
    overlay: Pixels


def labeled_strip(sample: Sample, class_set: ClassSet) -> Pixels:
    """Lay image, ground truth (if known), mask and overlay, each `PANEL_WIDTH` wide, side by side under their names."""
    palette = class_set.palette()
    panels = [("image", sample.rgb), ("mask", color_mask(sample.labels, palette)), ("overlay", sample.overlay)]
    if sample.ground_truth is not None:
        panels.insert(1, ("ground truth", color_mask(sample.ground_truth, palette)))
    height = round(sample.labels.shape[0] * PANEL_WIDTH / sample.labels.shape[1])
    strip = _canvas(_LINE + height, len(panels) * (PANEL_WIDTH + _GAP) - _GAP)
    for column, (name, picture) in enumerate(panels):
        left = column * (PANEL_WIDTH + _GAP)
        smooth = name in ("image", "overlay")
        strip[_LINE:, left : left + PANEL_WIDTH] = _resize(picture, PANEL_WIDTH, height, smooth)
        _write(strip, name, origin=(left, _LINE - 8), scale=0.5, color=_FAINT)
    (width, _), _ = cv2.getTextSize(sample.caption, _FONT, 0.5, 1)
    _write(strip, sample.caption, origin=(max(80, PANEL_WIDTH - width), _LINE - 8), scale=0.5, color=_TEXT)
    return strip


def contact_sheet(samples: Sequence[Sample], class_set: ClassSet, *, title: str, subtitle: str = "") -> Pixels:
    """Stack the strips of `samples` under a title, with the colors of the classes below."""
    if not samples:
        raise ImageError("Expected at least one frame for the contact sheet, got none.")
    strips = [labeled_strip(sample, class_set) for sample in samples]
    width = max(strip.shape[1] for strip in strips)
    legend = _legend(class_set, width)
    top = _canvas(_TITLE_LINE + (_LINE if subtitle else 0), width)
    _write(top, title, origin=(0, 28), scale=0.9, color=_TEXT)
    _write(top, subtitle, origin=(0, _TITLE_LINE + 12), scale=0.55, color=_FAINT)
    parts = [top, *strips, legend]
    sheet = _canvas(sum(part.shape[0] + _GAP for part in parts) - _GAP + 2 * _MARGIN, width + 2 * _MARGIN)
    y = _MARGIN
    for part in parts:
        sheet[y : y + part.shape[0], _MARGIN : _MARGIN + part.shape[1]] = part
        y += part.shape[0] + _GAP
    return sheet


def write_png(path: Path, rgb: Pixels) -> None:
    """Write an (H, W, 3) uint8 RGB or (H, W) gray image."""
    ok, data = cv2.imencode(".png", rgb if rgb.ndim == 2 else cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    if not ok:
        raise ImageError(f"Expected an image that PNG can hold, got shape {rgb.shape} of {rgb.dtype}.")
    write_file(path, data.tobytes())


class VideoWriter:
    """Write frames to an MP4 file (MPEG-4 Part 2, which every OpenCV build can write); without frames there is none.

    The first frame sets the size; later ones of another size are fitted into it with black borders.
    """

    def __init__(self, path: Path, rate_hz: float) -> None:
        self._path = path
        self._rate_hz = rate_hz
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._writer is not None:
            self._writer.release()

    def write(self, rgb: Pixels) -> None:
        """Append an (H, W, 3) uint8 RGB frame."""
        if self._writer is None:
            # The codec stores color at half size: an odd side would be refused.
            self._size = (max(2, rgb.shape[1] & ~1), max(2, rgb.shape[0] & ~1))
            self._writer = cv2.VideoWriter(str(self._path), cv2.VideoWriter.fourcc(*"mp4v"), self._rate_hz, self._size)
            if not self._writer.isOpened():
                raise ImageError(
                    f"Expected to write the video '{self._path}', got a refusal from OpenCV; choose another folder."
                )
        self._writer.write(np.ascontiguousarray(_fit(rgb, self._size)[..., ::-1]))


def _fit(rgb: Pixels, size: tuple[int, int]) -> Pixels:
    """Fit `rgb` into `size` (width, height) with black borders; an odd line at its edge is cut off."""
    width, height = size
    if 0 <= rgb.shape[1] - width <= 1 and 0 <= rgb.shape[0] - height <= 1:
        return rgb[:height, :width]
    scale = min(width / rgb.shape[1], height / rgb.shape[0])
    inner = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    framed = np.zeros((height, width, 3), np.uint8)
    x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
    framed[y : y + inner[1], x : x + inner[0]] = _resize(rgb, *inner, smooth=True)
    return framed


def class_legend(class_set: ClassSet) -> Pixels:
    """Return an (H, W, 3) uint8 RGB picture with a line for each class: its color and its name."""
    legend = _legend(class_set, 0)
    return cv2.copyMakeBorder(legend, 0, 10, 10, 0, cv2.BORDER_CONSTANT, value=_BACKGROUND).astype(np.uint8, copy=False)


def _legend(class_set: ClassSet, width: int) -> Pixels:
    """Draw a swatch and a name per class, then void, in columns that fill `width`; one column where it is 0."""
    entries = [*zip(class_set.names, class_set.colors, strict=True), ("void", (0, 0, 0))]
    cell = 44 + max(cv2.getTextSize(name, _FONT, 0.5, 1)[0][0] for name, _ in entries)
    columns = max(1, width // cell)
    cell = max(cell, width // min(columns, len(entries)))
    legend = _canvas(_LINE * -(-len(entries) // columns) + 10, width or cell)
    for index, (name, color) in enumerate(entries):
        x, y = cell * (index % columns), _LINE * (index // columns) + 10
        cv2.rectangle(legend, (x, y), (x + 22, y + 15), color, cv2.FILLED)
        cv2.rectangle(legend, (x, y), (x + 22, y + 15), _FAINT, 1)
        _write(legend, name, origin=(x + 31, y + 13), scale=0.5, color=_TEXT)
    return legend


def _canvas(height: int, width: int) -> Pixels:
    """Return an empty (height, width, 3) picture in the background's color."""
    return np.full((height, width, 3), _BACKGROUND, np.uint8)


def _resize(picture: Pixels, width: int, height: int, smooth: bool) -> Pixels:
    """Resize a color picture; class colors (`smooth` false) are never mixed."""
    if picture.shape[:2] == (height, width):
        return picture
    shrinks = width < picture.shape[1]
    method = (cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR) if smooth else cv2.INTER_NEAREST
    return cv2.resize(picture, (width, height), interpolation=method).astype(np.uint8, copy=False)


def _write(canvas: Pixels, text: str, *, origin: tuple[int, int], scale: float, color: Color) -> None:
    """Write `text` with its baseline's left end at `origin` (x, y)."""
    cv2.putText(canvas, text, origin, _FONT, scale, color, 1, cv2.LINE_AA)
