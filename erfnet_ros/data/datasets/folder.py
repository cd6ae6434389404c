"""A data set of one's own: images and labels by the same name, and what the ids mean.

classes.yaml                     names, colors, void; as config/classes/camvid.yaml
images/NAME.png  (.jpg, ...)     without splits: the first four fifths are train, the last fifth, one at least, is val
labels/NAME.png                  one byte a pixel, the class id
images/SPLIT/NAME.png, labels/SPLIT/NAME.png    with splits; SPLIT is train, val, test or any other name
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import SourceError
from erfnet_ros.data.datasets.dataset import Entry, Layout, Listing, files_in, pair_by_stem
from erfnet_ros.data.image_files import images_in, read_truth

_USUAL = ("train", "val", "test")


class FolderLayout(Layout):
    """See the module for the folders."""

    @cached_property
    def splits(self) -> tuple[str, ...]:
        found = {path.name for path in files_in(self.root / "images") if path.is_dir() and path.name[0] != "."}
        if not found:
            return ("train", "val") if len(images_in(self.root / "images")) > 1 else ("train",)
        # The order in which they are used, then by name.
        return (*(s for s in _USUAL if s in found), *sorted(found - {*_USUAL}))

    def listing(self, split: str) -> Listing:
        folder = self.root / "images" / split
        if folder.is_dir():
            return self._listing(split)
        whole = self._listing("")
        count = len(whole.entries)
        # Val is a block of its own, since neighbors in a drive are nearly the same; of two frames or more it has one.
        first = count - max(count // 5, min(1, count - 1))
        if split == "train":
            return Listing(whole.entries[:first], whole.unlabeled, whole.stray, whole.twins)
        return Listing(whole.entries[first:])

    def read_truth(self, path: Path) -> Pixels:
        return read_truth(path, self.class_set)

    def _listing(self, split: str) -> Listing:
        images = images_in(self.root / "images" / split)
        if not (self.root / "labels").is_dir():
            return Listing(tuple(Entry(image.stem, image, None) for image in images))
        return pair_by_stem(images, self.root / "labels" / split)


def open_folder(root: Path) -> Layout:
    """Read what the ids mean.

    Raises:
        SourceError: There is no images/ or no classes.yaml.
        ClassSetError: classes.yaml is not a class set.
    """
    for name, kind in (("images", "a folder"), ("classes.yaml", "a file")):
        if not (root / name).exists():
            raise SourceError(
                f"Expected {kind} '{name}' in the data set '{root}', found none; a data set of your own is images/, "
                "labels/ (a PNG of class ids for each image) and classes.yaml (see config/classes/camvid.yaml)."
            )
    return FolderLayout(root, ClassSet.from_yaml(root / "classes.yaml"), "folder", root.resolve().name)
