"""Cityscapes (Cordts et al., CVPR 2016) as published: labelIds on disk, the 19 train ids in memory.

leftImg8bit/SPLIT/CITY/CITY_SEQUENCE_FRAME_leftImg8bit.png
gtFine/SPLIT/CITY/CITY_SEQUENCE_FRAME_gtFine_labelIds.png      train, val
gtCoarse/SPLIT/CITY/CITY_SEQUENCE_FRAME_gtCoarse_labelIds.png  train_extra; train_coarse and val_coarse, if asked
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.core.class_set import CITYSCAPES
from erfnet_ros.core.errors import SourceError
from erfnet_ros.data.datasets.dataset import Entry, Layout, Listing, ending_in, files_in, pair
from erfnet_ros.data.label_map import LabelMap

LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The label id of each train id. Source: cityscapesScripts, helpers/labels.py."""

LABEL_ID_COUNT = 34
"""Label ids are 0..33; those that are no train id are void."""

_IMAGE_ENDING = "_leftImg8bit.png"
_SPLITS: dict[str, tuple[str, str | None]] = {
    "train": ("train", "gtFine"),
    "val": ("val", "gtFine"),
    # The published label files of test hold nothing: its ground truth is known to the server alone.
    "test": ("test", None),
    "train_extra": ("train_extra", "gtCoarse"),
    "train_coarse": ("train", "gtCoarse"),
    "val_coarse": ("val", "gtCoarse"),
}
"""Folder of the images, and kind of the ground truth."""


class CityscapesLayout(Layout):
    """See the module for the folders."""

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(
            split
            for split, (folder, kind) in _SPLITS.items()
            if (self.root / "leftImg8bit" / folder).is_dir()
            and (not split.endswith("_coarse") or (self.root / str(kind) / folder).is_dir())
        )

    def listing(self, split: str) -> Listing:
        folder, kind = _SPLITS[split]
        images = ending_in(_in_cities(self.root / "leftImg8bit" / folder), _IMAGE_ENDING)
        images.sort(key=lambda image: image.name)
        if not images:
            raise SourceError(
                f"Expected images CITY/*{_IMAGE_ENDING} in '{self.root / 'leftImg8bit' / folder}', found none."
            )
        if kind is None:
            return Listing(tuple(Entry(_name(image), image, None) for image in images))
        ending = f"_{kind}_labelIds.png"
        labels = self.root / kind / folder
        return pair(
            images,
            name_of=_name,
            label_of=lambda image: labels / image.parent.name / f"{_name(image)}{ending}",
            labels=ending_in(_in_cities(labels), ending),
        )


def open_cityscapes(root: Path) -> Layout:
    """Check that there is a split.

    Raises:
        SourceError: There is none.
    """
    layout = CityscapesLayout(root, LABEL_MAP, "cityscapes", "cityscapes")
    if not layout.splits:
        raise SourceError(
            f"Expected Cityscapes in '{root}': leftImg8bit/train, val, test or train_extra, with gtFine or gtCoarse "
            "next to leftImg8bit; got no such folder."
        )
    return layout


def label_ids(labels: Pixels) -> Pixels:
    """Turn train ids of any shape into label ids; void becomes 0, "unlabeled", as in the official scripts."""
    return _LABEL_IDS[labels]


def _name(image: Path) -> str:
    return image.name.removesuffix(_IMAGE_ENDING)


def _in_cities(folder: Path) -> list[Path]:
    return [file for city in files_in(folder) if not city.name.startswith(".") for file in files_in(city)]


LABEL_MAP = LabelMap(
    CITYSCAPES,
    {VOID: VOID, **dict.fromkeys(range(LABEL_ID_COUNT), VOID), **{key: i for i, key in enumerate(LABEL_IDS)}},
    {},
)
_LABEL_IDS: Pixels = np.zeros(256, np.uint8)
_LABEL_IDS[: len(LABEL_IDS)] = LABEL_IDS
