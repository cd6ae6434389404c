"""CamVid in the 11-class split of the SegNet tutorial: SPLIT/images/NAME.jpg and SPLIT/labels/NAME.png."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from erfnet_ros.errors import SourceError
from erfnet_ros.metrics import VOID

NUM_CLASSES = 11
_FILE_VOID = 11

Pixels = npt.NDArray[np.uint8]


def load(root: Path, splits: Sequence[str]) -> tuple[Pixels, Pixels]:
    """Read whole splits into memory (0.7 MB a frame).

    Returns:
        Images (N, H, W, 3) uint8 RGB and labels (N, H, W) uint8, void as 255.

    Raises:
        SourceError: A split is empty, or an image or label is missing, unreadable or of another size.
    """
    images, labels = [], []
    for split in splits:
        paths = sorted((root / split / "images").glob("*.jpg"))
        if not paths:
            raise SourceError(f"Expected JPEG images in {root / split / 'images'}, found none.")
        for path in paths:
            image = _read(path, cv2.IMREAD_COLOR)
            label = _read(root / split / "labels" / f"{path.stem}.png", cv2.IMREAD_UNCHANGED)
            if label.shape != image.shape[:2]:
                raise SourceError(f"Expected the labels of {path} in its size {image.shape[:2]}, got {label.shape}.")
            images.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            labels.append(label)
    truth = np.stack(labels).astype(np.uint8)
    truth[truth == _FILE_VOID] = VOID
    return np.stack(images).astype(np.uint8), truth


def _read(path: Path, flags: int) -> Pixels:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise SourceError(f"Cannot read {path}: the file is missing or not an image.")
    return image.astype(np.uint8)
