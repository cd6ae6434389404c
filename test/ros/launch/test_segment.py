"""`ros2 launch erfnet_ros segment.launch.py` gives the node what its arguments say; runs where launch_ros is."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("launch_ros", reason="launch_ros is not installed (it is not on the package index)")

from launch import LaunchDescription, LaunchService
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import Image
from support.live_node import Client, NodeProcess, client_of, image_message

from erfnet_ros.ros.node.parameters import PARAMETERS
from erfnet_ros.ros.transport import profile_variable

LAUNCH_FILE = Path(__file__).resolve().parents[3] / "launch" / "segment.launch.py"


def description() -> LaunchDescription:
    return PythonLaunchDescriptionSource(str(LAUNCH_FILE)).get_launch_description(LaunchService().context)


def test_every_parameter_is_a_described_argument() -> None:
    """What `--show-args` lists."""
    arguments = {a.name: a for a in description().entities if isinstance(a, DeclareLaunchArgument)}
    for parameter in PARAMETERS:
        assert parameter.description in arguments[parameter.name].description
    own = {"image", "namespace", "params_file", "rviz", "fastdds_profile", "log_level", "use_sim_time"}
    assert own <= set(arguments)


class Launched(NodeProcess):
    """A launch of the file, in a domain of its own."""

    command = (sys.executable, str(Path(__file__).resolve()))

    def __init__(self, arguments: dict[str, str], environment: dict[str, str]) -> None:
        self._start([*self.command, *(f"{name}:={value}" for name, value in arguments.items())], environment)


@contextmanager
def launched(arguments: dict[str, str], environment: dict[str, str] | None = None) -> Iterator[Launched]:
    process = Launched(arguments, environment or {})
    try:
        yield process
    except BaseException:
        print(process.log())
        raise
    finally:
        process.stop()


def parameters_of(client: Client, *names: str) -> list[object]:
    values = client.call(GetParameters, "get_parameters", GetParameters.Request(names=list(names))).values
    return [(value.type, value.string_value or value.double_value or value.bool_value) for value in values]


def environment_of_node() -> list[dict[str, str]]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"lib/erfnet_ros/segment" in (folder / "cmdline").read_bytes():
                pairs = (folder / "environ").read_bytes().decode().split("\0")
                found.append(dict(pair.split("=", 1) for pair in pairs if "=" in pair))
        except OSError:
            continue
    return found


def test_arguments_reach_the_node_and_those_not_given_leave_the_file_its_say(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("/**/segmenter:\n  ros__parameters:\n    overlay_alpha: 0.25\n    max_rate: 5.0\n")
    arguments = {
        "params_file": str(file),
        "max_rate": "7",
        "input_size": "320x240",
        "precision": "fp32",
        "use_sim_time": "true",
        "image": "/front/image",
    }
    with launched(arguments, {profile_variable(): ""}) as process, client_of(process) as client:
        client.reach("active")
        names = ("overlay_alpha", "max_rate", "input_size", "precision", "use_sim_time")
        assert parameters_of(client, *names) == [(3, 0.25), (3, 7.0), (4, "320x240"), (4, "fp32"), (1, True)]
        camera = client.camera("/front/image")
        client.send(camera, image_message(np.zeros((64, 96, 3), np.uint8)), client.listen("mask", Image))
        environments = [e for e in environment_of_node() if e.get("ROS_DOMAIN_ID") == str(process.domain)]
        assert environments[0][profile_variable()].endswith("config/fastdds.xml")
        assert environments[0]["MALLOC_MMAP_THRESHOLD_"] == str(256 << 20)


def test_several_cameras_are_named_and_remapped_by_two_arguments() -> None:
    arguments = {"cameras": "[front, rear]", "image": "/{camera}/image_raw", "input_size": "96x64"}
    with launched(arguments) as process, client_of(process) as client:
        client.reach("active")
        for name in ("front", "rear"):
            camera, masks = client.camera(f"/{name}/image_raw"), client.listen(f"{name}/mask", Image)
            client.send(camera, image_message(np.zeros((64, 96, 3), np.uint8)), masks)


def test_a_profile_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "own.xml"
    own.write_text((LAUNCH_FILE.parents[1] / "config" / "fastdds.xml").read_text())
    arguments = {"autostart": "false", "checkpoint": "123"}
    with launched(arguments, {profile_variable(): str(own)}) as process, client_of(process) as client:
        assert client.state() == "unconfigured"
        assert parameters_of(client, "checkpoint", "autostart") == [(4, "123"), (1, False)]
        environments = [e for e in environment_of_node() if e.get("ROS_DOMAIN_ID") == str(process.domain)]
        assert environments[0][profile_variable()] == str(own)


@pytest.mark.parametrize(
    ("argument", "value", "reason"),
    [
        ("image_transport", "theora", "theora"),
        ("overlay_alpha", "7", "'overlay_alpha': expected a number"),
        ("input_size", "0", "got '0'"),
        ("cameras", "[front, front]", "got 'front' 2 times"),
        ("image", "/{camera}/image_raw", "give their names as well"),
    ],
)
def test_a_bad_argument_stops_the_launch_with_the_reason(argument: str, value: str, reason: str) -> None:
    process = Launched({argument: value}, {})
    try:
        process.process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.process.send_signal(signal.SIGINT)
        raise
    assert process.process.returncode != 0
    assert reason in process.log()


def _main(arguments: list[str]) -> int:
    """What `ros2 launch` does with a file and its arguments."""
    service = LaunchService()
    pairs = [tuple(argument.split(":=", 1)) for argument in arguments]
    source = PythonLaunchDescriptionSource(str(LAUNCH_FILE))
    service.include_launch_description(IncludeLaunchDescription(source, launch_arguments=pairs))
    return service.run()


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
