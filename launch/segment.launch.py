"""Start the segmenter node: ros2 launch erfnet_ros segment.launch.py image:=/camera/image_raw

Several cameras: cameras:='[front, rear]' image:='/{camera}/image_raw', or image:='[/front/image_raw, /back/rgb]'.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from erfnet_ros.ros.node.parameters import (
    DEFAULT_IMAGE,
    PARAMETERS,
    Parameter,
    from_text,
    image_remappings,
    image_topics,
    split_list,
)
from erfnet_ros.ros.transport import MALLOC_VARIABLES, profile_settings

_UNSET = ""
"""An argument left so does not override the parameter file."""

_USE_SIM_TIME = Parameter("use_sim_time", "bool", False, "Take the time from /clock, as of a simulator or a bag.")
"""A parameter of every ROS node, which RViz needs as well."""


def generate_launch_description() -> LaunchDescription:
    """Declare an argument for each parameter, and start node and, if asked for, RViz."""
    config = Path(get_package_share_directory("erfnet_ros")) / "config"
    arguments = [
        DeclareLaunchArgument(
            "image",
            default_value=DEFAULT_IMAGE,
            description="Topic of the camera's images. With several cameras one topic with {camera} where their names "
            "stand, such as /{camera}/image_raw, or a list of topics in their order.",
        ),
        DeclareLaunchArgument("namespace", default_value="segmentation", description="Namespace of node and outputs."),
        DeclareLaunchArgument(
            "params_file", default_value=str(config / "segment.yaml"), description="Parameter file of the node."
        ),
        DeclareLaunchArgument(
            "fastdds_profile",
            default_value=str(config / "fastdds.xml"),
            description="Fast DDS profile for large images; empty leaves Fast DDS as it is. "
            "FASTDDS_DEFAULT_PROFILES_FILE in the environment wins. Give the camera the same.",
        ),
        DeclareLaunchArgument("log_level", default_value="info", description="Severity from which the node logs."),
        DeclareLaunchArgument(
            "rviz",
            default_value="false",
            choices=["true", "false"],
            description="Start RViz with the outputs, those of the first camera.",
        ),
        *(_argument(parameter) for parameter in (*PARAMETERS, _USE_SIM_TIME)),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_start)])


def _argument(parameter: Parameter) -> DeclareLaunchArgument:
    description = f"{parameter.description} Empty: as in params_file (default {parameter.default!r})."
    choices = [_UNSET, *parameter.choices] if parameter.choices else None
    return DeclareLaunchArgument(parameter.name, default_value=_UNSET, choices=choices, description=description)


def _start(context: LaunchContext) -> list[Node]:
    def text(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    given = {p.name: from_text(p, text(p.name)) for p in (*PARAMETERS, _USE_SIM_TIME) if text(p.name) != _UNSET}
    namespace, cameras = text("namespace"), split_list(text("cameras"))
    topics = image_topics(cameras, text("image"))
    node = LifecycleNode(
        package="erfnet_ros",
        executable="segment",
        name="segmenter",
        namespace=namespace,
        parameters=[text("params_file"), *([given] if given else [])],
        remappings=image_remappings(cameras, topics),
        additional_env=_environment(text("fastdds_profile")),
        arguments=["--ros-args", "--log-level", text("log_level")],
        output="screen",
        emulate_tty=True,
    )
    if text("rviz") == "false":
        return [node]
    # The displays' topics are relative, so that they follow the namespace; the camera's is remapped like the node's.
    rviz_config = Path(get_package_share_directory("erfnet_ros")) / "config" / "segment.rviz"
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace="/".join((namespace.rstrip("/"), *cameras[:1])),
        arguments=["-d", str(rviz_config)],
        parameters=[{"use_sim_time": given.get("use_sim_time", False)}],
        remappings=[("image", topics[0])],
        additional_env=_environment(text("fastdds_profile")),
    )
    return [node, rviz]


def _environment(profile: str) -> dict[str, str]:
    """What large images need; a profile that the user has set already stays."""
    return {**MALLOC_VARIABLES, **(profile_settings(profile) if profile else {})}
