"""What a configured node holds, loaded as its parameters say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import rclpy
from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.core.image_size import parse_input_size
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.ros.node.camera import NodeCamera
from erfnet_ros.ros.node.frame_scheduler import Frames, batch_pays
from erfnet_ros.ros.node.parameter_handler import Declaration
from erfnet_ros.ros.transport import missing_profile


@dataclass(frozen=True)
class Loaded:
    """What a configured node holds.

    Attributes:
        segmenter: The engine that all cameras share.
        cameras: One without a name, or those of the parameter `cameras`.
        frames: What is done with their images.
        warnings: What is wrong with the surroundings and what to do, a sentence each.
        missing: What is left out for want of a package, a sentence each.
    """

    segmenter: Segmenter
    cameras: tuple[NodeCamera, ...]
    frames: Frames
    warnings: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was chosen for want of something better, until now, a sentence each."""
        return (*self.segmenter.engine.notes, *self.missing, *self.frames.notes)

    @property
    def subscribed(self) -> tuple[NodeCamera, ...]:
        """The cameras whose images are being received."""
        return tuple(camera for camera in self.cameras if camera.input.subscribed)

    def close(self) -> None:
        """Take the publishers down and free the engine's memory."""
        for camera in self.cameras:
            camera.outputs.close()
        self.segmenter.close()


def load(
    node: LifecycleNodeMixin,
    parameters: Declaration,
    group: CallbackGroup,
    on_image: Callable[[NodeCamera, Any], None],
) -> Loaded:
    """Load the engine and set up each camera's topics.

    Args:
        node: The node, in its transition to configured.
        parameters: The node's.
        group: Callback group that images have to themselves.
        on_image: Called with the camera and every image message that the executor takes.

    Raises:
        ErfnetError: A parameter does not fit, or what it names is not to be had here.
    """
    if parameters.faults:
        raise ParameterError(" ".join(parameters.faults.values()))
    segmenter = Segmenter(
        parameters.text("checkpoint") or None,
        engine=parameters.text("engine"),
        device=parameters.text("device"),
        precision=parameters.text("precision"),
        input_size=parse_input_size(parameters.text("input_size")),
        live=True,
    )
    transport = parameters.text("image_transport")
    cameras = tuple(
        NodeCamera(node, name, segmenter.class_set, transport, group, on_image)
        for name in parameters.names("cameras") or ("",)
    )
    missing = []
    if not cameras[0].outputs.names_labels:
        missing.append("label_info is not published: vision_msgs is not installed (apt: ros-$ROS_DISTRO-vision-msgs).")
    engine = segmenter.engine
    frames = Frames(segmenter, cameras, lambda: batch_pays(engine.device), node.get_logger())
    return Loaded(segmenter, cameras, frames, _warnings(parameters), tuple(missing))


def _warnings(parameters: Declaration) -> tuple[str, ...]:
    profile = missing_profile(rclpy.get_rmw_implementation_identifier())
    unknown = (
        f"Parameter '{name}' was set but this node has none of that name; see ros2 param list."
        for name in parameters.unknown
    )
    return (*((profile,) if profile else ()), *unknown)
