"""Package metadata, compared with the code."""

from __future__ import annotations

import ast
import configparser
import os
import re
import sys
from fnmatch import fnmatch
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement

import erfnet_ros

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "erfnet_ros"

PIP_NAMES = {"PIL": "pillow", "cv2": "opencv-python-headless", "rerun": "rerun-sdk", "yaml": "PyYAML"}
"""Where the name on the package index differs from the module's."""

ROSDEP_KEYS = {
    "PIL": "python3-pil",
    "cv2": "python3-opencv",
    "jinja2": "python3-jinja2",
    "numpy": "python3-numpy",
    "filelock": "python3-filelock",
    "psutil": "python3-psutil",
    "rich": "python3-rich",
    "yaml": "python3-yaml",
}
ONLY_FROM_PIP = {
    "apsw",
    *("rosbags", "safetensors", "torch", "lz4", "zstandard"),
    *("dask", "distributed", "lightning", "onnx", "onnxruntime", "onnxscript", "openvino", "tensorboard"),
    *("rerun", "torchmetrics", "triton"),
}


OPTIONAL_ON_A_ROBOT = {"matplotlib"}
"""Imported where it is used, with an error that says how to install it."""


def manifest() -> ElementTree.Element:
    """Return the root of package.xml."""
    return ElementTree.parse(ROOT / "package.xml").getroot()


def setup_options() -> configparser.ConfigParser:
    """Return setup.cfg."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def requirements() -> list[Requirement]:
    """Return what setup.cfg asks for, extras included."""
    config = setup_options()
    lists = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    return [Requirement(line) for text in lists for line in text.split("\n") if line]


def imported_packages() -> set[str]:
    """Return the top-level names of all packages that the code imports, less Python's own and ours."""
    names: set[str] = set()
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"erfnet_ros"}


def is_from_ros(package: str) -> bool:
    """Return whether a package comes with ROS and never from pip."""
    return package.endswith("_msgs") or package in {
        "ament_index_python",
        "launch",
        "launch_ros",
        "rcl_interfaces",
        "rclpy",
        "std_srvs",
    }


def test_both_installers_name_the_same_version() -> None:
    assert manifest().findtext("version") == erfnet_ros.__version__


def test_catkin_tools_read_the_manifest_without_a_complaint() -> None:
    """Bloom and colcon read it with this parser."""
    parser = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg is not installed")
    warnings: list[str] = []
    package = parser.parse_package(str(ROOT / "package.xml"), warnings=warnings)
    assert warnings == []
    assert [name for name in (license.file for license in package.licenses) if not (ROOT / name).is_file()] == []


def test_catkin_tools_read_every_entry_of_the_changelog() -> None:
    """Bloom puts the entries of a version into the Debian package's changelog; what its parser misses is lost."""
    changelog = pytest.importorskip("catkin_pkg.changelog", reason="catkin_pkg is not installed")
    text = (ROOT / "CHANGELOG.rst").read_text()
    released = text.replace("Forthcoming\n-----------", f"{erfnet_ros.__version__} (2000-01-01)\n------------------")
    parsed = changelog.populate_changelog_from_rst(changelog.Changelog("erfnet_ros"), released)
    versions = [(version, content) for version, _, content in parsed.foreach_version()]
    assert versions[0][0] == erfnet_ros.__version__
    lines = "\n".join(str(part) for _, content in versions for part in content).splitlines()
    assert sum(line.startswith("* ") for line in lines) == sum(line.startswith("- ") for line in text.splitlines())


def test_rosdep_installs_everything_that_the_code_imports() -> None:
    declared = {element.text for element in manifest() if element.tag in ("depend", "exec_depend")}
    wanted = {
        ROSDEP_KEYS.get(package, package) for package in imported_packages() - ONLY_FROM_PIP - OPTIONAL_ON_A_ROBOT
    }
    assert not wanted - declared


def test_pip_installs_everything_that_the_code_imports_without_ros() -> None:
    declared = {requirement.name for requirement in requirements()}
    wanted = {PIP_NAMES.get(package, package) for package in imported_packages() if not is_from_ros(package)}
    assert not wanted - declared


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_requirement_has_a_lower_bound_and_the_lock_file_keeps_it(requirement: Requirement) -> None:
    assert [specifier.operator for specifier in requirement.specifier] == [">="]
    lock = "".join((ROOT / "requirements" / f"{name}.txt").read_text() for name in ("lock", "optional_engines"))
    pinned = re.findall(rf"^{requirement.name}==(\S+)", lock, re.IGNORECASE | re.MULTILINE)
    assert pinned, f"requirements/ does not pin {requirement.name}"
    assert all(requirement.specifier.contains(version) for version in pinned)


def test_pip_installs_every_data_file() -> None:
    """Without its weights an installed package fails at the first image."""
    patterns = setup_options()["options.package_data"]["erfnet_ros"].split()
    files = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*") if path.is_file()]
    data = [name for name in files if not name.endswith(".py") and "__pycache__" not in name]
    assert not [name for name in data if not any(fnmatch(name, pattern) for pattern in patterns)]


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").iterdir()), ids=lambda path: path.name)
def test_a_script_runs_in_whichever_environment_is_active(script: Path) -> None:
    """A fixed interpreter would miss torch, and a mode without x is not found by ros2 run."""
    assert script.read_text().startswith("#!/usr/bin/env python3\n")
    assert os.access(script, os.X_OK)
