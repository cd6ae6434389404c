"""CamVid (Brostow, Fauqueur, Cipolla 2008) with the 11 classes that the segmentation literature reports on.

Three layouts are known:

- `SPLIT/images/NAME.jpg` or `.png`, `SPLIT/labels/NAME.png`: one byte a pixel, 0..10, 11 void;
- `SPLIT/NAME.png`, `SPLITannot/NAME.png`: the same files as the SegNet tutorial has them;
- `701_StillsRaw_full/NAME.png`, `LabeledApproved_full/NAME_L.png`: the original release, 960 x 720, in 32 colors.
"""

from __future__ import annotations

import re
from pathlib import Path

from erfnet_ros.core.array_types import VOID
from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import SourceError
from erfnet_ros.data.datasets.dataset import Layout, Listing, ending_in, files_in, pair, pair_by_stem
from erfnet_ros.data.image_files import images_in
from erfnet_ros.data.label_map import LabelMap

SPLITS = ("train", "val", "test")

_ORIGINAL_IMAGES, _ORIGINAL_LABELS = "701_StillsRaw_full", "LabeledApproved_full"
_LABEL_ENDING = "_L.png"

GROUPS: dict[str, dict[str, tuple[int, int, int]]] = {
    "sky": {"Sky": (128, 128, 128)},
    "building": {
        "Building": (128, 0, 0),
        "Wall": (64, 192, 0),
        "Bridge": (0, 128, 64),
        "Tunnel": (64, 0, 64),
        "Archway": (192, 0, 128),
    },
    "pole": {"Column_Pole": (192, 192, 128), "TrafficCone": (0, 0, 64)},
    "road": {"Road": (128, 64, 128), "LaneMkgsDriv": (128, 0, 192), "LaneMkgsNonDriv": (192, 0, 64)},
    "pavement": {"Sidewalk": (0, 0, 192), "ParkingBlock": (64, 192, 128), "RoadShoulder": (128, 128, 192)},
    "tree": {"Tree": (128, 128, 0), "VegetationMisc": (192, 192, 0)},
    "sign_symbol": {"SignSymbol": (192, 128, 128), "Misc_Text": (128, 128, 64), "TrafficLight": (0, 64, 64)},
    "fence": {"Fence": (64, 64, 128)},
    "car": {
        "Car": (64, 0, 128),
        "SUVPickupTruck": (64, 128, 192),
        "Truck_Bus": (192, 128, 192),
        "Train": (192, 64, 128),
        "OtherMoving": (128, 64, 64),
    },
    "pedestrian": {
        "Pedestrian": (64, 64, 0),
        "Child": (192, 128, 64),
        "CartLuggagePram": (64, 0, 192),
        "Animal": (64, 128, 64),
    },
    "bicyclist": {"Bicyclist": (0, 128, 192), "MotorcycleScooter": (192, 0, 192)},
    "void": {"Void": (0, 0, 0)},
}
"""The original's 32 classes and colors (R, G, B), under the class that each becomes.

Source: the release's label_colors.txt; the grouping is the one published with the SegNet split.
"""

ORIGINAL_COLORS = LabelMap(
    CAMVID,
    {},
    {
        color: VOID if group == "void" else CAMVID.names.index(group)
        for group, members in GROUPS.items()
        for color in members.values()
    },
)


class TutorialLayout(Layout):
    """The SegNet tutorial's split, ids in the label files; see the module for the folders."""

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(split for split in SPLITS if self._images(split).is_dir())

    def listing(self, split: str) -> Listing:
        folder = self._images(split)
        nested = folder.name == "images"
        labels = self.root / split / "labels" if nested else self.root / f"{split}annot"
        return pair_by_stem(images_in(folder), labels)

    def _images(self, split: str) -> Path:
        nested = self.root / split / "images"
        flat = self.root / f"{split}annot"
        return self.root / split if flat.is_dir() and not nested.is_dir() else nested


class OriginalLayout(Layout):
    """The original release of 701 frames in 32 colors; see the module for the folders."""

    @property
    def splits(self) -> tuple[str, ...]:
        return SPLITS

    def listing(self, split: str) -> Listing:
        folder, labels = self.root / _ORIGINAL_IMAGES, self.root / _ORIGINAL_LABELS
        images = [image for image in images_in(folder) if split_of(image.stem) == split]
        if not images:
            raise SourceError(
                f"Expected frames of CamVid's {split} split (such as {_EXAMPLES[split]}.png) in '{folder}', found "
                "none; keep the release's file names, which tell the splits apart."
            )
        # A label that no image belongs to is a fault of the split that it would be in.
        found = [path for path in ending_in(files_in(labels), _LABEL_ENDING) if split_of(_name(path)) == split]
        return pair(images, name_of=_name, label_of=lambda image: labels / f"{image.stem}{_LABEL_ENDING}", labels=found)


_EXAMPLES = {"train": "0006R0_f00930", "val": "0016E5_07959", "test": "Seq05VD_f00000"}


def open_camvid(root: Path) -> Layout:
    """Tell the layouts apart by their folders.

    Raises:
        SourceError: There is none of them.
    """
    if (root / _ORIGINAL_IMAGES).is_dir():
        return OriginalLayout(root, ORIGINAL_COLORS, "camvid", "camvid")
    layout = TutorialLayout(root, LabelMap.of(CAMVID), "camvid", "camvid")
    if not layout.splits:
        raise SourceError(
            f"Expected CamVid in '{root}': train/images and train/labels, train and trainannot, or {_ORIGINAL_IMAGES} "
            f"and {_ORIGINAL_LABELS}; got none of them."
        )
    return layout


def _name(path: Path) -> str:
    """Return the frame's name of an image or label file of the original release."""
    return path.stem.removesuffix("_L")


def split_of(name: str) -> str:
    """Return the split that the SegNet tutorial puts a frame of the original release into, by sequence and number.

    Its lists (367, 101 and 233 names) are these ranges: all of Seq05VD and 0001TP from 8550 on are test, 0016E5 from
    7959 to 8159 (its stretch at 15 Hz) is val, everything else is train.
    """
    match = re.fullmatch(r"(0001TP|0016E5|Seq05VD)_f?(\d+)", name)
    if match is None:
        return "train"
    sequence, number = match[1], int(match[2])
    if sequence == "Seq05VD" or (sequence == "0001TP" and number >= 8550):
        return "test"
    return "val" if sequence == "0016E5" and 7959 <= number <= 8159 else "train"
