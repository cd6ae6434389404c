"""Frame sources: the synthetic street, a folder of images with or without ground truth, a video file."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import CAMVID, ClassSet
from erfnet_ros.core.errors import ImageError, ParameterError, SourceError
from erfnet_ros.core.image import MAX_PIXELS
from erfnet_ros.core.image import check_size as check_image_size
from erfnet_ros.data.image_files import (
    IMAGE_SUFFIXES,
    check_size,
    images_in,
    label_files,
    pairing_key,
    read_labels,
    read_rgb,
)
from erfnet_ros.data.label_map import LabelMap
from erfnet_ros.data.synthetic.street import Street

_SYNTHETIC = "synthetic"
_VIDEO_JPEG_QUALITY = 97


@dataclass(frozen=True)
class Frame:
    """A camera image, and what is known to be on it.

    Attributes:
        name: File name without suffix, or the frame's number; unique within its source.
        rgb: (H, W, 3) uint8 RGB.
        ground_truth: (H, W) uint8 class ids, 255 is void; None where there is no ground truth.
    """

    name: str
    rgb: Pixels
    ground_truth: Pixels | None


@dataclass(frozen=True)
class Depth:
    """How far away each pixel of a frame is, as a camera at the same place sees it.

    Attributes:
        meters: (H, W) float32 along the optical axis, NaN where there is nothing.
        intrinsics: fx, fy, cx, cy in pixels, whole numbers at the pixel centers.
    """

    meters: npt.NDArray[np.float32]
    intrinsics: tuple[float, float, float, float]


class Source(ABC):
    """A sequence of frames, each decoded when it is asked for; can be iterated over any number of times.

    Attributes:
        has_ground_truth: Whether every frame comes with ground truth; else none does.
    """

    has_ground_truth: bool

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Frame:
        """Return one frame, index 0 to len - 1; IndexError otherwise, SourceError where it cannot be decoded."""

    def __iter__(self) -> Iterator[Frame]:
        for index in range(len(self)):
            yield self[index]

    def depth(self, index: int) -> Depth:
        """Return the depth of a frame; SourceError where it is not known."""
        raise SourceError(
            "Expected a source whose depth is known, 'synthetic' or 'synthetic:SEED', got images; leave out --depth."
        )

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"Expected a frame from 0 to {len(self) - 1}, got {index}.")
        return index


def open_source(spec: str, class_set: ClassSet, *, frames: int = 150, size: tuple[int, int] = (480, 360)) -> Source:
    """Open a source of frames.

    Args:
        spec: "synthetic" or "synthetic:SEED", a folder of images, a folder with images/ and labels/ (a PNG of class ids
            of the same stem for each image), or a video file.
        class_set: What the ids in label files mean.
        frames: Number of synthetic frames, and the most that are taken of a video; folders give all they have.
        size: (width, height) of synthetic frames, pixels.
    """
    if frames < 1:
        raise SourceError(f"Expected 1 frame or more, got {frames}.")
    if spec == _SYNTHETIC or spec.startswith(f"{_SYNTHETIC}:"):
        return _SyntheticSource(Street(_seed(spec), size), frames, class_set)
    path = Path(spec).expanduser()
    if path.is_dir():
        return _folder(path, class_set)
    if not path.exists():
        raise SourceError(
            f"Expected 'synthetic', 'synthetic:SEED', a folder of images or a video file, got '{spec}',"
            " which does not exist; check the path."
        )
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise SourceError(
            f"Expected a folder or a video, got the single image '{spec}'; name its folder '{path.parent}'."
        )
    return _VideoSource(path, frames)


def spread_evenly(count: int, limit: int | None) -> range | list[int]:
    """Return the indices of `limit` of `count` frames, evenly spread; all of them where there are no more."""
    if limit is None:
        return range(count)
    if limit < 1:
        raise ParameterError(f"Expected a limit of 1 frame or more, got {limit}.")
    # Neighbors of a drive look alike: the first few would say little of the rest.
    return range(count) if limit >= count else [(2 * i + 1) * count // (2 * limit) for i in range(limit)]


class _SyntheticSource(Source):
    """Frames of a synthetic street."""

    def __init__(self, street: Street, frames: int, class_set: ClassSet):
        self._street, self._frames = street, frames
        # The street's ids are CamVid's: to a network with other classes they are no ground truth.
        self.has_ground_truth = class_set.names == CAMVID.names

    def __len__(self) -> int:
        return self._frames

    def __getitem__(self, index: int) -> Frame:
        rgb, labels = self._street.frame(self._checked(index))
        return Frame(f"{index:06d}", rgb, labels if self.has_ground_truth else None)

    def depth(self, index: int) -> Depth:
        """Render the depth of a frame."""
        return Depth(*self._street.depth(self._checked(index)))


class _FolderSource(Source):
    """Image files, each perhaps with a label file."""

    def __init__(self, images: list[Path], labels: list[Path] | None, class_set: ClassSet):
        self._images, self._labels, self._label_map = images, labels, LabelMap.of(class_set)
        self.has_ground_truth = labels is not None

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Frame:
        image = self._images[self._checked(index)]
        rgb = read_rgb(image)
        if self._labels is None:
            return Frame(image.stem, rgb, None)
        label = self._labels[index]
        ground_truth = read_labels(label, self._label_map)
        check_size(label, ground_truth, image, rgb)
        return Frame(image.stem, rgb, ground_truth)


class _VideoSource(Source):
    """The first frames of a video, kept as JPEG: containers seek badly and often lie about their length."""

    has_ground_truth = False

    def __init__(self, path: Path, frames: int):
        capture = cv2.VideoCapture(str(path))
        quality = (cv2.IMWRITE_JPEG_QUALITY, _VIDEO_JPEG_QUALITY)
        self._jpegs: list[Pixels] = []
        try:
            width, height = (int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
            if width * height > MAX_PIXELS:
                # Before a frame is decoded, which would take gigabytes.
                check_image_size(width, height)
            while len(self._jpegs) < frames:
                found, bgr = capture.read()
                if not found:
                    break
                self._jpegs.append(cv2.imencode(".jpg", bgr, quality)[1].astype(np.uint8, copy=False))
        except ImageError as error:
            raise SourceError(f"Cannot use '{path}': {error}") from error
        finally:
            capture.release()
        if not self._jpegs:
            raise SourceError(
                f"Expected a video, got no frame out of '{path}'; "
                "see whether another program plays it, or convert it to MP4 (H.264)."
            )

    def __len__(self) -> int:
        return len(self._jpegs)

    def __getitem__(self, index: int) -> Frame:
        bgr = np.asarray(cv2.imdecode(self._jpegs[self._checked(index)], cv2.IMREAD_COLOR))
        return Frame(f"{index:06d}", cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False), None)


def _seed(spec: str) -> int:
    seed = spec.partition(":")[2] if ":" in spec else "0"
    if not re.fullmatch(r"\d{1,18}", seed, re.ASCII):
        raise SourceError(f"Expected 'synthetic' or 'synthetic:SEED' with a whole number of 0 or more, got '{spec}'.")
    return int(seed)


def _folder(path: Path, class_set: ClassSet) -> _FolderSource:
    """Open a folder of images, or one with images/ and, for ground truth, labels/."""
    folder = path / "images" if (path / "images").is_dir() else path
    images = images_in(folder)
    if folder == path or not (path / "labels").is_dir():
        return _FolderSource(images, None, class_set)
    there = label_files((path / "labels").iterdir())
    expected = [pairing_key(path / "labels" / image.name) for image in images]
    missing = [image.name for image, key in zip(images, expected, strict=True) if key not in there]
    if missing:
        raise SourceError(
            f"Expected a label of the same name for each of the {len(images)} images in '{folder}', "
            f"got none for {len(missing)}, the first being '{missing[0]}'; "
            f"add them to '{path / 'labels'}', or name '{folder}' to go without ground truth."
        )
    return _FolderSource(images, [there[key] for key in expected], class_set)
