"""Segment image files: what the node does, without ROS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from erfnet_ros.core.errors import ErfnetError, SourceError
from erfnet_ros.core.progress import tracked
from erfnet_ros.data.image_files import images_in, read_rgb
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.visualization.contact_sheet import write_png
from erfnet_ros.visualization.overlay import blend, color_mask

KINDS = ("mask", "color", "overlay", "confidence")
"""What is written of each image, as NAME_KIND.png."""


@dataclass(frozen=True)
class Task:
    """An image to read, and what its outputs are called."""

    path: Path
    name: str


def find_images(arguments: Sequence[Path]) -> list[Task]:
    """List the images among files and folders, with output names that differ.

    In a folder, files with an image's extension are read; a file that is named is read whatever it is called.

    Files of one stem get their folder's name in front, and where that is not enough a number behind.
    """
    paths = list(dict.fromkeys(path for argument in arguments for path in _images_at(argument)))
    stems = Counter(path.stem for path in paths)
    tasks: list[Task] = []
    taken: set[str] = set()
    for path in paths:
        wanted = path.stem if stems[path.stem] == 1 else f"{path.resolve().parent.name}_{path.stem}"
        names = (wanted if number == 1 else f"{wanted}-{number}" for number in count(1))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        tasks.append(Task(path, name))
    return tasks


def _images_at(path: Path) -> list[Path]:
    if not path.is_dir():
        if not path.exists():
            raise SourceError(f"Expected an image or a folder of images at {path}, got no such file; check the path.")
        return [path]
    return images_in(path)


def segment_files(
    tasks: Sequence[Task], segmenter: Segmenter, folder: Path, *, threshold: float, alpha: float
) -> list[str]:
    """Segment each image and write mask, colors, overlay and confidence as PNG; show the progress on stderr.

    A bad image is left out and the others are done.

    Args:
        folder: Where to; made where it is missing. `classes.yaml` in it names the ids.
        threshold: Pixels of a lower confidence become void (255) in the mask, 0..1.
        alpha: Weight of the colors in the overlay, 0..1.

    Returns:
        A message for each image that could not be segmented.
    """
    _check_outputs(tasks, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "classes.yaml").write_text(segmenter.class_set.to_yaml(), encoding="utf-8")
    except OSError as error:
        raise SourceError(f"Cannot write to {folder}: {error.strerror}; choose another folder with -o.") from error
    faults: list[str] = []
    palette = segmenter.class_set.palette()
    for task in tracked(tasks, len(tasks), "Segmenting"):
        try:
            rgb = read_rgb(task.path)
            result = segmenter(rgb)
        except SourceError as error:
            faults.append(str(error))
            continue
        except ErfnetError as error:
            faults.append(f"{task.path}: {error}")
            continue
        mask = result.mask(threshold)
        colors, overlay = color_mask(mask, palette), blend(rgb, mask, palette, alpha)
        for kind, picture in zip(KINDS, (mask, colors, overlay, result.confidence), strict=True):
            write_png(folder / f"{task.name}_{kind}.png", picture)
    return faults


def _check_outputs(tasks: Sequence[Task], folder: Path) -> None:
    inputs = {task.path.resolve() for task in tasks}
    outputs = (folder.resolve() / f"{task.name}_{kind}.png" for task in tasks for kind in KINDS)
    replaced = next((output for output in outputs if output in inputs), None)
    if replaced is not None:
        raise SourceError(f"The outputs would replace the image {replaced}; choose another folder with -o.")
