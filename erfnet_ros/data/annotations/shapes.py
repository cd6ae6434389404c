"""Annotated images: the areas that an annotation tool stores, drawn as labels."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.core.errors import SourceError
from erfnet_ros.core.image import MAX_PIXELS
from erfnet_ros.data.image_files import is_image

Points = npt.NDArray[np.float64]

Overlaps = Counter[tuple[str, str]]
"""Pixels by the class that is drawn and the class that it covers."""

_SCALE = 4
_FARTHEST = 100_000.0
"""Coordinates that OpenCV surely takes, enlarged."""

_SPLITS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}


@dataclass(frozen=True)
class Shape:
    """Area of one class: outlines, a mask, or both.

    Attributes:
        outlines: Polygons (N, 2), x and y in pixels from the image's upper left corner; the area is all of theirs.
        mask: (h, w), true inside; None for none.
        corner: Column and row of the mask's first pixel.
    """

    name: str
    outlines: tuple[Points, ...] = ()
    mask: npt.NDArray[np.bool_] | None = None
    corner: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class AnnotatedImage:
    """Image file and what is annotated on it.

    Attributes:
        image: The file; its name alone where it was not found.
        split: Empty where the annotations have none.
        size: (width, height) that the annotations are drawn in, pixels.
        shapes: In drawing order, later ones on top.
        left_out: What could not be read as an area, a sentence each.
    """

    image: Path
    split: str
    size: tuple[int, int]
    shapes: tuple[Shape, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Annotations:
    """What an export holds; `names` are its classes in the tool's order."""

    names: tuple[str, ...]
    images: tuple[AnnotatedImage, ...]


@dataclass(frozen=True)
class ImageIndex:
    """Image files below a folder."""

    root: Path

    @cached_property
    def _by_name(self) -> Mapping[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in sorted(self.root.rglob("*")):
            if is_image(path) and "__MACOSX" not in path.parts:
                found.setdefault(path.name, []).append(path)
        return found

    def find(self, name: str, near: Path, split: str = "") -> Path:
        """Return the file that an annotation of a split calls `name`, in `near` before elsewhere; else the name."""
        wanted = Path(name.replace("\\", "/"))
        if is_image(near / wanted):
            return near / wanted
        found = self._by_name.get(wanted.name, [])
        fitting = [path for path in found if path.as_posix().endswith(f"/{wanted.as_posix()}")] or found
        same_split = [path for path in fitting if split_in(path.relative_to(self.root)) == split] or fitting
        return same_split[0] if len(same_split) == 1 else wanted


def draw(annotated: AnnotatedImage, ids: Mapping[str, int], background: int = VOID) -> tuple[Pixels, Overlaps]:
    """Return labels (H, W) uint8, and the pixels on which areas of different classes overlap."""
    width, height = annotated.size
    labels: Pixels = np.full((height, width), background, np.uint8)
    drawn = np.zeros((height, width), np.bool_)
    names = {class_id: name for name, class_id in ids.items()}
    overlaps: Overlaps = Counter()
    for shape in annotated.shapes:
        area = _area(shape, annotated.size)
        for class_id, count in zip(*np.unique(labels[area & drawn], return_counts=True), strict=True):
            if class_id != ids[shape.name]:
                overlaps[shape.name, names[int(class_id)]] += int(count)
        labels[area] = ids[shape.name]
        drawn |= area
    return labels, overlaps


def split_in(path: Path) -> str:
    """Return the split that a path names in its file's name or a folder's, empty for none."""
    for part in reversed(path.parts):
        match = re.search(r"(?<![a-z])(train(ing)?|val(id(ation)?)?|test(ing)?)(?![a-z])", part.lower())
        if match:
            return _SPLITS.get(match[0], match[0])
    return ""


def read_json(path: Path) -> Any:
    """Read a JSON file; SourceError where it cannot be read or is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise SourceError(f"Expected JSON in '{path}', got: {error}; export the annotations again.") from error


def outline(numbers: Iterable[Any]) -> Points:
    """Return x, y, x, y, ... as points (N, 2); ValueError for fewer than three points or odd numbers."""
    points = np.array(list(numbers), np.float64).reshape(-1, 2)
    if len(points) < 3:
        raise ValueError(f"a polygon of {len(points)} points")
    if not (np.abs(points) < _FARTHEST).all():
        raise ValueError("a polygon with points far outside the image")
    return points


def from_runs(runs: Iterable[int], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return the mask (h, w) of run lengths, row by row, that begin with a run outside; `size` is (width, height)."""
    counts = np.array(list(runs), np.int64)
    width, height = size
    if not 0 < width * height <= MAX_PIXELS or counts.sum() != width * height or counts.min(initial=0) < 0:
        raise ValueError(f"runs of {counts.sum()} pixels for a mask of {width} x {height}")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)


def _area(shape: Shape, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    width, height = size
    area = np.zeros((height, width), np.uint8)
    for points in shape.outlines:
        # OpenCV fills the boundary as well: drawn larger and sampled at pixel centers, it does not count.
        left, top = np.floor(points.min(axis=0)).astype(int).clip(0, (width, height))
        right, bottom = np.ceil(points.max(axis=0)).astype(int).clip((left, top), (width, height))
        larger = np.zeros((_SCALE * (bottom - top), _SCALE * (right - left)), np.uint8)
        cv2.fillPoly(larger, [np.round(_SCALE * (points - (left, top))).astype(np.int32)], (1,))
        area[top:bottom, left:right] |= larger[_SCALE // 2 :: _SCALE, _SCALE // 2 :: _SCALE]
    if shape.mask is not None:
        (left, top), (rows, columns) = shape.corner, shape.mask.shape
        inside = area[max(0, top) : top + rows, max(0, left) : left + columns]
        first_row, first_column = max(0, -top), max(0, -left)
        inside |= shape.mask[first_row : first_row + inside.shape[0], first_column : first_column + inside.shape[1]]
    return area > 0
