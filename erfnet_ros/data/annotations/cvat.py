"""CVAT for images 1.1: annotations.xml, and the images in images/ where they were exported.

Format: https://docs.cvat.ai/docs/manual/advanced/formats/format-cvat/
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from erfnet_ros.core.errors import SourceError
from erfnet_ros.data.annotations.shapes import (
    AnnotatedImage,
    Annotations,
    ImageIndex,
    Shape,
    from_runs,
    outline,
    split_in,
)


def read_cvat(root: Path) -> Annotations:
    """Read all CVAT files below a folder.

    Raises:
        SourceError: There is none, or one is damaged.
    """
    index, images = ImageIndex(root), []
    names: dict[str, None] = {}
    for path in sorted(root.rglob("*.xml")):
        try:
            content = ElementTree.parse(path).getroot()
            if content.tag != "annotations":
                continue
            names.update((str(label.findtext("name")), None) for label in content.iterfind("meta//labels/label"))
            for entry in content.iterfind("image"):
                size = int(entry.attrib["width"]), int(entry.attrib["height"])
                name = entry.attrib["name"]
                split = split_in(Path(entry.get("subset", ""))) or split_in(Path(name))
                shapes, left_out = _shapes(entry, name)
                images.append(AnnotatedImage(index.find(name, path.parent, split), split, size, shapes, left_out))
        except (OSError, ElementTree.ParseError, KeyError, ValueError) as error:
            raise SourceError(
                f"Expected 'CVAT for images 1.1' in '{path}', got {type(error).__name__}: {error}; export it again."
            ) from error
    if not images:
        raise SourceError(
            f"Expected CVAT's annotations.xml with images below '{root}', found none; export the task or the project "
            "as 'CVAT for images 1.1' with images (videos as well)."
        )
    names.update((shape.name, None) for image in images for shape in image.shapes)
    return Annotations(tuple(names), tuple(images))


def _shapes(image: ElementTree.Element, name: str) -> tuple[tuple[Shape, ...], tuple[str, ...]]:
    shapes, left_out = [], []
    # Of equal z_order later ones are on top, and sorting keeps their order.
    for entry in sorted(image, key=lambda entry: int(entry.get("z_order", "0"))):
        label = entry.get("label", "")
        try:
            if entry.tag == "polygon":
                points = (number for point in entry.attrib["points"].split(";") for number in point.split(","))
                shapes.append(Shape(label, (outline(points),)))
            elif entry.tag == "mask":
                left, top, width, height = (int(entry.attrib[key]) for key in ("left", "top", "width", "height"))
                mask = from_runs(map(int, entry.attrib["rle"].split(",")), (width, height))
                shapes.append(Shape(label, mask=mask, corner=(left, top)))
            elif label:
                left_out.append(f"'{name}': a '{label}' is a {entry.tag}, which has no outline")
        except ValueError as error:
            left_out.append(f"'{name}': a '{label}' is {error}")
    return tuple(shapes), tuple(left_out)
