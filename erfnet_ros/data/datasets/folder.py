"""A data set of one's own: images and labels by the same name, and what the ids mean.

classes.yaml                     names, colors, void, ids; see config/classes/camvid.yaml
images/NAME.png  (.jpg, ...)     without splits: the first four fifths are train, the last fifth, one at least, is val
labels/NAME.png                  class ids or colors; TIFF and BMP as well
images/SPLIT/NAME.png, labels/SPLIT/NAME.png    with splits; SPLIT is train, val, test or any other name
SPLIT/images/NAME.png, SPLIT/labels/NAME.png    the same
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from erfnet_ros.core.errors import SourceError
from erfnet_ros.data.datasets.dataset import Entry, Layout, Listing, files_in, pair_by_stem
from erfnet_ros.data.image_files import images_in, is_image
from erfnet_ros.data.label_map import LabelMap

_USUAL = ("train", "val", "test")
_OTHER_NAMES = ("masks", "mask", "label", "annotations", "gt", "ground_truth", "SegmentationClass")
"""What other tools call the folder of labels."""


class FolderLayout(Layout):
    """See the module for the folders."""

    @cached_property
    def splits(self) -> tuple[str, ...]:
        images = self.root / "images"
        found = _splits_in(self.root)
        if not found:
            return ("train", "val") if len(images_in(images)) > 1 else ("train",)
        loose = [path.name for path in files_in(images) if is_image(path)]
        if loose:
            raise SourceError(
                f"Expected images or a folder for each split in '{images}', got both, '{loose[0]}' and "
                f"'{min(found)}'; move one of them."
            )
        # The order in which they are used, then by name.
        return (*(s for s in _USUAL if s in found), *sorted(found.keys() - {*_USUAL}))

    def listing(self, split: str) -> Listing:
        folders = _splits_in(self.root).get(split)
        if folders is not None:
            return self._listing(*folders)
        whole = self._listing(self.root / "images", self.root / "labels")
        count = len(whole.entries)
        # Val is a block of its own, since neighbors in a drive are nearly the same; of two frames or more it has one.
        first = count - max(count // 5, min(1, count - 1))
        if split == "train":
            return Listing(whole.entries[:first], whole.unlabeled, whole.stray, whole.twins)
        return Listing(whole.entries[first:])

    def _listing(self, images: Path, labels: Path) -> Listing:
        folder = self.root / "labels" if (self.root / "images").is_dir() else labels
        if folder.is_dir():
            return pair_by_stem(images_in(images), labels)
        for name in _OTHER_NAMES:
            if folder.with_name(name).is_dir():
                raise SourceError(f"Expected the labels in '{folder}', got a folder '{name}'; rename it to labels.")
        return Listing(tuple(Entry(image.stem, image, None) for image in images_in(images)))


def open_folder(root: Path) -> Layout:
    """Read what the ids mean.

    Raises:
        SourceError: There are no images or no classes.yaml.
        ClassSetError: classes.yaml is not a class set.
    """
    for name, kind, there in (
        ("images", "a folder", (root / "images").is_dir() or _splits_in(root)),
        ("classes.yaml", "a file", (root / "classes.yaml").exists()),
    ):
        if not there:
            raise SourceError(
                f"Expected {kind} '{name}' in the data set '{root}', found none; a data set of your own is images/, "
                "labels/ (a PNG of class ids for each image) and classes.yaml (see config/classes/camvid.yaml)."
            )
    return FolderLayout(root, LabelMap.from_yaml(root / "classes.yaml"), "folder", root.resolve().name)


def _splits_in(root: Path) -> dict[str, tuple[Path, Path]]:
    """Return the folders of images and labels of each split; none where images/ holds the files themselves."""
    images = root / "images"
    if images.is_dir():
        found = {path.name: (path, root / "labels" / path.name) for path in files_in(images)}
    else:
        found = {path.name: (path / "images", path / "labels") for path in files_in(root)}
    # Not what macOS, Jupyter and network disks leave behind.
    return {name: folders for name, folders in found.items() if name[0] not in "._@" and folders[0].is_dir()}
