"""Data sets of a few small frames in the layouts of the real ones; frames with ground truth hold every class."""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import yaml

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.core.class_set import CAMVID, CITYSCAPES, ClassSet
from erfnet_ros.data.synthetic.street import Street

SIZE = (64, 48)
"""(width, height) of the frames, unless another is asked for."""

FRAMES = {"train": 4, "val": 2, "test": 2}
"""Frames in each split, unless others are asked for."""

OWN = ClassSet("own", ("floor", "wall", "thing"), ((128, 64, 128), (70, 70, 70), (220, 20, 60)))
"""The class set of `make_folder`."""

CITYSCAPES_OF_CAMVID = (10, 2, 5, 0, 1, 8, 7, 4, 13, 11, 18)
"""The train id that comes nearest to each of CamVid's classes."""

ORIGINAL_NAMES = {
    "train": ("0001TP_006690", "0001TP_008520", "0006R0_f00930", "0016E5_07920", "0016E5_08190"),
    "val": ("0016E5_07959", "0016E5_08159"),
    "test": ("0001TP_008550", "0001TP_010380", "Seq05VD_f00000", "Seq05VD_f05100"),
}
"""Frames of the original release, among them those at the borders of the splits."""


def frame(number: int, size: tuple[int, int] = SIZE, class_set: ClassSet = CAMVID) -> tuple[Pixels, Pixels]:
    """Return a street's image and its labels, void 255, with a swatch of each class in the lowest rows."""
    rgb, camvid = (pixels.copy() for pixels in _street_frame(number, size))
    labels = _in_classes_of(class_set, camvid)
    width, height = size
    top = height - height // 8
    edges = np.linspace(0, width, len(class_set) + 1).astype(int)
    for class_id, (left, right) in enumerate(pairwise(edges)):
        rgb[top:, left:right] = class_set.colors[class_id]
        labels[top:, left:right] = class_id
    labels[0, 0] = VOID
    return rgb, labels


def write(path: Path, pixels: Pixels) -> Path:
    """Write an image (RGB) or labels as the path's suffix says, and make the folders on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    return path


def make_camvid(root: Path, frames: dict[str, int] = FRAMES, size: tuple[int, int] = SIZE) -> Path:
    """Make SPLIT/images/NAME.png and SPLIT/labels/NAME.png, void 11."""
    number = 0
    for split, count in frames.items():
        for index in range(count):
            rgb, labels = frame(number, size)
            labels[labels == VOID] = CAMVID.void
            write(root / split / "images" / f"{split}_{index:05d}.png", rgb)
            write(root / split / "labels" / f"{split}_{index:05d}.png", labels)
            number += 1
    return root


def make_camvid_original(root: Path) -> Path:
    """Make 701_StillsRaw_full/NAME.png and LabeledApproved_full/NAME_L.png, in colors of the 32 classes."""
    from erfnet_ros.data.datasets.camvid import GROUPS

    for number, name in enumerate(name for names in ORIGINAL_NAMES.values() for name in names):
        rgb, labels = frame(number)
        colors = np.zeros_like(rgb)
        for class_id, group in enumerate(CAMVID.names):
            rows, columns = np.nonzero(labels == class_id)
            # Every member of the group occurs, not only the one that gave it its name.
            members = np.array(list(GROUPS[group].values()), np.uint8)
            colors[rows, columns] = members[np.arange(len(rows)) % len(members)]
        write(root / "701_StillsRaw_full" / f"{name}.png", rgb)
        write(root / "LabeledApproved_full" / f"{name}_L.png", colors)
    return root


def make_cityscapes(root: Path, frames: dict[str, int] = FRAMES) -> Path:
    """Make leftImg8bit, gtFine and gtCoarse: train, val, test (its label files hold nothing) and 2 of train_extra."""
    from erfnet_ros.data.datasets.cityscapes import label_ids

    cities = {"train": ("aachen", "bochum"), "val": ("frankfurt",), "test": ("berlin",), "train_extra": ("erlangen",)}
    number = 0
    for split, count in {**frames, "train_extra": 2}.items():
        for index in range(count):
            rgb, labels = frame(number, class_set=CITYSCAPES)
            ids = label_ids(labels)
            if split == "test":
                ids[:] = 3
            city = cities[split][index % len(cities[split])]
            kind = "gtCoarse" if split == "train_extra" else "gtFine"
            name = f"{city}_{index:06d}_{number:06d}"
            write(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", rgb)
            write(root / kind / split / city / f"{name}_{kind}_labelIds.png", ids)
            number += 1
    return root


def make_folder(root: Path, frames: dict[str, int] | None = None, size: tuple[int, int] = SIZE) -> Path:
    """Make images/, labels/ and classes.yaml (`OWN`): 10 frames without splits, or `frames` in subfolders."""
    number = 0
    for split, count in ({"": 10} if frames is None else frames).items():
        for index in range(count):
            rgb, labels = frame(number, size, OWN)
            write(root / "images" / split / f"frame_{index}.jpg", rgb)
            write(root / "labels" / split / f"frame_{index}.png", labels)
            number += 1
    (root / "classes.yaml").write_text(yaml.safe_dump(OWN.to_dict(), sort_keys=False))
    return root


LAWN = [0, 24, 64, 24, 64, 48, 0, 48]
CAR = [16, 16, 40, 16, 40, 36, 16, 36]
"""Outlines of two areas of a frame, x, y, x, y, ...; the car stands on the lawn."""


def make_labelme(root: Path, frames: dict[str, int] = FRAMES) -> Path:
    """Make SPLIT/NAME.jpg with SPLIT/NAME.json, as labelme writes them: the classes lawn and car."""
    number = 0
    for split, count in frames.items():
        for index in range(count):
            write(root / split / f"{index}.jpg", frame(number)[0])
            number += 1
            shapes = [
                {"label": label, "points": np.reshape(points, (-1, 2)).tolist(), "shape_type": "polygon"}
                for label, points in (("lawn", LAWN), ("car", CAR))
            ]
            content = {"version": "5.5.0", "flags": {}, "imagePath": f"{index}.jpg", "imageData": None}
            size = {"imageHeight": 48, "imageWidth": 64}
            write_json(root / split / f"{index}.json", {**content, **size, "shapes": shapes})
    return root


def write_json(path: Path, content: object) -> None:
    """Write a JSON file, and make the folders on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@cache
def _street(size: tuple[int, int]) -> Street:
    # Laying it out takes longer than all frames that the tests need.
    return Street(0, size)


@cache
def _street_frame(number: int, size: tuple[int, int]) -> tuple[Pixels, Pixels]:
    return _street(size).frame(4 * number)


def _in_classes_of(class_set: ClassSet, camvid: Pixels) -> Pixels:
    """Turn CamVid's ids into the class set's, by meaning where it is Cityscapes, by remainder else."""
    table = np.full(256, VOID, np.uint8)
    ids = range(len(CAMVID))
    table[: len(CAMVID)] = CITYSCAPES_OF_CAMVID if class_set == CITYSCAPES else [i % len(class_set) for i in ids]
    return camvid.copy() if class_set == CAMVID else table[camvid]
