"""A launch file as `ros2 launch` runs it: in a process, and a domain, of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from launch import LaunchService
from launch.actions import DeclareLaunchArgument
from launch.launch_description_sources import PythonLaunchDescriptionSource
from support.live_node import NodeProcess

TIMEOUT_S = 240

_FOLDER = Path(__file__).resolve().parents[2] / "launch"
_LAUNCH = """
import sys
from launch import LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

service = LaunchService(argv=sys.argv[2:])
pairs = [argument.split(":=", 1) for argument in sys.argv[2:]]
source = PythonLaunchDescriptionSource(sys.argv[1])
service.include_launch_description(IncludeLaunchDescription(source, launch_arguments=pairs))
sys.exit(service.run())
"""


def arguments_of(file: str) -> dict[str, DeclareLaunchArgument]:
    """Return the arguments that a launch file declares, which `--show-args` lists."""
    source = PythonLaunchDescriptionSource(str(_FOLDER / file))
    entities = source.get_launch_description(LaunchService().context).entities
    return {entity.name: entity for entity in entities if isinstance(entity, DeclareLaunchArgument)}


class Launched(NodeProcess):
    """A running launch file."""

    def __init__(self, file: str, arguments: Mapping[str, str], environment: Mapping[str, str] | None = None) -> None:
        pairs = (f"{name}:={value}" for name, value in arguments.items())
        self._start([sys.executable, "-c", _LAUNCH, str(_FOLDER / file), *pairs], environment or {})

    def finish(self) -> tuple[int, str]:
        """Wait until it ends by itself; return exit status and what was written."""
        try:
            return self.process.wait(timeout=TIMEOUT_S), self.log()
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"the launch did not end by itself:\n{self.log()}") from None


def launched(arguments: Mapping[str, str], environment: Mapping[str, str] | None = None) -> Launched:
    """Start segment.launch.py."""
    return Launched("segment.launch.py", arguments, environment)
