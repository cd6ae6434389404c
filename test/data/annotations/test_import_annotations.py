"""Import of COCO, CVAT, Labelme and Pascal VOC annotations as a data set."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from support.small_datasets import CAR, LAWN, frame, make_labelme, write, write_json

from erfnet_ros.commands.cli import main
from erfnet_ros.core.errors import SourceError
from erfnet_ros.data.annotations import import_annotations
from erfnet_ros.data.annotations.coco import read_coco
from erfnet_ros.data.annotations.shapes import draw
from erfnet_ros.data.datasets import open_dataset

EXPECTED = np.full((48, 64), 255, np.uint8)
EXPECTED[24:], EXPECTED[16:36, 16:40] = 0, 1
"""The car stands on the lawn, and covers 24 x 12 pixels of it."""

Folder = dict[str, Any]


def image(path: Path, number: int = 0) -> Path:
    return write(path, frame(number)[0])


def coco(names: list[str]) -> Folder:
    """Return what COCO tools write; the first category is what Roboflow puts above the others."""
    return {
        "categories": [{"id": 0, "name": "things"}, {"id": 7, "name": "lawn"}, {"id": 9, "name": "car"}],
        "images": [{"id": n, "file_name": name, "width": 64, "height": 48} for n, name in enumerate(names)],
        "annotations": [
            {"id": 10 * n + c, "image_id": n, "category_id": c, "segmentation": [points], "iscrowd": 0, "bbox": []}
            for n in range(len(names))
            for c, points in ((7, LAWN), (9, CAR))
        ],
    }


def make_coco(root: Path) -> None:
    for split, number in (("train2017", 0), ("val2017", 1)):
        image(root / "images" / split / "0001.jpg", number)
        write_json(root / "annotations" / f"instances_{split}.json", coco(["0001.jpg"]))


def make_roboflow(root: Path) -> None:
    for split, number in (("train", 0), ("valid", 1)):
        name = f"a_jpg.rf.{number}.jpg"
        image(root / split / name, number)
        write_json(root / split / "_annotations.coco.json", coco([name]))


def make_cvat(root: Path) -> None:
    entries = ""
    for split, number in (("train", 0), ("val", 1)):
        image(root / "images" / split / f"{number}.jpg", number)
        lawn, car = (";".join(f"{x:.2f},{y:.2f}" for x, y in zip(p[::2], p[1::2], strict=True)) for p in (LAWN, CAR))
        entries += f"""<image id="{number}" name="{number}.jpg" subset="{split}" width="64" height="48">
            <polygon label="car" source="manual" occluded="0" points="{car}" z_order="1"></polygon>
            <polygon label="lawn" source="manual" occluded="0" points="{lawn}" z_order="0"></polygon></image>"""
    labels = "".join(f"<label><name>{name}</name><color>#00ff00</color></label>" for name in ("lawn", "car"))
    head = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><job><labels>{labels}'
    (root / "annotations.xml").write_text(f"{head}</labels></job></meta>{entries}</annotations>")


def make_voc(root: Path) -> None:
    base = root / "VOCdevkit" / "VOC2012"
    for folder in ("SegmentationClass", "ImageSets/Segmentation"):
        (base / folder).mkdir(parents=True)
    # Indices in another order than the classes: colors are what counts.
    indices = np.select([EXPECTED == 0, EXPECTED == 1], [2, 1], 255).astype(np.uint8)
    for split, number in (("train", 0), ("val", 1)):
        image(base / "JPEGImages" / f"{number}.jpg", number)
        picture = Image.frombytes("P", (64, 48), indices.tobytes())
        picture.putpalette([0, 0, 0, 200, 0, 0, 0, 160, 0, *[0] * 756, 224, 224, 192])
        picture.save(base / "SegmentationClass" / f"{number}.png")
        (base / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(f"{number}\n")
    (base / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nlawn:0,160,0::\ncar:200,0,0::\n")


MAKERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "coco": ("coco", make_coco),
    "roboflow": ("coco", make_roboflow),
    "labelme": ("labelme", lambda root: make_labelme(root, {"train": 1, "val": 1})),
    "cvat": ("cvat", make_cvat),
    "voc": ("voc", make_voc),
}


@pytest.mark.parametrize("tool", MAKERS)
def test_every_tools_export_becomes_the_same_data_set(
    tmp_path: Path, tool: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, make = MAKERS[tool]
    make(tmp_path / "export")
    assert main(["data", "import", kind, str(tmp_path / "export"), "-o", str(tmp_path / "yard")]) == 0
    said = capsys.readouterr().out
    for split in ("train", "val"):
        data = open_dataset("folder", tmp_path / "yard", split)
        assert sorted(data.class_set.names) == ["car", "lawn"]
        expected = EXPECTED if data.class_set.names[0] == "lawn" else np.select([EXPECTED < 2], [1 - EXPECTED], 255)
        assert len(data) == 1
        np.testing.assert_array_equal(data[0].ground_truth, expected)
    assert "frames: 1 in train, 1 in val; next: erfnet data check" in said
    # Labels that are stored as pixels have no overlaps.
    assert ("note: 'car' covers 576 pixels of 'lawn'" in said) == (tool != "voc")


def test_pixels_in_no_area_become_the_background_that_is_asked_for(tmp_path: Path) -> None:
    make_coco(tmp_path / "export")
    import_annotations("coco", tmp_path / "export", out=tmp_path / "yard", background="other")
    data = open_dataset("folder", tmp_path / "yard", "train")
    assert data.class_set.names == ("other", "lawn", "car")
    np.testing.assert_array_equal(data[0].ground_truth, np.where(EXPECTED == 255, 0, EXPECTED + 1))


@pytest.mark.parametrize(
    ("counts", "pixels"),
    [("=3300NN02200:N", [13, 14, 15, 19, 20, 21, 25, 27, 31, 32, 33, 37, 38, 39, 53]), ([50, 4], [50, 51, 52, 53])],
)
def test_run_lengths_are_read_as_pycocotools_wrote_them(
    tmp_path: Path, counts: str | list[int], pixels: list[int]
) -> None:
    """The text is what pycocotools 2.0.11 encodes; pixels are numbered down the columns."""
    content = coco(["a.png"])
    content["images"][0].update(width=9, height=6)
    content["annotations"] = [{"image_id": 0, "category_id": 9, "segmentation": {"size": [6, 9], "counts": counts}}]
    write_json(tmp_path / "a.json", content)
    labels, _ = draw(read_coco(tmp_path).images[0], {"car": 1})
    assert np.flatnonzero(labels.T.ravel() == 1).tolist() == pixels


def test_labelmes_masks_rectangles_and_circles_are_areas(tmp_path: Path) -> None:
    make_labelme(tmp_path / "export", {"train": 1})
    mask = base64.b64encode(cv2.imencode(".png", np.full((5, 4), 255, np.uint8))[1].tobytes()).decode()
    shapes = [
        {"label": "m", "shape_type": "mask", "points": [[2, 3], [5, 7]], "mask": mask},
        {"label": "r", "shape_type": "rectangle", "points": [[20, 3], [30, 8]]},
        {"label": "c", "shape_type": "circle", "points": [[50, 20], [50, 30]]},
        {"label": "p", "shape_type": "point", "points": [[1, 1]]},
    ]
    path = tmp_path / "export" / "train" / "0.json"
    write_json(path, {**json.loads(path.read_text()), "shapes": shapes})
    imported = import_annotations("labelme", tmp_path / "export", out=tmp_path / "yard")
    ground_truth = open_dataset("folder", tmp_path / "yard", "train")[0].ground_truth
    count = {name: int((ground_truth == number).sum()) for number, name in enumerate(imported.class_set.names)}
    assert (count["m"], count["r"]) == (20, 50)
    assert count["c"] == pytest.approx(np.pi * 100, rel=0.05)
    assert imported.left_out == ("'0.json': a 'p' is a point, which has no area",)


def test_cvats_brush_masks_lie_in_their_box(tmp_path: Path) -> None:
    make_cvat(tmp_path / "export")
    path = tmp_path / "export" / "annotations.xml"
    mask = '<mask label="car" rle="1, 2, 1, 4" left="60" top="10" width="4" height="2" z_order="2"></mask></image>'
    path.write_text(path.read_text().replace("</image>", mask))
    import_annotations("cvat", tmp_path / "export", out=tmp_path / "yard")
    ground_truth = open_dataset("folder", tmp_path / "yard", "train")[0].ground_truth
    assert ground_truth is not None
    assert ground_truth[10:12, 60:].tolist() == [[255, 1, 1, 255], [1, 1, 1, 1]]


def test_what_cannot_be_used_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "export"
    content = coco(["good.jpg", "gone.jpg", "small.jpg", "empty.jpg"])
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] < 3]
    content["annotations"] += [
        {"image_id": 0, "category_id": 9, "segmentation": s} for s in ([], [[1, 2, 3, 4]], [[0, 0, 1e30, 0, 0, 9]])
    ]
    for name in ("good.jpg", "empty.jpg"):
        image(root / name)
    write(root / "small.jpg", np.zeros((20, 30, 3), np.uint8))
    write_json(root / "export.json", content)
    assert main(["data", "import", "coco", str(root), "-o", str(tmp_path / "yard")]) == 1
    said = capsys.readouterr().out
    for words in (
        "left out: 'good.jpg': a 'car' has a box but no outline.",
        "left out: 'good.jpg': a 'car' is a polygon of 2 points.",
        "left out: 'good.jpg': a 'car' is a polygon with points far outside the image.",
        "left out: 'gone.jpg' is annotated, but not in the export: export with images",
        "left out: 'small.jpg' has 30 x 20 pixels, but is annotated as 64 x 48.",
        "left out: 'empty.jpg' has no annotated area: name what it shows with --background.",
        "frames: 1; next",
    ):
        assert words in said


def test_images_of_one_name_in_several_folders_are_all_kept(tmp_path: Path) -> None:
    """Cameras count from 1 on each card; one frame would silently replace the other."""
    names = ["monday/1.jpg", "tuesday/1.jpg", "tuesday/2.jpg"]
    content = coco(names)
    content["annotations"] = content["annotations"][:4]
    for number, name in enumerate(names):
        image(tmp_path / "export" / name, number)
    write_json(tmp_path / "export" / "export.json", content)
    imported = import_annotations("coco", tmp_path / "export", out=tmp_path / "yard", background="other")
    assert (imported.frames[""], imported.left_out) == (3, ())
    data = open_dataset("folder", tmp_path / "yard", "train+val")
    assert [entry.name for entry in data.entries()] == ["1", "1_1", "2"]
    assert set(np.unique(data[2].ground_truth).tolist()) == {0}


@pytest.mark.parametrize("kind", ["coco", "labelme", "cvat", "voc"])
def test_a_folder_without_such_an_export_is_refused(tmp_path: Path, kind: str) -> None:
    image(tmp_path / "export" / "a.jpg")
    with pytest.raises(SourceError, match=r"Expected .* below '.*export', found"):
        import_annotations(kind, tmp_path / "export", out=tmp_path / "yard")
    with pytest.raises(SourceError, match="unpack the archive first"):
        import_annotations(kind, tmp_path / "export.zip", out=tmp_path / "yard")
    assert not (tmp_path / "yard").exists()


def test_a_folder_that_is_there_is_not_written_into(tmp_path: Path) -> None:
    make_coco(tmp_path / "export")
    with pytest.raises(SourceError, match=r"Expected a new folder to import to, got .*export'"):
        import_annotations("coco", tmp_path / "export", out=tmp_path / "export")
