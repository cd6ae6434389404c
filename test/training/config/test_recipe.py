"""Recipes and the plan that they make on a data set."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from erfnet_ros.core.config_schema import build, encode
from erfnet_ros.core.errors import ParameterError
from erfnet_ros.training.config.recipe import BUILT_IN, Loss, Phase, Recipe, Schedule, load, with_length
from erfnet_ros.training.config.schedule import plans

STAGE: dict[str, Any] = {"name": "network", "part": "network", "phases": [{"steps": 10}]}


def recipe(**changes: Any) -> Recipe:
    return build(Recipe, {"stages": [STAGE], **changes}, "test.yaml")


def test_every_recipe_that_is_shipped_has_its_name() -> None:
    folder = Path(__file__).resolve().parents[3] / "config" / "training"
    assert {path.stem for path in folder.glob("*.yaml")} == set(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_recipe_that_ships_loads_and_survives_a_round_trip(name: str) -> None:
    """A run keeps its recipe as plain mappings and is resumed from them."""
    found, loaded = load(name)
    assert found == name
    assert build(Recipe, encode(loaded), "round trip") == loaded


def test_the_paper_recipe_is_the_papers() -> None:
    """Romera et al. 2018, section IV-A, and the authors' code."""
    _, paper = load("paper")
    assert [stage.part for stage in paper.stages] == ["encoder", "network"]
    assert paper.batch_size == 6
    assert paper.loss == Loss(1.10)
    for stage in paper.stages:
        assert (stage.optimizer.name, stage.optimizer.learning_rate) == ("adam", 5e-4)
        assert (stage.optimizer.weight_decay, stage.optimizer.decayed) == (1e-4, "all")
        assert (stage.optimizer.betas, stage.optimizer.eps) == ((0.9, 0.999), 1e-8)
        assert (stage.schedule.name, stage.schedule.power) == ("poly", 0.9)
        assert stage.phases == (Phase(epochs=150, crop="frame", horizontal_flip=True, shift=2),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 1}, "Expected keys out of stages, batch_size, .* in test.yaml, got 'learning_rate'"),
        ({"batch_size": 0}, "Expected 1 to 4096 as test.yaml: batch_size, got 0"),
        ({"batch_size": "8"}, "Expected a whole number as test.yaml: batch_size, got '8'"),
        ({"batch_size": True}, "Expected a whole number as test.yaml: batch_size, got True"),
        ({"compile": 1}, "Expected true or false as test.yaml: compile, got 1"),
        ({"ema_decay": math.nan}, "Expected a number or null as test.yaml: ema_decay, got nan"),
        (
            {"stages": [{**STAGE, "schedule": {"name": "step"}}]},
            "Expected poly, cosine, constant_then_cosine as .*: name, got 'step'",
        ),
        ({"stages": []}, "Expected one stage or more in the recipe, got none"),
        (
            {"stages": [STAGE, {**STAGE, "name": "more", "part": "encoder"}]},
            "Expected part: network in the recipe's last stage 'more', got encoder: its decoder would stay untrained",
        ),
        (
            {"stages": [{**STAGE, "optimizer": {"learning_rate": "fast"}}]},
            "Expected a number as .*: learning_rate, got 'fast'",
        ),
        ({"ema_decay": "nan"}, "Expected a number or null as test.yaml: ema_decay, got 'nan'"),
        ({"stages": [{"part": "network", "phases": []}]}, r"Expected the key 'name' in test.yaml: stages\[0\]"),
        ({"stages": [{**STAGE, "phases": []}]}, "Expected one phase or more in stage 'network', got none"),
        ({"stages": [{**STAGE, "phases": [{}]}]}, "Expected either steps or epochs in each phase"),
        (
            {"stages": [{**STAGE, "phases": [{"steps": 1, "crop": [9, 64]}]}]},
            r"Expected 16 to 4096 as test.yaml: stages\[0\]: phases\[0\]: crop, got 9",
        ),
        (
            {"stages": [{**STAGE, "phases": [{"steps": 1, "crop": [64]}]}]},
            r"Expected a list of 2, each a whole number as test.yaml: stages\[0\]: phases\[0\]: crop, got \[64\]",
        ),
        (
            {"stages": [{**STAGE, "phases": [{"steps": 1, "scale": [2, 1]}]}]},
            r"Expected scale as \[smallest, largest\], got \[2.0, 1.0\]",
        ),
        ({"synthetic": {"per_batch": 8}}, "Expected synthetic.per_batch below batch_size 8, got 8"),
        ({"synthetic": {"first_seed": 5}}, "Expected 1000 to 1e.06 as test.yaml: synthetic: first_seed, got 5"),
    ],
)
def test_what_a_recipe_does_not_know_is_refused_with_key_value_and_what_is_allowed(
    changes: dict[str, Any], message: str
) -> None:
    """A misspelled key that is passed over costs a night."""
    with pytest.raises(ParameterError, match=message):
        recipe(**changes)


def test_a_rate_without_a_dot_is_a_number(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-3 as a text, and everybody writes it so."""
    path = tmp_path / "own.yaml"
    path.write_text(
        "stages: [{name: network, part: network, optimizer: {learning_rate: 1e-3, betas: [9e-1, 0.99]},"
        " phases: [{steps: 2, scale: [5e-1, 2]}]}]"
    )
    (stage,) = load(str(path))[1].stages
    assert (stage.optimizer.learning_rate, stage.optimizer.betas) == (1e-3, (0.9, 0.99))
    assert stage.phases[0].scale == (0.5, 2.0)


def test_a_recipe_that_is_no_file_or_no_yaml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"Expected paper, modern, .* or a YAML file as recipe, got 'papre'"):
        load("papre")
    (tmp_path / "broken.yaml").write_text("stages: [")
    with pytest.raises(ParameterError, match=r"Expected YAML in .*broken.yaml, got"):
        load(str(tmp_path / "broken.yaml"))
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ParameterError, match=r"Expected a mapping with stages, .* in .*list.yaml, got \[1\]"):
        load(str(tmp_path / "list.yaml"))


def test_another_length_shortens_phases_warm_up_and_decay_alike() -> None:
    _, further = load("camvid_cpu_further")
    (stage,) = with_length(further, 400, None).stages
    assert [phase.steps for phase in stage.phases] == [350, 50]
    assert (stage.schedule.warmup_steps, stage.schedule.decay_steps) == (20, 50)
    (stage,) = with_length(further, 3, None).stages
    assert [phase.steps for phase in stage.phases] == [2, 1], "a phase must not vanish by rounding"
    with pytest.raises(
        ParameterError, match="Expected --steps, in which stage 'network' of the recipe counts, got --ep"
    ):
        with_length(further, None, 3)
    with pytest.raises(ParameterError, match=r"Expected --steps of 2 or more, one for each phase of .*, got 1"):
        with_length(further, 1, None)


def test_epochs_become_steps_that_show_every_frame() -> None:
    _, paper = load("paper")
    encoder, network = plans(paper, frames=367)
    assert (encoder.steps_per_epoch, encoder.steps, encoder.first_step) == (62, 150 * 62, 0)
    assert (network.first_step, network.index) == (150 * 62, 1)
    # One in eight crops is synthetic: 7 frames a step.
    _, cpu = load("camvid_cpu")
    assert plans(cpu, frames=367)[0].steps_per_epoch == 53


def test_each_step_has_its_phase() -> None:
    (plan,) = plans(load("camvid_cpu")[1], frames=367)
    assert [plan.phase_index(step) for step in (0, 1499, 1500, 3399, 3400, 3799)] == [0, 0, 1, 1, 2, 2]
    with pytest.raises(IndexError):
        plan.phase(3800)


def test_poly_falls_once_an_epoch_as_the_authors_rate_does() -> None:
    """(1 - epoch / 150) ** 0.9, constant within an epoch."""
    encoder, _ = plans(load("paper")[1], frames=12)
    assert [encoder.rate_factor(step) for step in (0, 1)] == [1, 1]
    assert encoder.rate_factor(2) == encoder.rate_factor(3) == pytest.approx((1 - 1 / 150) ** 0.9)
    assert encoder.rate_factor(299) == pytest.approx((1 / 150) ** 0.9)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule("cosine", warmup_steps=2), {0: 0.5, 1: 1.0, 2: 1.0, 6: 0.5}),
        (Schedule("constant_then_cosine", warmup_steps=2, decay_steps=4), {0: 0.5, 2: 1.0, 6: 1.0, 8: 0.5}),
    ],
)
def test_the_rate_warms_up_and_falls_by_half_a_cosine(schedule: Schedule, expected: dict[int, float]) -> None:
    base = recipe()
    (plan,) = plans(replace(base, stages=(replace(base.stages[0], schedule=schedule),)), frames=80)
    assert {step: plan.rate_factor(step) for step in expected} == pytest.approx(expected)


@pytest.mark.parametrize("package", ["lib/python3/site-packages", "local/lib/python3/dist-packages", "checkout"])
def test_the_recipes_are_found_where_an_installation_puts_them(tmp_path: Path, package: str) -> None:
    """pip and colcon put them under share/ of the prefix; a checkout has them next to the package."""
    root = Path(__file__).resolve().parents[3]
    config = tmp_path / ("checkout/config" if package == "checkout" else "share/erfnet_ros/config")
    shutil.copytree(root / "config" / "training", config / "training")
    weights = shutil.ignore_patterns("*.safetensors", "__pycache__")
    shutil.copytree(root / "erfnet_ros", tmp_path / package / "erfnet_ros", ignore=weights)
    program = (
        "import erfnet_ros; from erfnet_ros.training.config.recipe import load; "
        "print(erfnet_ros.__file__, *load('paper'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / package)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"{tmp_path / package}/erfnet_ros/__init__.py paper Recipe(")
