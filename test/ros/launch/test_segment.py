"""segment.launch.py: parameters and topics from its arguments; runs where launch_ros is installed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("launch_ros", reason="launch_ros is not installed (it is not on the package index)")

from ament_index_python.packages import get_packages_with_prefixes
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import Image
from support.launch_file import Launched, arguments_of, launched
from support.live_node import Client, client_of, image_message

from erfnet_ros.ros.node.parameters import PARAMETERS
from erfnet_ros.ros.package_files import package_file
from erfnet_ros.ros.points.parameters import PROJECTOR_PARAMETERS
from erfnet_ros.ros.transport import profile_variable


def test_every_parameter_is_a_described_argument() -> None:
    arguments = arguments_of("segment.launch.py")
    for parameter in (*PARAMETERS, *PROJECTOR_PARAMETERS[1:]):
        assert parameter.description in arguments[parameter.name].description
    own = {"image", "namespace", "params_file", "rviz", "fastdds_profile", "log_level", "respawn", "use_sim_time"}
    own |= {"points", "depth"}
    assert own <= set(arguments)


def parameters_of(client: Client, *names: str) -> list[object]:
    values = client.call(GetParameters, "get_parameters", GetParameters.Request(names=list(names))).values
    return [(value.type, value.string_value or value.double_value or value.bool_value) for value in values]


def node_of(process: Launched) -> tuple[int, dict[str, str]]:
    """Return id and environment of the node that was launched."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"lib/erfnet_ros/segment" in (folder / "cmdline").read_bytes():
                pairs = (folder / "environ").read_bytes().decode().split("\0")
                environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
                if environment["ROS_DOMAIN_ID"] == str(process.domain):
                    return int(folder.name), environment
        except OSError:
            continue
    raise AssertionError("the node does not run")


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
        environment = node_of(process)[1]
        assert environment[profile_variable()].endswith("config/fastdds.xml")
        assert environment["MALLOC_MMAP_THRESHOLD_"] == str(256 << 20)


def test_several_cameras_are_named_and_remapped_by_two_arguments() -> None:
    arguments = {"cameras": "[front, rear]", "image": "/{camera}/image_raw", "input_size": "96x64"}
    with launched(arguments) as process, client_of(process) as client:
        client.reach("active")
        for name in ("front", "rear"):
            camera, masks = client.camera(f"/{name}/image_raw"), client.listen(f"{name}/mask", Image)
            client.send(camera, image_message(np.zeros((64, 96, 3), np.uint8)), masks)


def test_a_profile_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "own.xml"
    own.write_text(package_file("config/fastdds.xml").read_text())
    arguments = {"autostart": "false", "checkpoint": "123"}
    with launched(arguments, {profile_variable(): str(own)}) as process, client_of(process) as client:
        assert client.state() == "unconfigured"
        assert parameters_of(client, "checkpoint", "autostart") == [(4, "123"), (1, False)]
        assert node_of(process)[1][profile_variable()] == str(own)


@pytest.mark.parametrize(
    ("argument", "value", "reason"),
    [
        ("image_transport", "theora", "theora"),
        ("overlay_alpha", "7", "'overlay_alpha': expected a number"),
        ("input_size", "0", "got '0'"),
        ("cameras", "[front, front]", "got 'front' 2 times"),
        ("image", "/{camera}/image_raw", "give their names as well"),
        ("log_level", "chatty", "chatty"),
    ],
)
def test_a_bad_argument_stops_the_launch_with_the_reason(argument: str, value: str, reason: str) -> None:
    status, log = Launched("segment.launch.py", {argument: value}).finish()
    assert status != 0
    assert reason in log
    assert "Traceback" not in log


@pytest.mark.skipif("rviz2" in get_packages_with_prefixes(), reason="rviz2 is installed")
def test_the_node_starts_where_rviz_is_missing_and_a_misspelled_argument_is_named() -> None:
    arguments = {"rviz": "true", "autostart": "false", "imgae": "/camera/image_raw"}
    with launched(arguments) as process, client_of(process) as client:
        assert client.state() == "unconfigured"
        assert "rviz2 is not installed" in process.log()
        assert "Launch argument 'imgae' is ignored: there is none of that name; did you mean 'image'?" in process.log()


def test_an_empty_namespace_is_the_root_and_a_node_that_died_is_started_again() -> None:
    with launched({"namespace": "", "respawn": "true", "autostart": "false"}) as process, client_of(process) as client:
        nodes = client.get_node_names_and_namespaces
        client.wait_for(lambda: ("segmenter", "/") in nodes(), "the node")
        first = node_of(process)[0]
        os.kill(first, signal.SIGKILL)
        client.wait_for(lambda: process.log().count("process started with pid") == 2, "the second node")
        assert node_of(process)[0] != first
