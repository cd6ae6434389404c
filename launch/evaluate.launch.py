"""Start node and evaluation: ros2 launch erfnet_ros evaluate.launch.py bag:=drive out:=report rate:=1.0

The bag is replayed to the node over DDS, and the report says how good and how late its masks are. Everything ends with
the evaluation; the exit status is 1 where it failed or a requirement does not hold.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from erfnet_ros.data.bags.message_types import COMPRESSED_IMAGE
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.evaluation.inputs.topic_selection import find_topics
from erfnet_ros.ros.node.launch_arguments import misspelled_arguments
from erfnet_ros.ros.transport import MALLOC_VARIABLES, profile_settings

_OPTIONS = {
    "image_topic": "Topic of the images in the bag; empty finds the only one.",
    "ground_truth_topic": "Topic of the class ids in the bag; empty finds the only one with such a name.",
    "ground_truth_dir": "Folder of PNG files of class ids, instead of a topic.",
    "tolerance": "Largest distance between the stamps of image and ground truth, seconds; empty: 0.005.",
    "require": "What must hold, such as 'miou>=0.60 latency_p99<=0.100 dropped<=0.02'.",
    "compare": "result.json of another run, to compare with.",
}
"""Arguments that are handed on to `erfnet evaluate-bag` as they are."""

_FIXED = ("image", "image_transport", "autostart", "rviz", "respawn")
"""Arguments of segment.launch.py that follow from the bag, or from there being an evaluation."""


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, and start node and evaluation."""
    arguments = [
        DeclareLaunchArgument("bag", description="Bags to replay, one after the other: paths, separated by blanks."),
        DeclareLaunchArgument("out", description="Folder for the report."),
        DeclareLaunchArgument("rate", default_value="1.0", description="Replay speed; 1 is the bag's own."),
        *(
            DeclareLaunchArgument(name, default_value="", description=description)
            for name, description in _OPTIONS.items()
        ),
        *_node_arguments(),
    ]
    names = [argument.name for argument in arguments]
    return LaunchDescription([*arguments, OpaqueFunction(function=_start, args=[names])])


def _segment() -> PythonLaunchDescriptionSource:
    share = Path(get_package_share_directory("erfnet_ros"))
    return PythonLaunchDescriptionSource(str(share / "launch" / "segment.launch.py"))


def _node_arguments() -> list[DeclareLaunchArgument]:
    """Return the arguments of segment.launch.py that are also those of the evaluation."""
    declared = _segment().try_get_launch_description_without_context().get_launch_arguments()
    return [argument for argument in declared if argument.name not in _FIXED]


def _start(context: LaunchContext, names: list[str]) -> list[LaunchDescriptionEntity]:
    def text(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    bags, profile = shlex.split(text("bag")), text("fastdds_profile")
    with BagReader(bags[0]) as reader:
        ground_truth = text("ground_truth_topic") or None
        topic = find_topics(
            reader, image=text("image_topic") or None, ground_truth=ground_truth, ground_truth_wanted=False
        ).image
    compressed = topic.type == COMPRESSED_IMAGE
    node = IncludeLaunchDescription(
        _segment(),
        launch_arguments={
            **{argument.name: text(argument.name) for argument in _node_arguments()},
            # The node takes its images from there plus /compressed, where it takes compressed ones.
            "image": topic.name.removesuffix("/compressed") if compressed else topic.name,
            "image_transport": "compressed" if compressed else "raw",
            "autostart": "true",
        }.items(),
    )
    options = [part for name in _OPTIONS if text(name) for part in (f"--{name.replace('_', '-')}", text(name))]
    evaluation = ExecuteProcess(
        cmd=[
            *(sys.executable, "-m", "erfnet_ros.commands", "evaluate-bag", "--live", "--node-running"),
            *("--namespace", f"/{text('namespace').strip('/')}", "--rate", text("rate"), "--out", text("out")),
            *options,
            *bags,
        ],
        name="evaluate",
        additional_env={**MALLOC_VARIABLES, **(profile_settings(profile) if profile else {})},
        output="screen",
    )
    notes = misspelled_arguments(context.launch_configurations, names)
    return [
        *(LogInfo(msg=f"Warning: {note}") for note in notes),
        node,
        RegisterEventHandler(OnProcessExit(target_action=evaluation, on_exit=_finish)),
        evaluation,
    ]


def _finish(event: ProcessExited, context: LaunchContext) -> EmitEvent:
    """End everything; launch returns 1 where something was raised, and in no other case."""
    if event.returncode:
        raise RuntimeError(f"the evaluation ended with exit status {event.returncode}; its last lines say why")
    return EmitEvent(event=Shutdown(reason="the evaluation is done"))
