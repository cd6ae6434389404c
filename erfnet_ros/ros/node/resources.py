"""Resources of a configured node: its segmenter, cameras and scheduler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import rclpy
from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.core.image_size import parse_input_size
from erfnet_ros.inference.engine import Engine
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.ros.node.camera import Camera
from erfnet_ros.ros.node.frame_scheduler import FrameScheduler
from erfnet_ros.ros.node.monitoring.watchdog import EngineWatchdog
from erfnet_ros.ros.node.parameter_handler import ParameterHandler
from erfnet_ros.ros.node.parameters import Settings
from erfnet_ros.ros.node.samples import RecorderLimits, UncertainFrameRecorder
from erfnet_ros.ros.transport import missing_profile


@dataclass(frozen=True)
class NodeResources:
    """What a configured node holds.

    Attributes:
        segmenter: The engine that all cameras share.
        scheduler: Processes their images.
        watchdog: Of the engine.
        warnings: What is wrong with the environment and what to do, a sentence each.
        missing: What is left out because a package is not installed, a sentence each.
    """

    segmenter: Segmenter
    scheduler: FrameScheduler
    watchdog: EngineWatchdog
    warnings: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was chosen because something better is not available, a sentence each."""
        return (*self.segmenter.engine.notes, *self.missing, *self.scheduler.notes)

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """One without a name, or those of the parameter `cameras`."""
        return self.scheduler.cameras

    @property
    def subscribed(self) -> tuple[Camera, ...]:
        """The cameras whose images are being received."""
        return tuple(camera for camera in self.cameras if camera.subscribed)

    def publish_classes(self) -> None:
        """Publish legend, class names and the present confidence threshold for each camera."""
        for camera in self.cameras:
            camera.publishers.publish_classes(self.scheduler.settings.confidence_threshold)

    def close(self) -> None:
        """Destroy the publishers and free the engine's memory."""
        for camera in self.cameras:
            camera.publishers.close()
        if self.scheduler.recorder is not None:
            self.scheduler.recorder.close()
        with self.scheduler.calling_engine():
            self.segmenter.close()
        self.watchdog.close()


def load_resources(
    node: LifecycleNodeMixin,
    parameters: ParameterHandler,
    group: CallbackGroup,
    report_hang: Callable[[Engine, float], None],
) -> NodeResources:
    """Load the engine and set up each camera's topics.

    Args:
        node: The node, in its transition to configured.
        parameters: The node's.
        group: Callback group of the images, and of nothing else.
        report_hang: Says that the engine has not returned for so many seconds, see `EngineWatchdog`.

    Raises:
        ErfnetError: A parameter is wrong, or what it names is not available.
    """
    if parameters.errors:
        raise ParameterError(" ".join(parameters.errors.values()))
    if parameters.number("record_below") and not parameters.text("sample_folder"):
        raise ParameterError("Parameter 'record_below' is set, but sample_folder is empty; set it as well.")
    segmenter = Segmenter(
        parameters.text("checkpoint") or None,
        engine=parameters.text("engine"),
        device=parameters.text("device"),
        precision=parameters.text("precision"),
        input_size=parse_input_size(parameters.text("input_size")),
        live=True,
    )
    compressed = parameters.text("image_transport") == "compressed"
    scheduler = FrameScheduler(segmenter, Settings(**parameters.settings()), node.get_logger())
    scheduler.cameras = tuple(
        Camera(node, name, class_set=segmenter.class_set, compressed=compressed, group=group, scheduler=scheduler)
        for name in parameters.names("cameras") or ("",)
    )
    for camera in scheduler.cameras:
        camera.keeps_last_frame = bool(parameters.text("sample_folder"))
    missing = []
    if not scheduler.cameras[0].publishers.has_label_info:
        missing.append("label_info is not published: vision_msgs is not installed (apt: ros-$ROS_DISTRO-vision-msgs).")
    profile = missing_profile(rclpy.get_rmw_implementation_identifier())
    scheduler.recorder = _recorder(node, parameters)
    timeout_s = parameters.number("engine_timeout")
    return NodeResources(
        segmenter=segmenter,
        scheduler=scheduler,
        watchdog=EngineWatchdog(timeout_s, lambda: scheduler.engine_call, partial(report_hang, segmenter.engine)),
        warnings=(*((profile,) if profile else ()), *parameters.warnings),
        missing=tuple(missing),
    )


def _recorder(node: LifecycleNodeMixin, parameters: ParameterHandler) -> UncertainFrameRecorder | None:
    names = ("record_below", "record_count", "record_megabytes")
    below, most_samples, most_mb = (parameters.number(name) for name in names)
    if not below:
        return None
    return UncertainFrameRecorder(
        Path(parameters.text("sample_folder")) / "uncertain",
        RecorderLimits(below, int(most_samples), most_mb),
        parameters.values(),
        lambda text: node.get_logger().warning(text),
    )
