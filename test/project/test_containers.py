"""Containers and workflows, which cannot run here: the files, stages and requirements that they name."""

from __future__ import annotations

import configparser
import os
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = sorted((ROOT / "docker").glob("Dockerfile*"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_a_dockerfile_copies_and_runs_what_is_in_the_repository(path: Path) -> None:
    text = path.read_text()
    copied = [source for line in re.findall(r"^COPY (.+) \S+$", text, re.M) for source in line.split()]
    run = re.findall(r"src/erfnet_ros/([\w/.]+\.sh)", text)
    assert copied
    assert run
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert [name for name in run if not os.access(ROOT / name, os.X_OK)] == []


INSTALLING = [ROOT / name for name in ("README.md", "docs/ros_installation.md", "tools/install_robot.sh")]


@pytest.mark.parametrize("path", [*DOCKERFILES, *INSTALLING], ids=lambda path: path.name)
def test_a_robot_gets_the_versions_that_the_package_asks_for(path: Path) -> None:
    """`numpy<2` is the robot's own: Ubuntu's OpenCV is built against NumPy 1."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    declared = {line.partition(";")[0].strip() for text in texts for line in text.splitlines()}
    wanted = set(re.findall(r'"([\w-]+[<>]=?[\d.]+)"', path.read_text())) - {"numpy<2"}
    assert wanted <= declared


def test_the_compose_example_builds_a_stage_of_its_dockerfile() -> None:
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    assert set(services) == {"camera", "segmenter", "viewer"}
    build = services["segmenter"]["build"]
    assert f" AS {build['target']}\n" in (ROOT / build["dockerfile"]).read_text()
    profiles = {service["environment"]["FASTDDS_DEFAULT_PROFILES_FILE"] for service in services.values()}
    assert [name for name in profiles if not (ROOT / name.removeprefix("/ros2_ws/src/erfnet_ros/")).is_file()] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_scripts_and_targets_that_exist(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    commands = "\n".join(step["run"] for job in jobs for step in job["steps"] if "run" in step)
    scripts = re.findall(r"(?:tools/|\.ci/)[\w.]+", commands)
    assert scripts
    assert [name for name in scripts if not os.access(ROOT / name, os.X_OK)] == []
    targets = re.findall(r"make (\w+)", commands)
    makefile = (ROOT / "Makefile").read_text()
    assert [name for name in targets if f"\n{name}:" not in makefile] == []
    images = re.findall(r"src/erfnet_ros/(\S+\.png)", commands)
    assert [name for name in images if not (ROOT / name).is_file()] == []
