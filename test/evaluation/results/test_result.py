"""Evaluation result as a JSON file, as CI jobs and --compare read it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.evaluation_samples import live_result

from erfnet_ros.core.errors import ErfnetError, EvaluationError
from erfnet_ros.evaluation.results.result import OFFLINE, Result


def content() -> dict[str, Any]:
    return json.loads(json.dumps(live_result().to_dict()))  # type: ignore[no-any-return]


def test_a_result_comes_back_from_the_disk_as_it_was(tmp_path: Path) -> None:
    live_result().write(tmp_path / "result.json")
    assert Result.read(tmp_path / "result.json") == live_result()
    assert Result.read(tmp_path) == live_result(), "a folder stands for the result in it"


def test_what_a_ci_job_reads_stands_at_the_top() -> None:
    """These names are a promise; scripts that read them must not break."""
    found = content()
    # 15 of 16 pixels right: sky has 7 of 8, road 8 of 9.
    assert found["miou"] == pytest.approx((7 / 8 + 8 / 9) / 2)
    assert found["iou"]["sky"] == 7 / 8
    assert found["iou"]["car"] is None
    assert found["absent"]["pole"] == 0
    assert found["streaming_miou"] == 0.0
    assert found["pixel_accuracy"] == 15 / 16
    assert found["latency_ms"] == {"p50": 40.0, "p90": 60.0, "p99": 90.0, "max": 100.0, "mean": 45.0}
    assert (found["fps"], found["jitter_ms"], found["dropped"], found["rejected"]) == (9.5, 5.0, 0.25, 0.25)
    assert found["frames"]["answered"] == 2
    assert found["mode"] == "live"


def test_a_dropped_share_offline_is_none_not_zero() -> None:
    """Nothing can be dropped offline: a zero would look like a measurement."""
    assert replace(live_result(), mode=OFFLINE).to_dict()["dropped"] is None


def test_a_line_holds_a_key_so_that_a_long_bag_stays_readable(tmp_path: Path) -> None:
    live_result().write(tmp_path / "result.json")
    lines = (tmp_path / "result.json").read_text().splitlines()
    assert len(lines) == len(live_result().to_dict()) + 2


def test_keys_of_a_later_version_are_left_alone() -> None:
    later = content()
    later["news"] = {"a": 1}
    later["frames"]["news"] = 3
    later["records"]["news"] = ["x"] * 4
    assert Result.from_dict(later) == live_result()


def test_figures_are_computed_from_the_counts_and_not_believed() -> None:
    forged = content() | {"miou": 0.99}
    assert Result.from_dict(forged).miou == live_result().miou


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"format": "other"}, "Expected a result of 'erfnet evaluate-bag' in the result"),
        ({"version": 2}, "the result has version 2, and this program reads up to 1; update erfnet_ros"),
        ({"version": "1"}, "has version '1'"),
        ({"mode": "both"}, "Expected mode offline or live in the result, got 'both'"),
        ({"fps": "fast"}, "Expected a number as the result: fps, got 'fast'"),
        ({"fps": float("nan")}, "Expected a number as the result: fps, got nan"),
        ({"fps": True}, "Expected a number as the result: fps, got True"),
        ({"frames": {"images": 1}}, "Expected the key 'answered' in the result: frames, got only images"),
        ({"frames": 3}, "Expected a mapping with images, .* as the result: frames, got 3"),
        ({"notes": ["a", 1]}, r"Expected a text as the result: notes\[1\], got 1"),
        ({"score": {"matrix": []}}, "Cannot read the result: score"),
        ({"class_set": {}}, "Cannot read the result: class_set"),
        ({"records": []}, "Expected an object of columns as the result.records, got list"),
        ({"records": {"bag": []}}, "got no index, stamp_ns"),
    ],
)
def test_what_is_missing_or_of_another_type_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ErfnetError, match=problem):
        Result.from_dict(content() | change)


def test_records_must_be_columns_of_one_length_with_known_outcomes() -> None:
    found = content()
    found["records"]["miou"].pop()
    with pytest.raises(EvaluationError, match=r"Expected columns of one length in the result.records"):
        Result.from_dict(found)
    found = content()
    found["records"]["outcome"][0] = "eaten"
    with pytest.raises(EvaluationError, match=r"Expected outcomes answered, dropped, rejected .* got eaten"):
        Result.from_dict(found)


def test_files_that_are_no_result_are_refused_in_words(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    with pytest.raises(EvaluationError, match=r"Cannot read the result .*No such file"):
        Result.read(file)
    for text in ("", "[1, 2]", "{", '{"miou": 0.6}', "[" * 100_000):
        file.write_text(text)
        with pytest.raises(EvaluationError, match=r"Expected (JSON|a result)"):
            Result.read(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EvaluationError, match="Expected JSON"):
        Result.read(file)
