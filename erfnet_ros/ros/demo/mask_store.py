"""Masks and overlays of a run, on disk until pictures and score are made of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import ImageError

_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)


class MaskStore:
    """Keep what came back of each frame: a run of any length needs no memory, and the engine most of the processor.

    Args:
        folder: An existing, empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put_labels(self, index: int, labels: Pixels) -> None:
        """Keep (H, W) uint8 class ids, losslessly."""
        _write(self._folder / f"{index}.png", labels, _PNG)

    def put_overlay(self, index: int, rgb: Pixels) -> None:
        """Keep an (H, W, 3) uint8 RGB picture, as a JPEG of high quality."""
        _write(self._folder / f"{index}.jpg", np.ascontiguousarray(rgb[..., ::-1]), _JPEG)

    def labels(self, index: int) -> Pixels:
        """Return the class ids of a frame.

        Raises:
            ImageError: None were kept.
        """
        return _read(self._folder / f"{index}.png", cv2.IMREAD_GRAYSCALE)

    def overlay(self, index: int) -> Pixels:
        """Return the (H, W, 3) uint8 RGB overlay of a frame.

        Raises:
            ImageError: None was kept.
        """
        return np.ascontiguousarray(_read(self._folder / f"{index}.jpg", cv2.IMREAD_COLOR)[..., ::-1])

    def complete(self) -> list[int]:
        """Return the frames of which both are kept, in order."""
        names = {kind: {int(path.stem) for path in self._folder.glob(f"*.{kind}")} for kind in ("png", "jpg")}
        return sorted(names["png"] & names["jpg"])


def _write(path: Path, picture: Pixels, options: tuple[int, ...]) -> None:
    ok, data = cv2.imencode(path.suffix, picture, options)
    if not ok:
        raise ImageError(f"Expected a picture that {path.suffix} can hold, got shape {picture.shape}.")
    path.write_bytes(data.tobytes())


def _read(path: Path, mode: int) -> Pixels:
    picture = cv2.imread(str(path), mode)
    if picture is None:
        raise ImageError(
            f"Expected the picture of frame {path.stem}, got none; was the output folder cleared meanwhile?"
        )
    return picture.astype(np.uint8, copy=False)
