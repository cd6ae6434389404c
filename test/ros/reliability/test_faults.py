"""Faults in mid-stream, in short: `make faults` runs all of them at full length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from support.faults.causes import can_mount
from support.faults.rig import Rig
from support.faults.table import ON_ONE_NODE, OWN_NODE, Fault, measure

EFFORT = 0.01

LEFT_OUT = (
    "camera's clock an hour ahead",
    "readers come and go",
    "engine that does not return",
    "read-only cache and samples",
    "8 cameras at 30 Hz",
)
"""What takes long and is like another, or has a test of its own."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("faults")) as rig:
        yield rig


def check(rig: Rig, fault: Fault) -> None:
    outcome = measure(rig, fault, EFFORT)
    assert outcome.survived, f"{outcome.remark}\n{rig.log()}"
    assert (outcome.wrong_headers, outcome.half_written) == (0, 0)


@pytest.mark.parametrize(
    "fault", [fault for fault in ON_ONE_NODE if fault.name not in LEFT_OUT], ids=lambda fault: fault.name
)
def test_the_node_goes_on_with_right_masks_and_whole_files_after(rig: Rig, fault: Fault) -> None:
    check(rig, fault)


@pytest.mark.parametrize(
    ("fault", "make_rig"),
    [row for row in OWN_NODE if row[0].name not in LEFT_OUT],
    ids=lambda part: getattr(part, "name", ""),
)
def test_a_node_of_its_own_goes_on_with(fault: Fault, make_rig: Callable[[Path], Rig], tmp_path: Path) -> None:
    if "disk" in fault.name:
        can_mount() or pytest.skip("this machine lets nobody mount a small file system")
    with make_rig(tmp_path) as rig:
        check(rig, fault)
