"""labelme: a JSON file for each image, next to it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from erfnet_ros.core.errors import SourceError
from erfnet_ros.data.annotations.shapes import (
    AnnotatedImage,
    Annotations,
    ImageIndex,
    Shape,
    outline,
    read_json,
    split_in,
)

_CIRCLE_POINTS = 64


def read_labelme(root: Path) -> Annotations:
    """Read all labelme files below a folder; classes are sorted by name.

    Raises:
        SourceError: There is none, or one is damaged.
    """
    index, images = ImageIndex(root), []
    for path in sorted(root.rglob("*.json")):
        content = read_json(path)
        if not isinstance(content, dict) or not {"shapes", "imagePath"} <= content.keys():
            continue
        shapes, left_out = [], []
        try:
            size = int(content["imageWidth"]), int(content["imageHeight"])
            file = index.find(content["imagePath"], path.parent)
            for entry in content["shapes"]:
                try:
                    shapes.append(_shape(entry))
                except ValueError as error:
                    left_out.append(f"'{path.name}': a '{entry['label']}' is {error}")
        except (KeyError, TypeError) as error:
            raise SourceError(
                f"Expected labelme's annotations in '{path}', got {type(error).__name__}: {error}; save them again."
            ) from error
        images.append(
            AnnotatedImage(file, split_in(path.relative_to(root).parent), size, tuple(shapes), tuple(left_out))
        )
    if not images:
        raise SourceError(f"Expected labelme's JSON files (with shapes and imagePath) below '{root}', found none.")
    return Annotations(tuple(sorted({shape.name for image in images for shape in image.shapes})), tuple(images))


def _shape(entry: dict[str, Any]) -> Shape:
    kind, name, points = entry.get("shape_type", "polygon"), str(entry["label"]), entry["points"]
    if kind == "polygon":
        return Shape(name, (outline(number for point in points for number in point),))
    (x0, y0), (x1, y1) = [*points, [0, 0], [0, 0]][:2]
    if kind == "mask":
        content = np.frombuffer(base64.b64decode(entry["mask"]), np.uint8)
        mask = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise ValueError("a mask that cannot be decoded")
        return Shape(name, mask=np.asarray(mask) > 0, corner=(round(x0), round(y0)))
    if kind == "rectangle":
        return Shape(name, (outline((x0, y0, x1, y0, x1, y1, x0, y1)),))
    if kind == "circle":
        angles = np.linspace(0, 2 * np.pi, _CIRCLE_POINTS, endpoint=False)
        circle = np.hypot(x1 - x0, y1 - y0) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return Shape(name, (circle + np.array([x0, y0]),))
    raise ValueError(f"a {kind}, which has no area")
