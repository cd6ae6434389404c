"""The segmenter node: wires cameras, segmenter and outputs together under a lifecycle."""

from __future__ import annotations

import logging
import threading
import traceback
from dataclasses import replace
from typing import Any

import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.timer import Timer

from erfnet_ros.core.errors import ErfnetError
from erfnet_ros.ros import diagnostic_keys
from erfnet_ros.ros.node.camera import NodeCamera
from erfnet_ros.ros.node.diagnostics import Diagnostics, Health, LogForwarder, health_of
from erfnet_ros.ros.node.executor import NodeExecutor
from erfnet_ros.ros.node.frame_scheduler import Settings
from erfnet_ros.ros.node.parameter_handler import Declaration
from erfnet_ros.ros.node.parameters import Value
from erfnet_ros.ros.node.resources import Loaded, load
from erfnet_ros.ros.transport import keep_large_blocks

_WATCH_PERIOD_S = 0.2
"""How soon the node notices that listeners or cameras come and go."""


class SegmenterNode(LifecycleNodeMixin, Node):
    """Subscribe to cameras, publish what the network sees.

    Configure loads the engine, activate subscribes (to each camera while somebody reads an output of it), deactivate
    lets go of the cameras, cleanup frees the memory. One bad frame is counted and reported; one bad parameter leaves
    the node unconfigured and answering.
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
            loaded = load(self, self._parameters_in_use, self._image_group, self._receive)
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
        # The engine's notes come from the core's log.
        for note in loaded.missing:
            self.get_logger().info(note)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to follow the listeners."""
        result = super().on_activate(state)
        if self._loaded is not None:
            for camera in self._loaded.cameras:
                camera.begin()
            self._publish_label_info()
            topics = ", ".join(camera.input.topic for camera in self._loaded.cameras)
            self.get_logger().info(f"Active: images from {topics} while somebody reads an output.")
        self._active = True
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the cameras; a frame under way is finished first."""
        self._release_cameras()
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

    def _release_cameras(self) -> None:
        self._active = False
        with self._camera_lock:
            for camera in self._loaded.cameras if self._loaded is not None else ():
                camera.input.close()
        # Wait for the frame under way; without subscriptions no other follows it.
        with self._frame_lock:
            pass

    def _release(self) -> None:
        self._release_cameras()
        if self._loaded is not None:
            self._loaded.close()
        self._loaded = None

    def _watch(self) -> None:
        """Subscribe while somebody reads an output."""
        with self._camera_lock:
            if not self._active or self._loaded is None:
                return
            before = self._loaded.subscribed
            for camera in self._loaded.cameras:
                camera.update()
            changed = self._loaded.subscribed != before
        if changed:
            # Whoever waits for the node to listen need not wait for the next second.
            self._report_health()

    def _receive(self, camera: NodeCamera, message: Any) -> None:
        with self._frame_lock:
            if self._active and self._loaded is not None:
                self._loaded.frames.serve(camera, message, self._settings)

    # Parameters and diagnostics.

    def _read_settings(self) -> Settings:
        number = self._parameters_in_use.number
        return Settings(number("confidence_threshold"), number("overlay_alpha"), number("max_rate"))

    def _change_settings(self, changes: dict[str, Value]) -> None:
        numbers = {name: value for name, value in changes.items() if isinstance(value, float)}
        self._settings = replace(self._settings, **numbers)
        if "confidence_threshold" in changes and self._active:
            self._publish_label_info()

    def _publish_label_info(self) -> None:
        for camera in self._loaded.cameras if self._loaded is not None else ():
            camera.outputs.publish_label_info(self._settings.confidence_threshold)

    def _report_health(self) -> None:
        self._diagnostics.publish(self._healths())

    def _healths(self) -> list[Health]:
        loaded = self._loaded
        if loaded is None:
            return [Health(diagnostic_keys.UNCONFIGURED, (f"Not configured: {self._fault}",) if self._fault else ())]
        with self._camera_lock:
            return health_of(loaded, self._active)

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
