"""Segment image files: what the node does, without ROS."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from erfnet_ros.errors import ErfnetError, SourceError
from erfnet_ros.overlay import blend, color_mask
from erfnet_ros.segmenter import Segmenter

Pixels = npt.NDArray[np.uint8]

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""What counts as an image in a folder; a file that is named is read whatever it is called."""


@dataclass(frozen=True)
class Task:
    """An image to read, and what its outputs are called."""

    path: Path
    name: str


def find_images(arguments: Sequence[Path]) -> list[Task]:
    """List the images among files and folders, with output names that differ.

    Files of one stem get their folder's name in front, and where that is not enough a number behind.

    Raises:
        SourceError: A path does not exist, or a folder holds no image.
    """
    paths: list[Path] = []
    for argument in arguments:
        if argument.is_dir():
            found = sorted(path for path in argument.iterdir() if path.suffix.lower() in EXTENSIONS)
            if not found:
                raise SourceError(f"Expected images ({', '.join(EXTENSIONS)}) in {argument}, found none.")
            paths += found
        elif argument.exists():
            paths.append(argument)
        else:
            raise SourceError(f"Expected an image or a folder of images at {argument}, got no such file.")
    stems = [path.stem for path in paths]
    tasks: list[Task] = []
    taken: set[str] = set()
    for path in dict.fromkeys(paths):
        name = path.stem if stems.count(path.stem) == 1 else f"{path.resolve().parent.name}_{path.stem}"
        number = 2
        while name in taken:
            name = f"{name.removesuffix(f'-{number - 1}')}-{number}"
            number += 1
        taken.add(name)
        tasks.append(Task(path, name))
    return tasks


def segment_files(
    tasks: Iterable[Task], segmenter: Segmenter, folder: Path, threshold: float, alpha: float
) -> list[str]:
    """Segment each image and write mask, colours, overlay and confidence as PNG.

    A bad image is left out and the others are done.

    Args:
        folder: Where to; made where it is missing. `classes.yaml` in it names the ids.
        threshold: Pixels of a lower confidence become void (255) in the mask, 0..1.
        alpha: Weight of the colours in the overlay, 0..1.

    Returns:
        A message for each image that could not be segmented.

    Raises:
        SourceError: The folder cannot be written.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    tasks = list(tasks)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "classes.yaml").write_text(yaml.safe_dump(segmenter.class_set.to_dict(), sort_keys=False))
    except OSError as error:
        raise SourceError(f"Cannot write to {folder}: {error.strerror}; choose another folder with -o.") from error
    palette = segmenter.class_set.palette()
    faults: list[str] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr)) as progress:
        for task in progress.track(tasks, description="Segmenting"):
            try:
                rgb = read_rgb(task.path)
                result = segmenter(rgb)
            except ErfnetError as error:
                faults.append(f"{task.path}: {error}")
                continue
            mask = result.mask(threshold)
            _write(folder / f"{task.name}_mask.png", mask)
            _write(folder / f"{task.name}_confidence.png", result.confidence)
            _write(folder / f"{task.name}_color.png", cv2.cvtColor(color_mask(mask, palette), cv2.COLOR_RGB2BGR))
            _write(
                folder / f"{task.name}_overlay.png", cv2.cvtColor(blend(rgb, mask, palette, alpha), cv2.COLOR_RGB2BGR)
            )
    return faults


def read_rgb(path: Path) -> Pixels:
    """Read an image file as (H, W, 3) uint8 RGB.

    Raises:
        SourceError: The file cannot be read or decoded.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise SourceError(f"Cannot read {path}: {error.strerror}.") from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise SourceError(f"Expected an image, got {len(data)} bytes that OpenCV cannot decode; is the file damaged?")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image).astype(np.uint8, copy=False)


def _write(path: Path, pixels: Pixels | cv2.typing.MatLike) -> None:
    if not cv2.imwrite(str(path), pixels):
        raise SourceError(f"Cannot write {path}; is the disk full?")
