"""Import of annotation tools' exports into a data set of images, labels and classes.yaml."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import yaml
from PIL import Image

from erfnet_ros.core.array_types import VOID
from erfnet_ros.core.class_set import ClassSet, generated_color
from erfnet_ros.core.errors import SourceError
from erfnet_ros.core.progress import tracked
from erfnet_ros.data.annotations.coco import read_coco
from erfnet_ros.data.annotations.cvat import read_cvat
from erfnet_ros.data.annotations.labelme import read_labelme
from erfnet_ros.data.annotations.shapes import AnnotatedImage, Annotations, Overlaps, draw
from erfnet_ros.data.annotations.voc import read_voc
from erfnet_ros.data.image_files import read_orientation

_READERS: dict[str, Callable[[Path], Annotations]] = {
    "coco": read_coco,
    "labelme": read_labelme,
    "cvat": read_cvat,
    "voc": read_voc,
}

FORMATS = tuple(_READERS)


@dataclass(frozen=True)
class Imported:
    """What an import wrote.

    Attributes:
        class_set: In classes.yaml.
        frames: Number of frames by split; the split is empty where there is none.
        overlaps: Pixels on which one class covers another.
        left_out: Annotations and images that could not be used, a sentence each.
    """

    class_set: ClassSet
    frames: Counter[str]
    overlaps: Overlaps
    left_out: tuple[str, ...]


def import_annotations(kind: str, source: Path, *, out: Path, background: str | None = None) -> Imported:
    """Copy images and draw labels, class ids of 8 bits, void 255.

    Args:
        kind: One of `FORMATS`.
        source: Folder of the export.
        out: A new or empty folder.
        background: Class of pixels in no annotation; None makes them void.

    Raises:
        SourceError: `source` is no such export, nothing in it can be used, or `out` cannot be written or is not empty.
    """
    if not source.is_dir():
        raise SourceError(f"Expected the folder of an export at '{source}', found none; unpack the archive first.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SourceError(f"Expected a new folder to import to, got '{out}', which is there; name another.")
    annotations = _READERS[kind](source)
    names = list(dict.fromkeys((*([background] if background else []), *annotations.names)))
    if not names:
        raise SourceError(f"Expected annotated areas in '{source}', found none; label something first.")
    class_set = ClassSet(out.resolve().name, tuple(names), tuple(generated_color(i) for i in range(len(names))))
    ids = {name: number for number, name in enumerate(names)}
    has_splits = any(image.split for image in annotations.images)
    frames: Counter[str] = Counter()
    overlaps: Overlaps = Counter()
    left_out: list[str] = []
    taken: set[tuple[str, str]] = set()
    try:
        for annotated in tracked(annotations.images, len(annotations.images), "Importing"):
            left_out += annotated.left_out
            fault = _fault(annotated, background)
            if fault:
                left_out.append(fault)
                continue
            split = annotated.split or ("train" if has_splits else "")
            name = annotated.image.name
            while (split, Path(name).stem) in taken:
                name = f"{len(taken)}_{name}"
            taken.add((split, Path(name).stem))
            labels, covered = draw(annotated, ids, ids[background] if background else VOID)
            overlaps += covered
            image, label = out / "images" / split / name, out / "labels" / split / f"{Path(name).stem}.png"
            for folder in (image.parent, label.parent):
                folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(annotated.image, image)
            label.write_bytes(cv2.imencode(".png", labels)[1].tobytes())
            frames[split] += 1
        if not frames:
            raise SourceError(f"Expected images to import from '{source}', got none; {left_out[0]}.")
        (out / "classes.yaml").write_text(
            yaml.safe_dump(class_set.to_dict(), sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
    except OSError as error:
        raise SourceError(f"Cannot write '{out}': {error.strerror}; choose another folder.") from error
    return Imported(class_set, frames, overlaps, tuple(left_out))


def _fault(annotated: AnnotatedImage, background: str | None) -> str:
    """Return why an image cannot be used; empty where it can."""
    path, (width, height) = annotated.image, annotated.size
    if not path.is_file():
        return f"'{path}' is annotated, but not in the export: export with images, or put them next to it"
    if not annotated.shapes and not background:
        return f"'{path.name}' has no annotated area: name what it shows with --background"
    try:
        with Image.open(path) as image:
            size = image.size if read_orientation(path) < 5 else image.size[::-1]
    except OSError:
        return f"'{path}' is no image"
    if size != annotated.size:
        return f"'{path.name}' has {size[0]} x {size[1]} pixels, but is annotated as {width} x {height}"
    return ""
