"""The segmenter node: wires camera, segmenter and outputs together under a lifecycle."""

from __future__ import annotations

import logging
import threading
import traceback
from dataclasses import dataclass, replace
from typing import Any

import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.timer import Timer

from erfnet_ros.errors import ErfnetError, ParameterError
from erfnet_ros.ros.camera_input import CameraInput
from erfnet_ros.ros.declaration import Declaration
from erfnet_ros.ros.diagnostics import Diagnostics, Health, LogForwarder
from erfnet_ros.ros.executor import NodeExecutor
from erfnet_ros.ros.frames import Frames, Settings
from erfnet_ros.ros.outputs import Outputs
from erfnet_ros.ros.parameters import Value
from erfnet_ros.ros.transport import keep_large_blocks, missing_profile
from erfnet_ros.segmenter import Segmenter
from erfnet_ros.sizes import parse_input_size

_WATCH_PERIOD_S = 0.2
"""How soon the node notices that listeners or cameras come and go."""


@dataclass(frozen=True)
class Loaded:
    """What a configured node holds.

    Attributes:
        warnings: What is wrong with the surroundings and what to do, a sentence each.
        notes: What was chosen for want of something better, a sentence each.
    """

    segmenter: Segmenter
    outputs: Outputs
    camera: CameraInput
    frames: Frames
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


class SegmenterNode(LifecycleNodeMixin, Node):
    """Subscribe to a camera, publish what the network sees.

    Configure loads the engine, activate subscribes (while somebody reads an output), deactivate lets go of the
    camera, cleanup frees the memory. One bad frame is counted and reported; one bad parameter leaves the node
    unconfigured and answering.
    """

    def __init__(self, **node_options: Any) -> None:
        Node.__init__(self, "segmenter", **{"namespace": "segmentation", **node_options})
        # Loading an engine takes seconds; parameters and diagnostics answer meanwhile, so each has a group of its own.
        self._lifecycle_group = MutuallyExclusiveCallbackGroup()
        self._image_group = MutuallyExclusiveCallbackGroup()
        self._watch_group = MutuallyExclusiveCallbackGroup()
        LifecycleNodeMixin.__init__(self, callback_group=self._lifecycle_group)
        self._forwarder = LogForwarder(self.get_logger())
        logging.getLogger("erfnet_ros").addHandler(self._forwarder)
        logging.getLogger("erfnet_ros").setLevel(logging.INFO)

        self._loaded: Loaded | None = None
        self._active = False
        self._fault: str | None = None
        self._frame_lock = threading.Lock()
        self._camera_lock = threading.Lock()
        self._parameters_in_use = Declaration(self, lambda: self._loaded is not None, self._change_settings)
        self._settings = self._read_settings()

        self._diagnostics = Diagnostics(self)
        self.create_timer(1.0, self._report_health, callback_group=self._watch_group)
        self.create_timer(_WATCH_PERIOD_S, self._watch, callback_group=self._watch_group)
        self._autostart: Timer | None = None
        if self._parameters_in_use.value("autostart"):
            self._autostart = self.create_timer(0.0, self._start, callback_group=self._lifecycle_group)

    # The lifecycle.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the engine; a bad parameter leaves the node unconfigured, with the reason in log and diagnostics."""
        try:
            loaded = self._load()
        except ErfnetError as error:
            return self._refuse(str(error))
        except Exception as error:
            # rclpy swallows what a transition raises; a user would see a node that fails and says nothing.
            self.get_logger().error(traceback.format_exc())
            return self._refuse(f"Internal error, {type(error).__name__}: {error}; please report it with the log.")
        self._fault = None
        self._settings = self._read_settings()
        self._loaded = loaded
        engine, class_set = loaded.segmenter.engine, loaded.segmenter.class_set
        self.get_logger().info(
            f"Configured: {engine.name} on {engine.device} in {engine.precision}, {len(class_set)} classes "
            f"({class_set.name})."
        )
        for warning in loaded.warnings:
            self.get_logger().warning(warning)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to follow the listeners."""
        result = super().on_activate(state)
        if self._loaded is not None:
            self._loaded.frames.begin()
            self._loaded.outputs.publish_label_info(self._settings.confidence_threshold)
            self.get_logger().info(f"Active: images from {self._loaded.camera.topic} while somebody reads an output.")
        self._active = True
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the camera; a frame under way is finished first."""
        self._release_camera()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the engine's memory."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything."""
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything, and be ready to be configured again."""
        self._release()
        self._fault = self._fault or "An internal error stopped the node; see the log, and configure it again."
        return TransitionCallbackReturn.SUCCESS

    def _refuse(self, reason: str) -> TransitionCallbackReturn:
        self._fault = reason
        self.get_logger().error(f"Not configured: {reason}")
        return TransitionCallbackReturn.FAILURE

    def _start(self) -> None:
        if self._autostart is not None:
            self._autostart.cancel()
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def _load(self) -> Loaded:
        parameters = self._parameters_in_use
        if parameters.faults:
            raise ParameterError(" ".join(parameters.faults.values()))
        segmenter = Segmenter(
            parameters.text("checkpoint") or None,
            parameters.text("engine"),
            parameters.text("device"),
            parameters.text("precision"),
            parse_input_size(parameters.text("input_size")),
        )
        outputs = Outputs(self, segmenter.class_set)
        camera = CameraInput(self, parameters.text("image_transport"), self._image_group, self._receive)
        frames = Frames(segmenter, outputs, camera, self.get_logger())
        notes = list(segmenter.engine.notes)
        if not outputs.names_labels:
            notes.append(
                "label_info is not published: vision_msgs is not installed (apt: ros-$ROS_DISTRO-vision-msgs)."
            )
            # The engine's notes come from the core's log.
            self.get_logger().info(notes[-1])
        return Loaded(segmenter, outputs, camera, frames, self._warnings(), tuple(notes))

    def _warnings(self) -> tuple[str, ...]:
        profile = missing_profile(rclpy.get_rmw_implementation_identifier())
        unknown = (
            f"Parameter '{name}' was set but this node has none of that name; see ros2 param list."
            for name in self._parameters_in_use.unknown
        )
        return (*((profile,) if profile else ()), *unknown)

    def _release_camera(self) -> None:
        self._active = False
        with self._frame_lock, self._camera_lock:
            if self._loaded is not None:
                self._loaded.camera.close()

    def _release(self) -> None:
        self._release_camera()
        if self._loaded is not None:
            self._loaded.outputs.close()
            self._loaded.segmenter.close()
        self._loaded = None

    def _watch(self) -> None:
        """Subscribe while somebody reads an output."""
        with self._camera_lock:
            if not self._active or self._loaded is None:
                return
            wanted, camera = self._loaded.outputs.wanted(), self._loaded.camera
            before = camera.subscribed
            camera.update(bool(wanted), "camera_info" in wanted)
        if camera.subscribed != before:
            # Whoever waits for the node to listen need not wait for the next second.
            self._report_health()

    def _receive(self, message: Any) -> None:
        with self._frame_lock:
            if self._active and self._loaded is not None:
                self._loaded.frames.take(message, self._settings)

    # Parameters and diagnostics.

    def _read_settings(self) -> Settings:
        number = self._parameters_in_use.number
        return Settings(number("confidence_threshold"), number("overlay_alpha"), number("max_rate"))

    def _change_settings(self, changes: dict[str, Value]) -> None:
        self._settings = replace(self._settings, **{name: float(value) for name, value in changes.items()})
        if "confidence_threshold" in changes and self._loaded is not None and self._active:
            self._loaded.outputs.publish_label_info(self._settings.confidence_threshold)

    def _report_health(self) -> None:
        self._diagnostics.publish(self._health())

    def _health(self) -> Health:
        loaded = self._loaded
        if loaded is None:
            errors = (f"Not configured: {self._fault}",) if self._fault else ()
            return Health("unconfigured", errors)
        warnings = list(loaded.warnings)
        with self._camera_lock:
            if self._active and (complaint := loaded.camera.complaint()):
                warnings.insert(0, complaint)
        if loaded.frames.complaint:
            warnings.insert(0, f"Frames are rejected: {loaded.frames.complaint}")
        figures = {
            "engine": loaded.segmenter.engine.name,
            "device": loaded.segmenter.engine.device,
            "precision": loaded.segmenter.engine.precision,
            "classes": loaded.segmenter.class_set.name,
            "image topic": loaded.camera.topic,
            "subscribed": loaded.camera.subscribed,
            "frames processed": loaded.frames.processed,
            "frames dropped": loaded.frames.dropped,
            "frames rejected": loaded.frames.rejected,
            "notes": " ".join(loaded.notes),
        }
        state = "inactive"
        if self._active:
            state = "segmenting" if loaded.camera.subscribed else "waiting: nobody reads an output"
        return Health(state, (), tuple(warnings), figures)

    def destroy_node(self) -> None:
        """Free everything; the log of the core goes elsewhere again."""
        self._active = False
        logging.getLogger("erfnet_ros").removeHandler(self._forwarder)
        super().destroy_node()


def main() -> None:
    """Run the node until it is told to stop."""
    keep_large_blocks()
    rclpy.init()
    node = SegmenterNode()
    executor = NodeExecutor(num_threads=4)
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        # Launch and a terminal both send SIGINT, so the second one may come in the middle of this.
        executor.shutdown(timeout_sec=2.0)
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
