"""Label maps: from ids and colors in label files to class ids, and unknown ones by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from erfnet_ros.core.array_types import VOID
from erfnet_ros.core.class_set import CAMVID, CITYSCAPES, ClassSet
from erfnet_ros.core.errors import ClassSetError
from erfnet_ros.data.label_map import LabelMap

CLASSES = [{"name": "floor", "color": [10, 20, 30]}, {"name": "car", "color": [200, 0, 0]}]


def label_map(tmp_path: Path, **content: Any) -> LabelMap:
    """Return what a classes.yaml of two classes says."""
    path = tmp_path / "classes.yaml"
    path.write_text(yaml.safe_dump({"name": "yard", "classes": CLASSES, **content}))
    return LabelMap.from_yaml(path)


@given(st.integers(1, 255), st.integers(0, 300))
def test_classes_take_the_ids_that_void_leaves_in_their_order(count: int, void: int) -> None:
    classes = ClassSet("many", tuple(map(str, range(count))), ((1, 2, 3),) * count, void)
    ids = LabelMap.of(classes).ids
    numbers = [number for number, class_id in ids.items() if class_id != VOID]
    assert sorted(numbers) == [number for number in range(count + 1) if number != void][:count]
    assert [ids[number] for number in sorted(numbers)] == list(range(count))
    assert ids[void] == VOID


def test_both_voids_become_255_and_the_files_array_stays_as_it_is() -> None:
    ids = np.array([[0, 10, 11, 255]], np.uint8)
    assert LabelMap.of(CAMVID).from_ids(ids).tolist() == [[0, 10, VOID, VOID]]
    assert ids.tolist() == [[0, 10, 11, 255]]


def test_ids_without_a_class_are_named_with_their_pixels() -> None:
    """Labels of another class set must not be scored as if they were of this one."""
    with pytest.raises(ClassSetError, match=r"0\.\.10, or 11, 255 for void, .*'camvid', got 12 \(2 pixels\), 200 \(1 "):
        LabelMap.of(CAMVID).from_ids(np.array([[0, 11, 255, 200, 12, 12]], np.uint8))
    with pytest.raises(ClassSetError, match=r"got 19 \(1 pixel\)"):
        LabelMap.of(CITYSCAPES).from_ids(np.array([[18, 19]], np.uint8))


def test_a_file_maps_ids_by_name_and_ignores_others(tmp_path: Path) -> None:
    found = label_map(tmp_path, ids={7: "floor", 26: "car", 900: "car", 3: "void"}, ignore=[0, [255, 255, 255]])
    ids = np.array([[7, 26, 900, 3, 0, 255]], np.uint16)
    assert found.from_ids(ids).tolist() == [[0, 1, 1, VOID, VOID, VOID]]
    rgb = np.array([[[10, 20, 30], [200, 0, 0], [255, 255, 255], [0, 0, 0]]], np.uint8)
    assert found.from_colors(rgb).tolist() == [[0, 1, VOID, VOID]]


def test_void_may_be_id_0(tmp_path: Path) -> None:
    """Most annotation tools count from 1 and leave 0 for what nobody has labeled."""
    assert label_map(tmp_path, void=0).from_ids(np.array([[0, 1, 2]], np.uint8)).tolist() == [[VOID, 0, 1]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"ids": {26: "lorry"}}, "each with one of floor, car or void, .*got 26: 'lorry'"),
        ({"ids": [26]}, r"mapping such as \{26: car\} .*got \[26\]"),
        ({"ids": {70000: "car"}}, "ids 0..65535"),
        ({"ignore": ["sky"]}, r"colors \[R, G, B\] as ignore .*got 'sky'"),
        ({"ignore": [[1, 2, 300]]}, r"got \[1, 2, 300\]"),
        ({"void": 70000}, "void id from 0 to 65535"),
    ],
)
def test_a_map_that_cannot_be_meant_is_refused(tmp_path: Path, content: dict[str, Any], words: str) -> None:
    with pytest.raises(ClassSetError, match=words):
        label_map(tmp_path, **content)


def test_unknown_colors_are_named_with_their_pixels_and_the_nearest_class(tmp_path: Path) -> None:
    rgb = np.array([[[10, 20, 31], [10, 20, 31], [190, 0, 0], [10, 20, 30]]], np.uint8)
    words = r"\(10, 20, 31\) \(2 pixels, nearest 'floor' \(10, 20, 30\)\), \(190, 0, 0\) \(1 pixel, nearest 'car'"
    with pytest.raises(ClassSetError, match=words):
        label_map(tmp_path).from_colors(rgb)


def test_black_alone_is_void_or_class_0_and_not_guessed(tmp_path: Path) -> None:
    """A frame of floor alone, its ids saved as RGB, would else become void."""
    black = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(ClassSetError, match="black alone"):
        label_map(tmp_path).from_colors(black)
    assert (label_map(tmp_path, ignore=[[0, 0, 0]]).from_colors(black) == VOID).all()
    assert (label_map(tmp_path, void=0).from_colors(black) == VOID).all()


def test_classes_without_colors_get_distinct_ones(tmp_path: Path) -> None:
    classes = [{"name": str(number)} for number in range(255)]
    assert len({*label_map(tmp_path, classes=classes).class_set.colors, (0, 0, 0)}) == 256
