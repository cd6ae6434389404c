"""COCO instance segmentation, as CVAT, Label Studio, Roboflow, Supervisely, V7 and others export it.

Any JSON file with `images`, `annotations` and `categories` counts; the split is in its name or its folder's:
annotations/instances_train2017.json, train/_annotations.coco.json.
Format: https://cocodataset.org/#format-data; compressed runs as in pycocotools' maskApi.c, rleFrString.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from erfnet_ros.core.errors import SourceError
from erfnet_ros.data.annotations.shapes import (
    AnnotatedImage,
    Annotations,
    ImageIndex,
    Shape,
    from_runs,
    outline,
    read_json,
    split_in,
)


def read_coco(root: Path) -> Annotations:
    """Read all COCO files below a folder.

    Raises:
        SourceError: There is none, or one is damaged.
    """
    index, images = ImageIndex(root), []
    names: dict[str, None] = {}
    for path in sorted(root.rglob("*.json")):
        content = read_json(path)
        if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
            continue
        try:
            categories = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
            by_image: dict[Any, list[Mapping[str, Any]]] = {entry["id"]: [] for entry in content["images"]}
            for entry in content["annotations"]:
                by_image[entry["image_id"]].append(entry)
                names[categories[entry["category_id"]]] = None
            for entry in content["images"]:
                size = int(entry["width"]), int(entry["height"])
                split = split_in(path.relative_to(root)) or split_in(Path(entry["file_name"]))
                file = index.find(entry["file_name"], path.parent, split)
                images.append(
                    _image(
                        file,
                        split,
                        size=size,
                        annotations=[(categories[a["category_id"]], a) for a in by_image[entry["id"]]],
                    )
                )
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(
                f"Expected COCO annotations in '{path}', got {type(error).__name__}: {error}; export them again."
            ) from error
    if not images:
        raise SourceError(f"Expected a COCO file with images, annotations and categories below '{root}', found none.")
    return Annotations(tuple(names), tuple(images))


def _image(
    file: Path, split: str, *, size: tuple[int, int], annotations: list[tuple[str, Mapping[str, Any]]]
) -> AnnotatedImage:
    shapes, left_out = [], []
    for name, entry in annotations:
        segmentation = entry.get("segmentation")
        try:
            if isinstance(segmentation, dict):
                shapes.append(Shape(name, mask=_from_rle(segmentation)))
            elif segmentation:
                shapes.append(Shape(name, tuple(outline(part) for part in segmentation)))
            else:
                left_out.append(f"'{file.name}': a '{name}' has a box but no outline")
        except ValueError as error:
            left_out.append(f"'{file.name}': a '{name}' is {error}")
    return AnnotatedImage(file, split, size, tuple(shapes), tuple(left_out))


def _from_rle(segmentation: Mapping[str, Any]) -> Any:
    """Return the mask (H, W) of COCO's run lengths, which go down the columns."""
    height, width = segmentation["size"]
    counts = segmentation["counts"]
    runs = _decompressed(counts) if isinstance(counts, str) else counts
    return np.ascontiguousarray(from_runs(runs, (height, width)).T)


def _decompressed(text: str) -> list[int]:
    """Return runs out of text: groups of 5 bits, the lowest first, each run but the first two less the one before."""
    runs: list[int] = []
    value = place = 0
    for character in text:
        code = ord(character) - 48
        value |= (code & 31) << place
        place += 5
        if not code & 32:
            signed = value - (1 << place) if code & 16 else value
            runs.append(signed + runs[-2] if len(runs) > 2 else signed)
            value = place = 0
    return runs
