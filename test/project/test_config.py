"""Parameter file, launch arguments and documentation tables, compared with the code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from erfnet_ros.core.class_set import CAMVID, CITYSCAPES, ClassSet
from erfnet_ros.core.image import MAX_PIXELS
from erfnet_ros.ros.node.parameters import PARAMETERS, Value
from erfnet_ros.ros.points.parameters import PROJECTOR_PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"


def test_the_parameter_file_is_the_parameter_table() -> None:
    """Names, defaults, descriptions, choices and when each may change, so that the file needs no other page."""
    lines = []
    for node, table in (("segmenter", PARAMETERS), ("projector", PROJECTOR_PARAMETERS)):
        lines += [f"/**/{node}:", "  ros__parameters:"]
        for p in table:
            choices = f" One of {', '.join(p.choices)}." if p.choices else ""
            value = f'"{p.default}"' if p.type_name == "string" else _as_written(p.default)
            lines += [f"    # {p.description}{choices} May change: {p.may_change}.", f"    {p.name}: {value}"]
    text = (CONFIG / "segment.yaml").read_text()
    assert [line for line in text.splitlines() if not line.startswith("#")] == lines


def test_the_documented_table_is_the_parameter_table() -> None:
    table = (ROOT / "docs" / "parameters.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| `(.*?)` \| (.*?) \| (.*?) \|$", table, re.M)
    assert [(name, kind, default) for name, kind, default, _, _ in rows] == [
        (p.name, p.type_name, _as_written(p.default)) for p in (*PARAMETERS, *PROJECTOR_PARAMETERS)
    ]
    for (*_, when, description), parameter in zip(rows, (*PARAMETERS, *PROJECTOR_PARAMETERS), strict=True):
        assert description == parameter.description
        assert when == parameter.may_change


def _as_written(default: Value) -> str:
    if isinstance(default, tuple):
        return f"[{', '.join(default)}]"
    return str(default).lower() if isinstance(default, bool) else str(default) or '""'


@pytest.mark.parametrize("class_set", [CAMVID, CITYSCAPES], ids=lambda class_set: class_set.name)
def test_the_class_files_equal_the_built_in_sets(class_set: ClassSet) -> None:
    assert ClassSet.from_yaml(CONFIG / "classes" / f"{class_set.name}.yaml") == class_set


def test_the_shared_memory_holds_the_largest_image_that_is_accepted() -> None:
    """A segment smaller than one image makes Fast DDS fall back to UDP, which loses most of it."""
    root = ElementTree.parse(CONFIG / "fastdds.xml").getroot()
    sizes = [int(e.text or 0) for e in root.iter("{http://www.eprosima.com}segment_size")]
    assert len(sizes) == 1
    assert sizes[0] > 3 * MAX_PIXELS


def test_rviz_shows_topics_that_exist() -> None:
    displays = yaml.safe_load((CONFIG / "segment.rviz").read_text())["Visualization Manager"]["Displays"]
    outputs = (ROOT / "erfnet_ros" / "ros" / "node" / "publishers.py").read_text()
    for display in displays:
        topic = display["Topic"]["Value"]
        assert topic == "image" or f'"{topic}"' in outputs


LAYOUT = json.loads((CONFIG / "foxglove.json").read_text())
NAMESPACE = "/segmentation/"


def topics_of(value: object) -> Iterator[str]:
    """Return every string in a part of the layout that is a topic, or a topic and the path of a field."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from topics_of(part)
    elif isinstance(value, str) and value.startswith("/"):
        yield value


def panels_of(node: str | dict[str, Any]) -> Iterator[str]:
    """Return the panels in a part of the layout's tree."""
    if isinstance(node, str):
        yield node
    else:
        yield from (*panels_of(node["first"]), *panels_of(node["second"]))


def test_foxglove_shows_topics_and_fields_that_exist() -> None:
    cells = re.findall(r"^\| (`.+?`) \|", (ROOT / "docs" / "topics.md").read_text(), re.M)
    documented = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    fields = re.findall(r"^\w+(?:\[\])? (\w+)", (ROOT / "msg" / "SegmentationStatistics.msg").read_text(), re.M)
    wanted = set(topics_of(LAYOUT["configById"]))
    assert {path.partition(".")[0].removeprefix(NAMESPACE) for path in wanted} <= documented
    shown = {path.split(".")[1].partition("[")[0] for path in wanted if "." in path}
    assert shown
    assert shown <= set(fields)


def test_foxglove_names_the_classes_of_the_shipped_weights() -> None:
    series = LAYOUT["configById"]["Plot!shares"]["paths"]
    shares = [f"{NAMESPACE}statistics.shares[{index}]" for index in range(len(CAMVID))]
    assert [(path["value"], path["label"]) for path in series[:-1]] == list(zip(shares, CAMVID.names, strict=True))


def test_foxglove_places_every_panel_once() -> None:
    assert sorted(panels_of(LAYOUT["layout"])) == sorted(LAYOUT["configById"])


def test_every_output_of_the_node_is_documented() -> None:
    pytest.importorskip("erfnet_ros.msg", reason="the ROS package is not built")
    from erfnet_ros.ros.node.publishers import OUTPUTS

    table = (ROOT / "docs" / "topics.md").read_text()
    rows = "\n".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    assert [output.topic for output in OUTPUTS if f"`{output.topic}`" not in rows] == []


def test_every_command_is_documented_as_its_help_says() -> None:
    command = [sys.executable, "-m", "erfnet_ros.commands", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.partition("COMMAND\n")[2]
    rows = re.findall(r"^\| `([\w-]+)` \| (.+?) \|", (ROOT / "docs" / "commands.md").read_text(), re.M)
    assert " ".join(said.partition("options:")[0].split()) == " ".join(word for row in rows for word in row)


def test_every_page_is_in_the_menu_of_the_site() -> None:
    """`make docs` fails on a page that it does not find there."""
    menu = (ROOT / "mkdocs.yml").read_text()
    pages = [f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")]
    assert [page for page in pages if f": {page}\n" not in menu] == []
