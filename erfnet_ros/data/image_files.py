"""Image and label files: listing of folders, and reading."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from unicodedata import normalize

import cv2
import numpy as np
from PIL import Image

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import ClassSetError, ImageError, SourceError
from erfnet_ros.core.image_decoding import decode, decode_rgb
from erfnet_ros.data.label_map import LabelMap

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
"""What counts as an image in a folder; upper case as well."""

LABEL_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".bmp"})
"""Label files, upper case as well: formats that change no value."""

_ORIENTATION = 0x0112


def images_in(folder: Path) -> list[Path]:
    """Return the image files of a folder, hidden ones left out, in natural order: frame_2 before frame_10."""
    try:
        images = [file for file in folder.iterdir() if is_image(file)]
    except OSError as error:
        raise SourceError(f"Expected a folder of images at '{folder}', got: {error.strerror}.") from error
    if not images:
        raise SourceError(f"Expected images ({', '.join(sorted(IMAGE_SUFFIXES))}) in '{folder}', found none.")
    return sorted(images, key=_natural)


def is_image(file: Path) -> bool:
    """Tell by its name whether a file is an image; hidden ones are none."""
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()


def label_files(paths: Iterable[Path]) -> dict[Path, Path]:
    """Return the label files among paths by `pairing_key`, hidden files left out; of one name the PNG."""
    found = [path for path in paths if path.suffix.lower() in LABEL_SUFFIXES and not path.name.startswith(".")]
    return {pairing_key(path): path for path in sorted(found, key=lambda path: path.suffix.lower() == ".png")}


def pairing_key(path: Path) -> Path:
    """Return the path without suffix, accents composed: macOS writes names in another form of Unicode than Linux."""
    return path.with_name(normalize("NFC", path.stem))


def read_orientation(path: Path) -> int:
    """Return the EXIF orientation of an image file: 1 as stored, 2..8 turned or mirrored when it is read."""
    with Image.open(path) as image:
        return int(image.getexif().get(_ORIENTATION, 1))


def read_rgb(path: Path) -> Pixels:
    """Read an image file as (H, W, 3) uint8 RGB; alpha is left out, 16-bit pixels are scaled by their own range.

    Raises:
        SourceError: The file cannot be read or decoded.
    """
    return _decode(path, cv2.IMREAD_COLOR, decode_rgb)


def read_labels(path: Path, label_map: LabelMap) -> Pixels:
    """Read a label file as (H, W) uint8 class ids, 255 void.

    Gray of any depth holds ids, an image with a palette or three channels colors; see `LabelMap`.

    Raises:
        SourceError: The file cannot be read or decoded, or holds ids or colors that the label map does not know.
    """
    pixels = _decode(path, cv2.IMREAD_UNCHANGED)
    try:
        with Image.open(path) as image:
            if image.mode == "P":
                # OpenCV would give the colors alone.
                values = iter(image.getpalette("RGB") or [])
                return label_map.from_palette(np.array(image), list(zip(values, values, values, strict=False)))
            if image.mode == "1":
                return label_map.from_ids(np.array(image, np.uint8))
            if image.format == "PNG" and image.mode == "L":
                return label_map.from_ids(pixels // _gray_step(path))
            gray = pixels.ndim == 2 or image.mode == "LA"
        if pixels.ndim == 3 and pixels.shape[2] == 4 and (pixels[..., 3] != pixels[0, 0, 3]).any():
            raise ClassSetError("Expected labels without transparency, got an alpha channel; export without it.")
        if gray:
            return label_map.from_ids(pixels if pixels.ndim == 2 else pixels[..., 0])
        if pixels.dtype != np.uint8:
            raise ClassSetError(f"Expected ids, or colors of 8 bits, got colors of {pixels.dtype}.")
        return label_map.from_colors(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False))
    except ClassSetError as error:
        raise SourceError(f"Cannot use the labels '{path}': {error}") from error


def check_size(label: Path, ground_truth: Pixels, image: Path, rgb: Pixels) -> None:
    """Refuse labels of another size than their image's."""
    if ground_truth.shape != rgb.shape[:2]:
        if ground_truth.shape == rgb.shape[1::-1] and read_orientation(image) > 1:
            raise SourceError(
                f"Expected the labels '{label}' turned as '{image.name}' is by its EXIF orientation, {_size(rgb)}, got "
                f"{_size(ground_truth)}; turn the labels as well, or remove the tag (exiftool -Orientation= IMAGE)."
            )
        raise SourceError(
            f"Expected the labels '{label}' in the size of '{image.name}', {_size(rgb)}, got {_size(ground_truth)}; "
            "resize one of them (labels with nearest neighbor)."
        )


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return the key that sorts frame_2 before frame_10."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _gray_step(path: Path) -> int:
    """Return what decoders multiply the gray values of a PNG file by: they spread 1, 2 and 4 bits over 0..255."""
    with path.open("rb") as file:
        # The bit depth in the header; PNG specification, section 11.2.1.
        depth = file.read(25)[24]
    return 255 // (2**depth - 1) if depth < 8 else 1


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
            f"Expected an image in '{path}', got {content.size} bytes that cannot be decoded; delete or replace it."
        )
    return pixels


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
