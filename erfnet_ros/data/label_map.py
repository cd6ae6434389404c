"""Label map: what the ids and the colors in a data set's label files mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.core.class_set import MAX_ID, ClassSet, Color
from erfnet_ros.core.config_schema import read_mapping
from erfnet_ros.core.errors import ClassSetError

Keys: TypeAlias = "npt.NDArray[np.unsignedinteger[Any]]"
"""As text, since NumPy 1.21 (Ubuntu 22.04) cannot subscript the type."""

_BLACK = (0, 0, 0)
_SHOWN = 5


@dataclass(frozen=True)
class LabelMap:
    """Classes by the ids and by the colors that stand for them in label files.

    Attributes:
        class_set: The classes.
        ids: Class id, or 255 for void, of each id in the files, 0..65535.
        colors: Class id, or 255 for void, of each color; empty where the classes have no colors.
    """

    class_set: ClassSet
    ids: Mapping[int, int]
    colors: Mapping[Color, int]

    @classmethod
    def of(cls, class_set: ClassSet) -> LabelMap:
        """Number the classes 0, 1, 2, ... without the void id; 255, if it is no class then, is void as well."""
        numbers = [number for number in range(len(class_set) + 1) if number != class_set.void]
        ids = {VOID: VOID, class_set.void: VOID, **dict(zip(numbers, range(len(class_set)), strict=False))}
        return cls(class_set, ids, _by_color(class_set))

    @classmethod
    def from_yaml(cls, path: Path) -> LabelMap:
        """Read a data set's classes.yaml: a class set whose colors may be left out, and two keys more.

        `ids` maps each id in the files to a class name: `{26: car}`; `ignore` lists ids and colors that become void.

        Raises:
            ClassSetError: The file cannot be read, or something in it is missing, unknown or said twice.
        """
        class_set = ClassSet.from_yaml(path)
        content = read_mapping(path)
        ids, ignored = content.get("ids"), content.get("ignore", [])
        found = cls.of(class_set)
        known = dict(found.ids)
        if ids is not None:
            known = {VOID: VOID, class_set.void: VOID, **_ids_by_name(ids, class_set, path)}
        has_colors = all("color" in entry for entry in content["classes"])
        colors: dict[Color, int] = dict(found.colors) if has_colors else {}
        for entry in ignored if isinstance(ignored, list) else [ignored]:
            if _is_number(entry, MAX_ID):
                known[entry] = VOID
            elif isinstance(entry, list) and len(entry) == 3 and all(_is_number(part, 255) for part in entry):
                colors[entry[0], entry[1], entry[2]] = VOID
            else:
                raise ClassSetError(
                    f"Expected ids 0..{MAX_ID} and colors [R, G, B] as ignore in {path}, got {entry!r}."
                )
        return cls(class_set, known, colors if has_colors else {})

    def from_ids(self, ids: npt.NDArray[Any]) -> Pixels:
        """Return the class ids (H, W) uint8, 255 void, of a file's ids (H, W) uint8 or uint16.

        Raises:
            ClassSetError: Other ids occur, each named with its number of pixels.
        """
        if not self.ids:
            raise ClassSetError(f"Expected the {len(self.colors)} colors of the labels, got one number per pixel.")
        if ids.dtype not in (np.uint8, np.uint16):
            raise ClassSetError(f"Expected ids of 8 or 16 bits, got {ids.dtype}; export the labels as 8-bit gray PNG.")
        labels = _table(tuple(self.ids.items()), MAX_ID + 1)[ids]
        if labels.min(initial=0) < 0:
            unknown = [f"{value} ({_pixels(count)})" for value, count in _counted(ids[labels < 0])]
            classes = _ranges(key for key, value in self.ids.items() if value != VOID)
            void = _ranges(key for key, value in self.ids.items() if value == VOID)
            raise ClassSetError(
                f"Expected ids {classes}, or {void} for void, of class set '{self.class_set.name}', got "
                f"{_first(unknown)}; a data set's classes.yaml maps them under 'ids', or lists them under 'ignore'."
            )
        return np.asarray(labels, np.uint8)

    def from_palette(self, indices: Pixels, palette: Sequence[Color]) -> Pixels:
        """Return the class ids of an image with a palette: by color, or by index where colors mean nothing.

        Args:
            indices: (H, W) uint8; 255 is void, whatever its color.
            palette: The color of each index.

        Raises:
            ClassSetError: As `from_ids` and `from_colors`.
        """
        used = np.flatnonzero(np.bincount(indices.ravel(), minlength=1)).tolist()
        if not self.colors or all(palette[index] == (index,) * 3 for index in used):
            return self.from_ids(indices)
        colors = np.array([*palette, *[_BLACK] * (256 - len(palette))], np.uint8)
        if VOID in used:
            colors[VOID] = _BLACK
        return self.from_colors(colors[indices])

    def from_colors(self, rgb: Pixels) -> Pixels:
        """Return the class ids of colors (H, W, 3) uint8, or of gray as three equal channels.

        Black is void unless it is a class.

        Raises:
            ClassSetError: Other colors occur, each named with its number of pixels and the class that comes nearest.
        """
        codes = _codes(rgb)
        known = {_BLACK: VOID, **self.colors}.items()
        table = _table(tuple((r << 16 | g << 8 | b, value) for (r, g, b), value in known), 1 << 24)
        labels = table[codes] if self.colors else np.full(codes.shape, -1, np.int16)
        if labels.min(initial=0) < 0:
            if self.ids and (rgb == rgb[..., :1]).all():
                return self.from_ids(rgb[..., 0])
            if not self.colors:
                raise ClassSetError(
                    f"Expected class ids, got colors, which class set '{self.class_set.name}' does not have; write a "
                    "color [R, G, B] for each class into classes.yaml."
                )
            raise ClassSetError(self._unknown(codes[labels < 0]))
        if _BLACK not in self.colors and self.ids.get(0) != VOID and not codes.any():
            raise ClassSetError(
                "Expected colors or ids, got black alone, which is void as a color and a class as id 0; write ids as "
                "8-bit gray PNG, or list [0, 0, 0] under 'ignore' in classes.yaml."
            )
        return np.asarray(labels, np.uint8)

    def _unknown(self, codes: Keys) -> str:
        known = list(self.colors)
        shown = []
        for code, count in _counted(codes):
            color = (code >> 16, code >> 8 & 255, code & 255)
            near = known[int(((np.array(known) - color) ** 2).sum(axis=1).argmin())]
            value = self.colors[near]
            name = "void" if value == VOID else f"'{self.class_set.names[value]}'"
            shown.append(f"{color} ({_pixels(count)}, nearest {name} {near})")
        return (
            f"Expected the {len(known)} colors of class set '{self.class_set.name}', got {_first(shown)}; write the "
            "color of each class into classes.yaml, list others under 'ignore', or leave out all colors for labels "
            "whose palette means nothing. Many colors come of JPEG and of resizing: export labels as PNG, full size."
        )


def _by_color(class_set: ClassSet) -> dict[Color, int]:
    # Of two classes in one color, files in colors could not tell the second.
    return {color: class_id for class_id, color in reversed(list(enumerate(class_set.colors)))}


def _ids_by_name(ids: Any, class_set: ClassSet, path: Path) -> dict[int, int]:
    if not isinstance(ids, dict) or not ids:
        raise ClassSetError(f"Expected ids as a mapping such as {{26: car}} in {path}, got {ids!r}.")
    for key, name in ids.items():
        if not _is_number(key, MAX_ID) or name not in (*class_set.names, "void"):
            raise ClassSetError(
                f"Expected ids 0..{MAX_ID}, each with one of {', '.join(class_set.names)} or void, in {path}, got "
                f"{key!r}: {name!r}."
            )
    return {key: VOID if name == "void" else class_set.names.index(name) for key, name in ids.items()}


def _is_number(value: Any, largest: int) -> bool:
    return type(value) is int and 0 <= value <= largest


def _codes(rgb: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """Return colors (H, W, 3) as numbers 0xRRGGBB."""
    # As little-endian bytes; faster than shifting each channel.
    bgra = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA)
    return np.bitwise_and(bgra.view(np.dtype("<u4"))[..., 0], 0xFFFFFF, dtype=np.uint32)


@lru_cache(maxsize=4)
def _table(classes: tuple[tuple[int, int], ...], size: int) -> npt.NDArray[np.int16]:
    """Return the class of each number below `size`, -1 where it has none: a look-up is faster than comparisons."""
    table = np.full(size, -1, np.int16)
    for number, class_id in classes:
        table[number] = class_id
    return table


def _counted(values: Keys) -> list[tuple[int, int]]:
    """Return the values with their counts, the commonest first."""
    found, counts = np.unique(values, return_counts=True)
    return sorted(zip(found.tolist(), counts.tolist(), strict=True), key=lambda pair: -pair[1])


def _pixels(count: int) -> str:
    return f"{count} pixel{'s' * (count != 1)}"


def _first(texts: Sequence[str]) -> str:
    more = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _ranges(numbers: Iterable[int]) -> str:
    """Return numbers as 0..10, 12."""
    runs = [[n for _, n in run] for _, run in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0])]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)
