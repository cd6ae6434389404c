"""`ros2 launch erfnet_ros evaluate.launch.py` evaluates a bag with the node beside it; runs where launch_ros is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("launch_ros", reason="launch_ros is not installed (it is not on the package index)")

from launch import LaunchDescription, LaunchService
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from support.evaluation_samples import FRAMES, SIZE, shots, write_bag
from support.live_node import NodeProcess

from erfnet_ros.evaluation.results.result import LIVE, Result
from erfnet_ros.ros.node.parameters import PARAMETERS

LAUNCH_FILE = Path(__file__).resolve().parents[3] / "launch" / "evaluate.launch.py"
TIMEOUT_S = 240


def description() -> LaunchDescription:
    return PythonLaunchDescriptionSource(str(LAUNCH_FILE)).get_launch_description(LaunchService().context)


def test_what_the_evaluation_and_the_node_can_be_told_is_a_described_argument() -> None:
    """What `--show-args` lists; image_transport and autostart follow from the bag."""
    arguments = {a.name: a for a in description().entities if isinstance(a, DeclareLaunchArgument)}
    assert {"bag", "out", "rate", "require", "compare", "image_topic", "ground_truth_topic", "ground_truth_dir"} <= set(
        arguments
    )
    names = {parameter.name for parameter in PARAMETERS} - {"image_transport", "autostart"}
    assert names <= set(arguments)
    assert all(argument.description for argument in arguments.values())


class Launched(NodeProcess):
    """A launch of the file, in a domain of its own, that ends by itself."""

    def __init__(self, arguments: dict[str, str]) -> None:
        command = [sys.executable, str(Path(__file__).resolve())]
        self._start([*command, *(f"{name}:={value}" for name, value in arguments.items())], {})

    def finish(self) -> tuple[int, str]:
        """Return exit status and what was written."""
        try:
            return self.process.wait(timeout=TIMEOUT_S), self.log()
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"the launch did not end by itself:\n{self.log()}") from None


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
    code, log = Launched(arguments).finish()
    assert code == status, log
    result = Result.read(tmp_path / "out")
    assert result.mode == LIVE
    assert result.frames.images == FRAMES
    assert result.provenance.precision == "fp32"


def test_a_bag_that_is_not_there_stops_the_launch_with_the_reason(tmp_path: Path) -> None:
    code, log = Launched({"bag": str(tmp_path / "nowhere"), "out": str(tmp_path / "out")}).finish()
    assert code == 1
    assert "nowhere" in log


def _main(arguments: list[str]) -> int:
    """What `ros2 launch` does with a file and its arguments."""
    service = LaunchService()
    pairs = [tuple(argument.split(":=", 1)) for argument in arguments]
    source = PythonLaunchDescriptionSource(str(LAUNCH_FILE))
    service.include_launch_description(IncludeLaunchDescription(source, launch_arguments=pairs))
    return service.run()


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
