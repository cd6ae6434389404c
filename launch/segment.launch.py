"""Start the segmenter node: ros2 launch erfnet_ros segment.launch.py image:=/camera/image_raw

Labeled point clouds: points:=true depth:=/camera/aligned_depth_to_color/image_raw
Several cameras: cameras:='[front, rear]' image:='/{camera}/image_raw', or image:='[/front/image_raw, /back/rgb]'.
"""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix, get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from erfnet_ros.ros.node.launch_arguments import (
    DEFAULT_IMAGE,
    PLACEHOLDER,
    from_text,
    image_remappings,
    image_topics,
    misspelled_arguments,
    split_list,
)
from erfnet_ros.ros.node.parameters import PARAMETERS, Parameter, Value
from erfnet_ros.ros.points.parameters import PROJECTOR_PARAMETERS
from erfnet_ros.ros.transport import MALLOC_VARIABLES, profile_settings

_UNSET = ""
"""An argument left so does not override the parameter file."""

_USE_SIM_TIME = Parameter("use_sim_time", "bool", False, "Take the time from /clock, as of a simulator or a bag.")
"""A parameter of every ROS node, which RViz needs as well."""

_ARGUMENTS = {parameter.name: parameter for parameter in (*PROJECTOR_PARAMETERS, *PARAMETERS, _USE_SIM_TIME)}
"""The parameters that are launch arguments; `checkpoint` is one of both nodes."""


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
        DeclareLaunchArgument(
            "namespace", default_value="segmentation", description="Namespace of node and outputs; empty is the root."
        ),
        DeclareLaunchArgument(
            "params_file", default_value=str(config / "segment.yaml"), description="Parameter file of the node."
        ),
        DeclareLaunchArgument(
            "fastdds_profile",
            default_value=str(config / "fastdds.xml"),
            description="Fast DDS profile for large images; empty leaves Fast DDS as it is. "
            "FASTDDS_DEFAULT_PROFILES_FILE in the environment wins. Give the camera the same.",
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="Severity from which the node logs.",
        ),
        DeclareLaunchArgument(
            "respawn",
            default_value="false",
            choices=["true", "false"],
            description="Start the node again, after 2 s, whenever its process ends.",
        ),
        DeclareLaunchArgument(
            "rviz",
            default_value="false",
            choices=["true", "false"],
            description="Start RViz with the outputs, those of the first camera.",
        ),
        DeclareLaunchArgument(
            "points",
            default_value="false",
            choices=["true", "false"],
            description="Publish labeled point clouds of the depth camera on points.",
        ),
        DeclareLaunchArgument(
            "depth",
            default_value="depth",
            description="With points: topic of the depth image aligned to the camera's image, or of an organized point "
            "cloud of its size. With several cameras with {camera} where their names stand.",
        ),
        *map(_argument, _ARGUMENTS.values()),
    ]
    names = [argument.name for argument in arguments]
    return LaunchDescription([*arguments, OpaqueFunction(function=_start, args=[names])])


def _argument(parameter: Parameter) -> DeclareLaunchArgument:
    description = f"{parameter.description} Empty: as in params_file (default {parameter.default!r})."
    choices = [_UNSET, *parameter.choices] if parameter.choices else None
    return DeclareLaunchArgument(parameter.name, default_value=_UNSET, choices=choices, description=description)


def _start(context: LaunchContext, names: list[str]) -> list[LaunchDescriptionEntity]:
    def text(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    def given(*parameters: Parameter) -> dict[str, Value]:
        return {p.name: from_text(p, text(p.name)) for p in (*parameters, _USE_SIM_TIME) if text(p.name) != _UNSET}

    namespace, cameras = text("namespace") or "/", split_list(text("cameras"))
    notes = misspelled_arguments(context.launch_configurations, names)
    topics = image_topics(cameras, text("image"))
    node = LifecycleNode(
        package="erfnet_ros",
        executable="segment",
        name="segmenter",
        namespace=namespace,
        parameters=[text("params_file"), *filter(None, [given(*PARAMETERS)])],
        remappings=image_remappings(cameras, topics),
        additional_env=_environment(text("fastdds_profile")),
        arguments=["--ros-args", "--log-level", text("log_level")],
        output="screen",
        emulate_tty=True,
        respawn=text("respawn") == "true",
        respawn_delay=2.0,
    )
    actions: list[LaunchDescriptionEntity] = []
    if text("points") == "true":
        actions += [
            Node(
                package="erfnet_ros",
                executable="project",
                name="projector",
                namespace="/".join((namespace.rstrip("/"), camera)).rstrip("/") or "/",
                parameters=[text("params_file"), *filter(None, [given(*PROJECTOR_PARAMETERS)])],
                remappings=[("image", topic), ("depth", text("depth").replace(PLACEHOLDER, camera))],
                additional_env=_environment(text("fastdds_profile")),
                arguments=["--ros-args", "--log-level", text("log_level")],
                output="screen",
                emulate_tty=True,
            )
            for camera, topic in zip(cameras or ("",), topics, strict=True)
        ]
    if text("rviz") == "true":
        # The displays' topics are relative, and follow the namespace; the camera's is remapped like the node's.
        rviz = Node(
            package="rviz2",
            executable="rviz2",
            namespace="/".join((namespace.rstrip("/"), *cameras[:1])),
            arguments=["-d", str(Path(get_package_share_directory("erfnet_ros")) / "config" / "segment.rviz")],
            parameters=[{"use_sim_time": given().get("use_sim_time", False)}],
            remappings=[("image", topics[0])],
            additional_env=_environment(text("fastdds_profile")),
        )
        try:
            # Launch would end with an error, and leave the node running.
            get_package_prefix("rviz2")
            actions.append(rviz)
        except PackageNotFoundError:
            notes.append("rviz2 is not installed, so the node starts without it (apt: ros-$ROS_DISTRO-rviz2).")
    return [*(LogInfo(msg=f"Warning: {note}") for note in notes), *actions, node]


def _environment(profile: str) -> dict[str, str]:
    """What large images need; a profile that the user has set already stays."""
    return {**MALLOC_VARIABLES, **(profile_settings(profile) if profile else {})}
