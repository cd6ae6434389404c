"""Image and label files: listing of folders, and reading."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import ClassSetError, ImageError, SourceError
from erfnet_ros.core.image_decoding import decode, decode_rgb

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
"""What counts as an image in a folder; upper case as well."""


def images_in(folder: Path) -> list[Path]:
    """Return the image files of a folder, hidden ones left out, in natural order: frame_2 before frame_10.

    Raises:
        SourceError: The folder is missing or cannot be read, or holds no image.
    """
    try:
        images = [file for file in folder.iterdir() if _is_image(file)]
    except OSError as error:
        raise SourceError(f"Expected a folder of images at '{folder}', got: {error.strerror}.") from error
    if not images:
        raise SourceError(f"Expected images ({', '.join(sorted(IMAGE_SUFFIXES))}) in '{folder}', found none.")
    return sorted(images, key=_natural)


def read_rgb(path: Path) -> Pixels:
    """Read an image file as (H, W, 3) uint8 RGB; alpha is left out, 16-bit pixels are scaled by their own range.

    Raises:
        SourceError: The file cannot be read or decoded.
    """
    return _decode(path, cv2.IMREAD_COLOR, decode_rgb)


def read_ids(path: Path) -> Pixels:
    """Read a label file as (H, W) uint8, the ids as they stand in it; of a PNG with a palette, its indices.

    Raises:
        SourceError: The file cannot be read or decoded, or holds something else than one byte per pixel.
    """
    ids = _decode(path, cv2.IMREAD_UNCHANGED)
    if ids.ndim != 2 or ids.dtype != np.uint8:
        indices = _palette_indices(path)
        if indices is not None:
            return indices
        raise SourceError(
            f"Expected one byte per pixel, the class id, in '{path}', got {ids.dtype} of shape {ids.shape}; "
            "convert color labels to class ids."
        )
    return ids


def read_colors(path: Path) -> Pixels:
    """Read a label file of colors as (H, W, 3) uint8 RGB.

    Raises:
        SourceError: The file cannot be read or decoded, or holds ids, not colors.
    """
    bgr = _decode(path, cv2.IMREAD_UNCHANGED)
    if bgr.ndim != 3 or bgr.shape[2] != 3 or bgr.dtype != np.uint8:
        raise SourceError(
            f"Expected 8-bit colors (R, G, B) in '{path}', got {bgr.dtype} of shape {bgr.shape}; get the file again."
        )
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def read_truth(path: Path, class_set: ClassSet) -> Pixels:
    """Read a label file as (H, W) uint8 with the file's void turned into 255.

    Raises:
        SourceError: As `read_ids`; or ids occur that the class set does not have.
    """
    ids = read_ids(path)
    try:
        return class_set.truth_from_file_ids(ids)
    except ClassSetError as error:
        raise SourceError(f"Cannot use the labels '{path}': {error}") from error


def check_size(label: Path, truth: Pixels, image: Path, rgb: Pixels) -> None:
    """Refuse labels of another size than their image's.

    Raises:
        SourceError: The sizes differ.
    """
    if truth.shape != rgb.shape[:2]:
        raise SourceError(
            f"Expected the labels '{label}' in the size of '{image.name}', {_size(rgb)}, got {_size(truth)}; "
            "resize one of them (labels with nearest neighbor)."
        )


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return the key that sorts frame_2 before frame_10."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _palette_indices(path: Path) -> Pixels | None:
    """Return the indices (H, W) of an image with a palette, which OpenCV only gives as colors; None for others."""
    from PIL import Image

    with Image.open(path) as image:
        return np.array(image) if image.mode == "P" else None


def _decode(path: Path, flags: int, decoder: Callable[[Pixels, int], Pixels | None] = decode) -> Pixels:
    # Decoding the bytes: imread would also print to stderr, and fails for names that are not ASCII on some systems.
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
        pixels = decoder(content, flags)
    except OSError as error:
        raise SourceError(f"Cannot read '{path}': {error.strerror}.") from error
    except ImageError as error:
        raise SourceError(f"Cannot use '{path}': {error}") from error
    if pixels is None:
        raise SourceError(
            f"Expected an image in '{path}', got {content.size} bytes that no decoder knows; delete or replace it."
        )
    return pixels


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
