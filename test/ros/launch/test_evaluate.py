"""evaluate.launch.py: a bag evaluated with a node of its own; runs where launch_ros is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("launch_ros", reason="launch_ros is not installed (it is not on the package index)")

from support.evaluation_samples import FRAMES, SIZE, shots, write_bag
from support.launch_file import Launched, arguments_of

from erfnet_ros.evaluation.results.result import LIVE, Result
from erfnet_ros.ros.node.parameters import PARAMETERS

FILE = "evaluate.launch.py"


def test_what_the_evaluation_and_the_node_can_be_told_is_a_described_argument() -> None:
    """image_transport and autostart follow from the bag."""
    arguments = arguments_of(FILE)
    assert {"bag", "out", "rate", "require", "compare", "image_topic", "ground_truth_topic", "ground_truth_dir"} <= set(
        arguments
    )
    names = {parameter.name for parameter in PARAMETERS} - {"image_transport", "autostart"}
    assert names <= set(arguments)
    assert all(argument.description for argument in arguments.values())


@pytest.mark.parametrize(("compressed", "require", "status"), [(False, "miou>=0", 0), (True, "dropped<0", 1)])
def test_the_bag_is_evaluated_and_everything_ends(compressed: bool, require: str, status: int, tmp_path: Path) -> None:
    """The exit status is the gate's."""
    bag = write_bag(tmp_path / "bag", shots(), compressed=compressed)
    arguments = {
        "bag": str(bag),
        "out": str(tmp_path / "out"),
        "rate": "0.2",
        "require": require,
        "input_size": f"{SIZE[0]}x{SIZE[1]}",
        "precision": "fp32",
    }
    code, log = Launched(FILE, arguments).finish()
    assert code == status, log
    result = Result.read(tmp_path / "out")
    assert result.mode == LIVE
    assert result.frames.images == FRAMES
    assert result.provenance.precision == "fp32"


def test_a_bag_that_is_not_there_stops_the_launch_with_the_reason(tmp_path: Path) -> None:
    code, log = Launched(FILE, {"bag": str(tmp_path / "nowhere"), "out": str(tmp_path / "out")}).finish()
    assert code == 1
    assert "nowhere" in log
