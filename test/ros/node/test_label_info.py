"""`label_info`, which Nav2's segmentation layer reads, over real DDS.

vision_msgs is not on the package index: where it is not installed, its two messages are built here from their
published fields, as colcon would build them in a workspace.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

import rclpy
from support.live_node import DEADLINE_S, NodeProcess, client_of, running_node

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.ros.harness.child_process import child_environment

MESSAGES = {
    "LabelInfo": "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n",
    "VisionClass": "uint16 class_id\nstring class_name\n",
}

MANIFEST = """<package format="3">
  <name>vision_msgs</name><version>4.1.1</version><description>LabelInfo alone</description>
  <maintainer email="nobody@example.org">nobody</maintainer><license>Apache-2.0</license>
  <buildtool_depend>ament_cmake</buildtool_depend><buildtool_depend>rosidl_default_generators</buildtool_depend>
  <depend>std_msgs</depend><member_of_group>rosidl_interface_packages</member_of_group>
  <export><build_type>ament_cmake</build_type></export>
</package>
"""

BUILD = """cmake_minimum_required(VERSION 3.16)
project(vision_msgs LANGUAGES C CXX)
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
find_package(std_msgs REQUIRED)
rosidl_generate_interfaces(vision_msgs msg/LabelInfo.msg msg/VisionClass.msg DEPENDENCIES std_msgs)
ament_package()
"""

LATE_READER = """
import json, sys, rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile
from vision_msgs.msg import LabelInfo
rclpy.init()
node = rclpy.create_node("late_reader")
def show(message):
    classes = {entry.class_id: entry.class_name for entry in message.class_map}
    print(json.dumps({"classes": classes, "threshold": message.threshold}), flush=True)
latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
node.create_subscription(LabelInfo, "/segmentation/label_info", show, latched)
rclpy.spin(node)
"""


@pytest.fixture(scope="module")
def with_vision_msgs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what the environment needs for vision_msgs to be found."""
    if importlib.util.find_spec("vision_msgs") is not None:
        return {}
    workspace = tmp_path_factory.mktemp("workspace")
    package = workspace / "vision_msgs"
    (package / "msg").mkdir(parents=True)
    for name, text in MESSAGES.items():
        (package / "msg" / f"{name}.msg").write_text(text)
    (package / "package.xml").write_text(MANIFEST)
    (package / "CMakeLists.txt").write_text(BUILD)
    environment = child_environment()
    if Path(str(rclpy.__file__)).is_relative_to(sys.prefix):
        environment["CMAKE_PREFIX_PATH"] = environment["AMENT_PREFIX_PATH"] = sys.prefix
    command = ["colcon", "build", "--cmake-args", f"-DPython3_EXECUTABLE={sys.executable}", "-DBUILD_TESTING=OFF"]
    built = subprocess.run(command, cwd=workspace, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return _changed_by(workspace / "install" / "local_setup.bash")


def _changed_by(setup: Path) -> dict[str, str]:
    """Return the variables that sourcing a setup file sets or changes."""
    done = subprocess.run(
        ["bash", "-c", f". '{setup}' && env -0"], env=child_environment(), capture_output=True, text=True, check=True
    )
    after = dict(pair.split("=", 1) for pair in done.stdout.split("\0") if "=" in pair)
    return {name: text for name, text in after.items() if name.endswith("PATH") and os.environ.get(name) != text}


class LateReader:
    """A process that subscribes to label_info after it was published."""

    def __init__(self, node: NodeProcess, environment: dict[str, str]) -> None:
        domain = {"ROS_DOMAIN_ID": str(node.domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", LATE_READER],
            env={**child_environment(), **domain, **environment},
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self) -> dict[str, object]:
        """Wait for the next message."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        content = json.loads(line)
        assert isinstance(content, dict)
        return content


@pytest.mark.timeout(4 * DEADLINE_S)
def test_label_info_reaches_late_subscribers_and_follows_the_threshold(with_vision_msgs: dict[str, str]) -> None:
    """Nav2 drops every mask whose class names it has not heard."""
    names = {str(index): name for index, name in enumerate(CAMVID.names)}
    with running_node(environment=with_vision_msgs) as node, client_of(node) as client:
        client.reach("active")
        reader = LateReader(node, with_vision_msgs)
        try:
            assert reader.read() == {"classes": names, "threshold": 0.0}
            assert client.set("confidence_threshold", 0.5).successful
            assert reader.read() == {"classes": names, "threshold": 0.5}
        finally:
            reader.process.kill()
            reader.process.wait()
