"""Class sets: built-in ones, YAML files, palettes, and refused content."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from cityscapesscripts.helpers.labels import labels
from hypothesis import given
from hypothesis import strategies as st

from erfnet_ros.core.class_set import CAMVID, CITYSCAPES, ClassSet, named
from erfnet_ros.core.errors import ClassSetError

CAMVID_TABLE = Path(__file__).resolve().parents[3] / "shared" / "camvid" / "README.md"


@st.composite
def class_sets(draw: st.DrawFn) -> ClassSet:
    """Any class set that is allowed."""
    texts = st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable() and text.strip())
    names = draw(st.lists(texts, min_size=1, max_size=12, unique=True))
    byte = st.integers(0, 255)
    colors = draw(st.lists(st.tuples(byte, byte, byte), min_size=len(names), max_size=len(names)))
    categories = draw(st.none() | st.lists(texts, min_size=len(names), max_size=len(names)).map(tuple))
    return ClassSet(draw(texts), tuple(names), tuple(colors), draw(st.integers(len(names), 255)), categories)


def written(**changes: Any) -> dict[str, Any]:
    """The content of a file of two classes, with changes."""
    classes = [{"name": "floor", "color": [1, 2, 3]}, {"name": "shelf", "color": [4, 5, 6]}]
    return {"name": "warehouse", "void": 7, "classes": classes, **changes}


def test_cityscapes_has_its_19_train_ids() -> None:
    assert len(CITYSCAPES) == 19
    assert CITYSCAPES.void == 255
    by_name = dict(zip(CITYSCAPES.names, CITYSCAPES.colors, strict=True))
    assert by_name["road"] == (128, 64, 128)
    assert CITYSCAPES.names[10:14] == ("sky", "person", "rider", "car")
    assert by_name["bicycle"] == (119, 11, 32)


@pytest.mark.skipif(not CAMVID_TABLE.is_file(), reason="CamVid (../shared/camvid) is absent")
def test_camvid_is_the_data_sets_own_table() -> None:
    rows = [line.split("|")[1:4] for line in CAMVID_TABLE.read_text().splitlines() if line.startswith("| ")]
    table = [(int(i), name.strip(), tuple(map(int, color.split()))) for i, name, color in rows if i.strip().isdigit()]
    assert table[-1][:2] == (CAMVID.void, "void")
    assert table[:-1] == list(zip(range(11), CAMVID.names, CAMVID.colors, strict=True))


@pytest.mark.parametrize("class_set", [CAMVID, CITYSCAPES], ids=lambda class_set: class_set.name)
def test_a_palette_has_a_color_for_each_class_and_black_for_the_rest(class_set: ClassSet) -> None:
    palette = class_set.palette()
    assert palette.shape == (256, 3)
    assert palette.dtype == np.uint8
    assert [tuple(color) for color in palette[: len(class_set)].tolist()] == list(class_set.colors)
    assert not palette[len(class_set) :].any()


@given(class_sets())
def test_a_class_set_survives_json_and_yaml(class_set: ClassSet) -> None:
    """JSON is what a checkpoint holds, YAML what `erfnet segment` writes."""
    content = class_set.to_dict()
    assert ClassSet.from_dict(json.loads(json.dumps(content))) == class_set
    assert ClassSet.from_dict(yaml.safe_load(yaml.safe_dump(content))) == class_set


@pytest.mark.parametrize("class_set", [CAMVID, CITYSCAPES], ids=lambda class_set: class_set.name)
def test_a_built_in_set_written_before_there_were_categories_has_them(class_set: ClassSet) -> None:
    """An older checkpoint would otherwise lose its category scores."""
    content = replace(class_set, categories=None).to_dict()
    assert "category" not in content["classes"][0]
    assert ClassSet.from_dict(content) == class_set
    renamed = {**content, "name": "mine"}
    assert ClassSet.from_dict(renamed).categories is None


def test_categories_are_those_of_the_data_set() -> None:
    scored = {label.name: label.category for label in labels if not label.ignoreInEval}
    assert CITYSCAPES.categories is not None
    assert dict(zip(CITYSCAPES.names, CITYSCAPES.categories, strict=True)) == scored
    assert CAMVID.categories is not None
    assert set(CAMVID.categories) == set(CITYSCAPES.categories)


def test_built_in_sets_go_by_name_and_others_by_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(written()), encoding="utf-8")
    assert named("camvid") is CAMVID
    assert named("cityscapes") is CITYSCAPES
    assert named(str(path)) == ClassSet("warehouse", ("floor", "shelf"), ((1, 2, 3), (4, 5, 6)), 7)
    content = written()
    del content["void"]
    assert ClassSet.from_dict(content).void == 255


def test_an_unknown_name_is_answered_with_those_that_exist(tmp_path: Path) -> None:
    message = r"camvid, cityscapes, a YAML file or a checkpoint \(.safetensors\) as class set, got 'kitti'"
    with pytest.raises(ClassSetError, match=message):
        named("kitti")
    with pytest.raises(ClassSetError, match="is no file"):
        named(str(tmp_path))
    with pytest.raises(ClassSetError, match="No such file"):
        ClassSet.from_yaml(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"names: [", "Expected YAML"),
        (b"\xff\xfe\x00", "Expected YAML"),
        (b"", "list 'classes'"),
        (b"- road", "list 'classes'"),
        (b"name: x\nclasses: road", "list 'classes'"),
        (b"!!python/object/apply:os.system ['true']", "Expected YAML"),
    ],
)
def test_a_file_that_is_no_class_set_is_refused_with_its_path(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text)
    with pytest.raises(ClassSetError, match=message) as error:
        ClassSet.from_yaml(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colors": []}, "got colors as well"),
        ({"name": False}, "a text as each name in the class set, got False; write it in quotes"),
        ({"name": None}, "got None"),
        ({"void": "black"}, "a number as void in the class set, got 'black'"),
        ({"void": True}, "got True"),
        ({"void": -1}, "a void id from 0 to 65535 in 'warehouse', got -1"),
        ({"void": 65536}, "got 65536"),
        ({"classes": []}, "1 to 255 classes in class set 'warehouse', got 0"),
        ({"classes": ["road"]}, r"a name and a color \[R, G, B\] for each class in the class set, got 'road'"),
        ({"classes": [{"name": "road"}, {"name": "sky", "color": [1, 2, 3]}]}, "got {'name': 'road'}"),
        ({"classes": [{"name": "road", "color": "red"}]}, "'color': 'red'"),
        ({"classes": [{"name": False, "color": [0, 0, 0]}]}, "got False; write it in quotes"),
        ({"classes": [{"name": " ", "color": [0, 0, 0]}]}, "got ' '"),
        ({"classes": [{"name": "road", "color": [0, 0, 0], "category": 3}]}, "got 3; write it in quotes"),
        (
            {"classes": [{"name": "a", "color": [0, 0, 0], "category": "x"}, {"name": "b", "color": [0, 0, 0]}]},
            "a category for each of the 2 classes of 'warehouse' or for none, got 1",
        ),
        (
            {"classes": [{"name": "road", "color": [0, 0]}]},
            r"three numbers 0..255 as the color of 'road', got \[0, 0\]",
        ),
        ({"classes": [{"name": "road", "color": [0, 0, 256]}]}, r"got \[0, 0, 256\]"),
        ({"classes": [{"name": "road", "color": [0, 0, -1]}]}, r"got \[0, 0, -1\]"),
        ({"classes": [{"name": "road", "color": [0, 0, True]}]}, r"got \[0, 0, True\]"),
        ({"classes": [{"name": "road", "color": [0, 0, 1.5]}]}, r"got \[0, 0, 1.5\]"),
        ({"classes": [{"name": "road", "color": [0, 0, i]} for i in range(2)]}, "once, got road again"),
        ({"name": "x\x1b[2J"}, r"visible characters in class set 'x\\x1b\[2J', got 'x\\x1b\[2J'"),
        ({"classes": [{"name": "a\u202eb", "color": [0, 0, 0]}]}, r"got 'a\\u202eb'"),
        ({"classes": [{"name": "a" * 101, "color": [0, 0, 0]}]}, "at most 100 visible characters"),
        ({"classes": [{"name": "a", "color": [0, 0, 0], "category": "b\n"}]}, r"got 'b\\n'"),
        ({"classes": [{"name": str(i), "color": [0, 0, 0]} for i in range(256)], "void": 255}, "got 256"),
    ],
)
def test_a_content_that_cannot_be_meant_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ClassSetError, match=message):
        ClassSet.from_dict(written(**changes))


def test_names_and_colors_must_pair_up() -> None:
    with pytest.raises(ClassSetError, match="each of the 2 classes of 'x', got 1"):
        ClassSet("x", ("a", "b"), ((0, 0, 0),))


ALIASES = "".join(
    f"- &{new} [{', '.join(['*' + old] * 10)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        f"name: x\nclasses: []\nvoid:\n- &a [y]\n{ALIASES}",
        "name: x\nclasses:\n- {name: a, color: &a [*a, *a, *a]}\n",
        "name: x\nclasses: " + "[" * 50_000,
        "# " + "x" * (1 << 20),
    ],
    ids=["aliases", "alias of itself", "brackets", "size"],
)
def test_a_file_that_unfolds_when_shown_is_refused_at_once(tmp_path: Path, text: str) -> None:
    """Nine lists, each of ten times the one before, take a thousand million letters to print."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ClassSetError) as error:
        ClassSet.from_yaml(path)
    assert len(str(error.value)) < 1000
