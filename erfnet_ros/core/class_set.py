"""Class sets: names, colors and categories of the class ids in a mask."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import VOID
from erfnet_ros.core.config_schema import read_mapping, shown
from erfnet_ros.core.errors import ClassSetError, ParameterError
from erfnet_ros.core.printable_text import printable

Color = tuple[int, int, int]

MAX_CLASSES = 255
"""Ids are bytes, and 255 is void."""

_LONGEST_NAME = 100
"""Characters of a name: it is shown in logs, tables and pages."""

MAX_ID = 0xFFFF
"""Largest id in a label file."""


@dataclass(frozen=True)
class ClassSet:
    """Names and colors of the classes, by id.

    Attributes:
        names: Name of each class; the position is the id.
        colors: Color of each class, (R, G, B), 0..255.
        void: Id of pixels without a class in the data set's own label files, 0..65535; the classes take the other ids
            from 0 on. Inside this package void is always 255.
        categories: Name of the category of each class, for scores that forgive a neighboring class; None where the
            set has no categories.

    Raises:
        ClassSetError: Names, colors and categories do not pair up, a name occurs twice, or a value is out of range.
    """

    name: str
    names: tuple[str, ...]
    colors: tuple[Color, ...]
    void: int = VOID
    categories: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= MAX_CLASSES:
            raise ClassSetError(
                f"Expected 1 to {MAX_CLASSES} classes in class set '{self.name}', got {len(self.names)}."
            )
        if len(self.colors) != len(self.names):
            raise ClassSetError(
                f"Expected a color for each of the {len(self.names)} classes of '{self.name}', got {len(self.colors)}."
            )
        for name in (self.name, *self.names, *(self.categories or ())):
            if not name.isprintable() or len(name) > _LONGEST_NAME:
                raise ClassSetError(
                    f"Expected names of at most {_LONGEST_NAME} visible characters in class set "
                    f"'{printable(self.name, _LONGEST_NAME)}', got '{printable(name, _LONGEST_NAME)}'."
                )
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ClassSetError(f"Expected each class name of '{self.name}' once, got {', '.join(twice)} again.")
        for name, color in zip(self.names, self.colors, strict=True):
            if len(color) != 3 or not all(type(part) is int and 0 <= part <= 255 for part in color):
                raise ClassSetError(
                    f"Expected three numbers 0..255 as the color of '{name}', got {shown(list(color))}."
                )
        if self.categories is not None and len(self.categories) != len(self.names):
            raise ClassSetError(
                f"Expected a category for each of the {len(self.names)} classes of '{self.name}' or for none, got "
                f"{len(self.categories)}."
            )
        if not 0 <= self.void <= MAX_ID:
            raise ClassSetError(f"Expected a void id from 0 to {MAX_ID} in '{self.name}', got {self.void}.")

    def __len__(self) -> int:
        return len(self.names)

    def palette(self) -> npt.NDArray[np.uint8]:
        """Return (256, 3) uint8 RGB: each id's color, black for void and for ids without a class."""
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self)] = self.colors
        return palette

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads, in plain lists and numbers."""
        classes: list[dict[str, Any]] = [
            {"name": name, "color": list(color)} for name, color in zip(self.names, self.colors, strict=True)
        ]
        for entry, category in zip(classes, self.categories or (), strict=False):
            entry["category"] = category
        return {"name": self.name, "void": self.void, "classes": classes}

    def to_yaml(self) -> str:
        """Return what `from_yaml` reads."""
        import yaml

        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    @classmethod
    def from_dict(cls, content: Any, where: str = "the class set") -> ClassSet:
        """Read a class set out of plain lists and numbers.

        Args:
            content: A mapping with `name`, `classes` (each with `name` and, in all of them or none, `color` and
                `category`) and, where it is not 255, `void`; `ids` and `ignore` are read by `LabelMap.from_yaml`.
            where: What to call the content in an error.

        Raises:
            ClassSetError: Something is missing, too much, or of the wrong type.
        """
        if not isinstance(content, dict) or not isinstance(content.get("classes"), list):
            raise ClassSetError(f"Expected a mapping with a list 'classes' in {where}; see config/classes/camvid.yaml.")
        unknown = sorted(set(map(str, content)) - {"name", "void", "classes", "ids", "ignore"})
        if unknown:
            raise ClassSetError(
                f"Expected name, void, classes, ids and ignore in {where}, got {', '.join(unknown)} as well."
            )
        colored = any(isinstance(entry, dict) and "color" in entry for entry in content["classes"])
        required = {"name", "color"} if colored else {"name"}
        for entry in content["classes"]:
            if (
                not isinstance(entry, dict)
                or set(entry) - {"category"} != required
                or not isinstance(entry.get("color", []), list)
            ):
                raise ClassSetError(
                    f"Expected a name and a color [R, G, B] for each class in {where}, got {shown(entry)}."
                )
        names = [content.get("name"), *(entry["name"] for entry in content["classes"])]
        categories = [entry["category"] for entry in content["classes"] if "category" in entry]
        for name in (*names, *categories):
            if not isinstance(name, str) or not name.strip():
                # YAML reads no, on and 12 as something else than text.
                raise ClassSetError(f"Expected a text as each name in {where}, got {shown(name)}; write it in quotes.")
        void = content.get("void", VOID)
        if type(void) is not int:
            raise ClassSetError(f"Expected a number as void in {where}, got {shown(void)}.")
        colors = tuple(
            tuple(entry.get("color", generated_color(number))) for number, entry in enumerate(content["classes"])
        )
        class_set = cls(names[0], tuple(names[1:]), colors, void, tuple(categories) or None)
        built_in = _BUILT_IN.get(class_set.name)
        if built_in is not None and replace(built_in, categories=None) == class_set:
            # Checkpoints written before there were categories lack them.
            return built_in
        return class_set

    @classmethod
    def from_yaml(cls, path: str | Path) -> ClassSet:
        """Read a YAML file such as config/classes/camvid.yaml; raise ClassSetError where it is no class set."""
        try:
            content = read_mapping(Path(path))
        except ParameterError as error:
            raise ClassSetError(f"Cannot use the class set: {error}") from error
        return cls.from_dict(content, str(path))


def generated_color(number: int) -> Color:
    """Return the color of class `number` where none is given: that of Pascal VOC's palette, in which 0 is black."""
    bits = [(number + 1 >> place & 1) << 7 - place // 3 for place in range(8)]
    return (bits[0] | bits[3] | bits[6], bits[1] | bits[4] | bits[7], bits[2] | bits[5])


def _of_rows(name: str, void: int, rows: tuple[tuple[str, Color, str], ...]) -> ClassSet:
    """Make a class set of name, color and category of each class."""
    names, colors, categories = zip(*rows, strict=True)
    return ClassSet(name, names, colors, void, categories)


CAMVID = _of_rows(
    "camvid",
    11,
    (
        ("sky", (128, 128, 128), "sky"),
        ("building", (128, 0, 0), "construction"),
        ("pole", (192, 192, 128), "object"),
        ("road", (128, 64, 128), "flat"),
        ("pavement", (60, 40, 222), "flat"),
        ("tree", (128, 128, 0), "nature"),
        ("sign_symbol", (192, 128, 128), "object"),
        ("fence", (64, 64, 128), "construction"),
        ("car", (64, 0, 128), "vehicle"),
        ("pedestrian", (64, 64, 0), "human"),
        ("bicyclist", (0, 128, 192), "human"),
    ),
)
"""The 11 classes of the SegNet tutorial's CamVid split, in Cityscapes' categories (a bicyclist rides, hence human)."""

CITYSCAPES = _of_rows(
    "cityscapes",
    VOID,
    (
        ("road", (128, 64, 128), "flat"),
        ("sidewalk", (244, 35, 232), "flat"),
        ("building", (70, 70, 70), "construction"),
        ("wall", (102, 102, 156), "construction"),
        ("fence", (190, 153, 153), "construction"),
        ("pole", (153, 153, 153), "object"),
        ("traffic light", (250, 170, 30), "object"),
        ("traffic sign", (220, 220, 0), "object"),
        ("vegetation", (107, 142, 35), "nature"),
        ("terrain", (152, 251, 152), "nature"),
        ("sky", (70, 130, 180), "sky"),
        ("person", (220, 20, 60), "human"),
        ("rider", (255, 0, 0), "human"),
        ("car", (0, 0, 142), "vehicle"),
        ("truck", (0, 0, 70), "vehicle"),
        ("bus", (0, 60, 100), "vehicle"),
        ("train", (0, 80, 100), "vehicle"),
        ("motorcycle", (0, 0, 230), "vehicle"),
        ("bicycle", (119, 11, 32), "vehicle"),
    ),
)
"""The 19 train ids of Cityscapes, in its 7 categories."""

_BUILT_IN = {class_set.name: class_set for class_set in (CAMVID, CITYSCAPES)}


def named(name_or_path: str) -> ClassSet:
    """Return a built-in class set (camvid, cityscapes), or read a YAML file; raise ClassSetError for anything else."""
    built_in = _BUILT_IN.get(name_or_path)
    if built_in is not None:
        return built_in
    if not os.path.isfile(name_or_path):
        raise ClassSetError(
            f"Expected {', '.join(_BUILT_IN)}, a YAML file or a checkpoint (.safetensors) as class set, got "
            f"'{name_or_path}', which is no file."
        )
    if name_or_path.endswith(".safetensors"):
        return _of_checkpoint(name_or_path)
    return ClassSet.from_yaml(name_or_path)


def _of_checkpoint(path: str) -> ClassSet:
    """Read a checkpoint's class set and nothing else, without torch."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            content = json.loads((file.metadata() or {})["erfnet_ros"])["class_set"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ClassSetError(
            f"Expected a checkpoint of this package as class set, got '{path}' ({error!r}); give a file that "
            "`erfnet train` or `erfnet import-weights` wrote."
        ) from error
    return ClassSet.from_dict(content, path)
