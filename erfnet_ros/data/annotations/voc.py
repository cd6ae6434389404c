"""Pascal VOC segmentation: JPEGImages/, SegmentationClass/ (palette or color PNG), ImageSets/Segmentation/SPLIT.txt.

labelmap.txt (CVAT, Datumaro) names the classes by color, `name:r,g,b::`; without it they are VOC's 20.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from erfnet_ros.core.array_types import VOID
from erfnet_ros.core.class_set import ClassSet, Color, generated_color
from erfnet_ros.core.errors import SourceError
from erfnet_ros.data.annotations.shapes import AnnotatedImage, Annotations, ImageIndex, Shape
from erfnet_ros.data.datasets.dataset import files_in
from erfnet_ros.data.image_files import label_files, read_labels
from erfnet_ros.data.label_map import LabelMap

_NAMES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
)
_BORDER = (224, 224, 192)


def read_voc(root: Path) -> Annotations:
    """Read a folder, or the one VOCdevkit/VOC2012 or the like below it.

    Raises:
        SourceError: It holds no labels, or a file cannot be read.
    """
    folders = sorted(root.rglob("SegmentationClass"))
    if len(folders) != 1:
        raise SourceError(f"Expected one folder SegmentationClass below '{root}', found {len(folders)}.")
    base, index, images = folders[0].parent, ImageIndex(root), []
    label_map = _label_map(base / "labelmap.txt")
    lists = {path.stem: path.read_text().split() for path in files_in(base / "ImageSets" / "Segmentation")}
    splits = {name: split for split in ("test", "val", "train") for name in lists.get(split, [])}
    for path in sorted(label_files(files_in(folders[0])).values()):
        labels = read_labels(path, label_map)
        shapes = [
            Shape(label_map.class_set.names[class_id], mask=labels == class_id)
            for class_id in np.unique(labels).tolist()
            if class_id != VOID
        ]
        names = (f"{path.stem}{suffix}" for suffix in (".jpg", ".png", ".JPG", ".jpeg"))
        image = next((found for name in names if (found := index.find(name, base / "JPEGImages")).is_file()), None)
        size = (labels.shape[1], labels.shape[0])
        images.append(AnnotatedImage(image or Path(f"{path.stem}.jpg"), splits.get(path.stem, ""), size, tuple(shapes)))
    return Annotations(label_map.class_set.names, tuple(images))


def _label_map(path: Path) -> LabelMap:
    colors: dict[str, Color] = {
        name: (0, 0, 0) if number == 0 else generated_color(number - 1) for number, name in enumerate(_NAMES.split())
    }
    if path.is_file():
        rows = [
            line.split(":") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()[:1] not in "#"
        ]
        colors = {}
        try:
            for name, color, *_ in rows:
                red, green, blue = (int(part) for part in color.split(","))
                colors[name] = (red, green, blue)
        except ValueError as error:
            raise SourceError(f"Expected lines 'name:r,g,b::' in '{path}', got: {error}; export it again.") from error
    class_set = ClassSet("voc", tuple(colors), tuple(colors.values()))
    found = LabelMap.of(class_set)
    return LabelMap(class_set, found.ids, {_BORDER: VOID, **found.colors})
