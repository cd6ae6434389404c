"""Settings that decide a run's result, and those that a resumed run takes from its first command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from erfnet_ros.core.config_schema import encode
from erfnet_ros.core.errors import TrainingError
from erfnet_ros.training.config.recipe import load
from erfnet_ros.training.config.request import Request, RunConfig, completed_from

FIRST = RunConfig(
    data="camvid",
    split="train+val",
    files="4 frames, 0123",
    recipe_name="modern",
    recipe=load("modern")[1],
    init=None,
    precision="fp32",
    processes=1,
    validate_on="none",
    license="CC BY 4.0",
    command="erfnet train camvid --split train+val --validate-on none",
)

RESUMING = Request(
    kind="camvid", root=Path("camvid"), run=Path("run"), resume=True, command="erfnet train camvid --resume"
)


def test_a_resumed_run_validates_and_names_terms_and_command_as_the_first_command_said() -> None:
    """Else a night's weights lose their license, and the page tells a command that repeats nothing."""
    request = completed_from(RESUMING, FIRST)
    assert (request.split, request.validate_on, request.license) == ("train+val", "none", "CC BY 4.0")
    assert request.command == FIRST.command


def test_what_the_resuming_command_says_counts_and_decides_no_weights() -> None:
    request = completed_from(replace(RESUMING, validate_on="test", license=""), FIRST)
    assert (request.validate_on, request.license) == ("test", "")
    now = replace(FIRST, validate_on="test", license="", command="erfnet train camvid --resume")
    now.check_same(FIRST, Path("run"))
    with pytest.raises(TrainingError, match="precision was 'fp32' and is 'bf16'"):
        replace(now, precision="bf16").check_same(FIRST, Path("run"))


def test_a_run_that_began_before_they_were_kept_is_resumed(tmp_path: Path) -> None:
    FIRST.write(tmp_path)
    assert RunConfig.read(tmp_path) == FIRST
    old = {name: value for name, value in encode(FIRST).items() if name not in ("validate_on", "license", "command")}
    (tmp_path / "run.json").write_text(json.dumps(old))
    before = RunConfig.read(tmp_path)
    FIRST.check_same(before, tmp_path)
    request = completed_from(RESUMING, before)
    assert (request.validate_on, request.license, request.command) == (None, None, RESUMING.command)
