"""Aggregation of several bags into one result."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
from support.evaluation_samples import combined, shots, work, write_bag

from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.evaluation.offline.job import JobResult, run_job
from erfnet_ros.evaluation.offline.output_bag import output_names
from erfnet_ros.evaluation.results.accumulator import Resources


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> JobResult:
    folder = tmp_path_factory.mktemp("one")
    return run_job(work(write_bag(folder / "bag", shots()[:3]), folder / "out"))


def test_bags_that_were_not_computed_alike_are_told(tmp_path: Path, outcome: JobResult) -> None:
    """A fleet's workers may have different processors, and then different labels."""
    other = replace(outcome, engine=replace(outcome.engine, precision="bf16", notes=("slow",)))
    notes, name = combined([outcome, other], tmp_path).notes, outcome.engine.engine
    assert "slow" in notes
    assert f"The bags were not computed alike: {name} on cpu in bf16, {name} on cpu in fp32." in notes


def test_notes_name_their_bag_where_there_are_several(tmp_path: Path, outcome: JobResult) -> None:
    metadata = replace(outcome.scan.metadata, name="cut", faults=("it was cut off",))
    cut = replace(outcome, scan=replace(outcome.scan, metadata=metadata))
    assert combined([cut], tmp_path).notes == ("it was cut off.",)
    assert combined([outcome, cut], tmp_path).notes == ("cut: it was cut off.",)


def test_pictures_of_an_earlier_run_are_removed_and_other_files_are_not(tmp_path: Path, outcome: JobResult) -> None:
    (tmp_path / "frames").mkdir()
    for name in ("007_000123.jpg", "holiday.jpg"):
        (tmp_path / "frames" / name).touch()
    result = combined([outcome], tmp_path)
    there = {f"frames/{file.name}" for file in (tmp_path / "frames").iterdir()}
    assert there == {picture.file for picture in result.pictures} | {"frames/holiday.jpg"}


def test_pictures_that_cannot_be_written_are_an_error_in_words(tmp_path: Path, outcome: JobResult) -> None:
    (tmp_path / "frames").touch()
    with pytest.raises(EvaluationError, match="Cannot write pictures"):
        combined([outcome], tmp_path)


def test_usage_and_speed_are_those_of_a_process(tmp_path: Path, outcome: JobResult) -> None:
    slow, quick = copy.deepcopy(outcome), copy.deepcopy(outcome)
    slow.accumulator.resources = Resources(4.0, 8.0, 3_000_000)
    quick.accumulator.resources = Resources(1.0, 1.0, 5_000_000)
    result = combined([slow, quick], tmp_path)
    assert result.fps == 6 / 5
    assert result.usage is not None
    assert (result.usage.cpu_percent, result.usage.memory_mb) == (180.0, 5.0)
    assert result.provenance.duration_s == 5.0


def test_output_bags_are_called_as_their_bags_and_never_alike() -> None:
    bags = [Path(name) for name in ("/a/drive", "/b/drive.mcap", "/c/drive.db3.zstd", "/d/drive_2", "/e/other")]
    assert output_names(bags) == ["drive", "drive_2", "drive_3", "drive_2_2", "other"]
