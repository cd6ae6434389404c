"""Conditions become warnings and errors only once they have lasted, and none of them flaps."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

from erfnet_ros.ros import diagnostic_keys
from erfnet_ros.ros.node.monitoring.conditions import (
    CAMERA_CONDITIONS,
    ERROR,
    NODE_CONDITIONS,
    OK,
    WARN,
    Condition,
    ConditionMonitor,
    Finding,
)
from erfnet_ros.ros.node.monitoring.findings import MemoryTrend

ROW = Condition("fault", "It is {what}; mend it.", warn_after_s=2.0, error_after_s=10.0, clear_after_s=5.0)
FOUND = {"fault": Finding({"what": "broken"})}


class Watched:
    """A monitor of one row, and what it logged."""

    def __init__(self, row: Condition = ROW) -> None:
        self.logged: list[str] = []
        self._monitor = ConditionMonitor([row], self.logged.append)

    def levels(self, *seen: tuple[float, bool]) -> list[bytes]:
        """Return the level at each time at which the condition holds, or not."""
        return [self._monitor.update(FOUND if holds else {}, at_s)[0].level for at_s, holds in seen]


def test_a_condition_that_lasts_becomes_a_warning_and_then_an_error_and_each_is_logged_once() -> None:
    watched = Watched()
    seen = [(float(second), True) for second in range(13)]
    assert watched.levels(*seen) == [OK] * 2 + [WARN] * 8 + [ERROR] * 3
    assert watched.logged == ["It is broken; mend it."] * 2


def test_what_comes_and_goes_never_warns() -> None:
    watched = Watched()
    assert set(watched.levels(*[(0.5 * step, step % 4 != 3) for step in range(200)])) == {OK}
    assert not watched.logged


def test_a_warning_stays_through_gaps_and_ends_once_the_condition_is_gone_for_long() -> None:
    watched = Watched()
    assert watched.levels((0, True), (2, True), (3, False), (6.9, False)) == [OK, WARN, WARN, WARN]
    assert watched.levels((6.95, True), (11.9, False), (11.96, False), (12, True)) == [WARN, WARN, OK, OK]
    assert len(watched.logged) == 1


def test_what_is_not_urgent_stays_a_warning() -> None:
    monitor = ConditionMonitor([ROW], lambda text: None)
    patient = {"fault": Finding({"what": "broken"}, urgent=False)}
    assert [monitor.update(patient, at_s)[0].level for at_s in (0.0, 5.0, 100.0)] == [OK, WARN, WARN]
    assert monitor.update(FOUND, 101.0)[0].level == ERROR


def test_the_text_is_that_of_the_newest_finding_and_foreign_braces_stay() -> None:
    monitor = ConditionMonitor([ROW], lambda text: None)
    monitor.update(FOUND, 0.0)
    (report,) = monitor.update({"fault": Finding({"what": "{gone}"})}, 3.0)
    assert report.text == "It is {gone}; mend it."
    assert monitor.update({}, 9.0)[0].text == ""


def test_memory_that_goes_up_and_down_is_no_growth_and_a_leak_is() -> None:
    ups_and_downs, leak = MemoryTrend(), MemoryTrend()
    for minute in range(120):
        assert ups_and_downs.growth_mb(500 + 300 * (minute % 10), 60.0 * minute) == 0
        growth_mb = leak.growth_mb(500.0 + 2 * minute, 60.0 * minute)
        assert growth_mb == (60 if minute >= 30 else 0), minute


ROWS = (*CAMERA_CONDITIONS, *NODE_CONDITIONS)


def test_every_condition_has_a_documented_name_and_says_what_to_do() -> None:
    page = (Path(__file__).parents[4] / "docs" / "topics.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \|", page, re.M)
    assert documented == [
        (row.name, f"{row.warn_after_s:g}", f"{row.error_after_s:g}".replace("inf", "-")) for row in ROWS
    ]
    assert {row.name for row in ROWS} <= {value for value in vars(diagnostic_keys).values() if isinstance(value, str)}
    for row in ROWS:
        fields = {name for _, name, _, _ in Formatter().parse(row.text) if name}
        assert "; " in row.text or ": " in row.text or fields == {"failure"}, row.name


UNITS = ("_MS", "_S", "_HZ", "_PERCENT", "_MB", "MEAN_CONFIDENCE")
FIGURES = [name for name in vars(diagnostic_keys) if name.endswith(UNITS)]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_documented(name: str) -> None:
    page = (Path(__file__).parents[4] / "docs" / "topics.md").read_text()
    assert f"`{getattr(diagnostic_keys, name)}`" in page
