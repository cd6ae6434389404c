"""The segmenter node: a lifecycle node that connects cameras, segmenter and publishers."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from erfnet_ros.core.errors import ErfnetError
from erfnet_ros.core.printable_text import printable
from erfnet_ros.inference.engine import Engine
from erfnet_ros.ros import diagnostic_keys
from erfnet_ros.ros.node.monitoring.diagnostics import (
    LONGEST_MESSAGE,
    Diagnostics,
    LogForwarder,
    Status,
)
from erfnet_ros.ros.node.monitoring.node_monitor import NodeMonitor, hang_status
from erfnet_ros.ros.node.parameter_handler import ParameterHandler, TableNode
from erfnet_ros.ros.node.parameters import BY_NAME, Settings
from erfnet_ros.ros.node.resources import NodeResources, load_resources
from erfnet_ros.ros.node.samples import save_sample

_SUBSCRIPTION_PERIOD_S = 0.2
"""How soon the node notices subscribers and cameras that come and go."""


class SegmenterNode(LifecycleNodeMixin, TableNode):
    """Publishes the segmentation of camera images.

    Configure loads the engine, activate subscribes (to each camera while an output of it has a subscriber), deactivate
    unsubscribes, cleanup frees the memory. A bad frame is counted and reported; a bad parameter leaves the node
    unconfigured, and its services still answer.
    """

    parameter_table = BY_NAME

    def __init__(self, **node_options: Any) -> None:
        Node.__init__(self, diagnostic_keys.NODE_NAME, **{"namespace": "segmentation", **node_options})
        # Loading an engine takes seconds; state, parameters and diagnostics answer meanwhile, each in its own group.
        lifecycle_group = MutuallyExclusiveCallbackGroup()
        self._image_group = MutuallyExclusiveCallbackGroup()
        watch_group = MutuallyExclusiveCallbackGroup()
        LifecycleNodeMixin.__init__(self, callback_group=MutuallyExclusiveCallbackGroup())
        change_state = next(service for service in self.services if service.srv_type is ChangeState)
        change_state.callback_group = lifecycle_group
        lifecycle_group.add_entity(change_state)
        self._forwarder = LogForwarder(self.get_logger())
        logging.getLogger("erfnet_ros").addHandler(self._forwarder)
        logging.getLogger("erfnet_ros").setLevel(logging.INFO)

        self._resources: NodeResources | None = None
        self._monitor: NodeMonitor | None = None
        self._active, self._enabled = False, True
        self._configure_error: str | None = None
        self._camera_lock, self._settings_lock = threading.Lock(), threading.Lock()
        self._parameter_handler = ParameterHandler(self, self._on_new_values)

        self._diagnostics = Diagnostics(self)
        # Simulated time may be slow, or never begin.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._publish_diagnostics, watch_group, steady)
        self.create_timer(_SUBSCRIPTION_PERIOD_S, self._update_subscriptions, watch_group, steady)
        self.create_service(SetBool, "~/set_enabled", self._set_enabled, callback_group=watch_group)
        for name, answer in (("reset_statistics", self._reset_statistics), ("save_sample", self._save_sample)):
            self.create_service(Trigger, f"~/{name}", answer, callback_group=watch_group)
        if self._parameter_handler.value("autostart"):
            self._start_timer = self.create_timer(0.0, self._autostart, lifecycle_group, steady)

    # The lifecycle.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the engine; a bad parameter leaves the node unconfigured, with the reason in log and diagnostics."""
        self._parameter_handler.fix(True)
        try:
            resources = load_resources(self, self._parameter_handler, self._image_group, self._report_hang)
        except ErfnetError as error:
            return self._fail_to_configure(str(error))
        except Exception as error:
            # rclpy discards what a transition raises, and the reason would be in no log.
            self.get_logger().error(traceback.format_exc())
            return self._fail_to_configure(
                f"Internal error, {type(error).__name__}: {error}; please report it with the log."
            )
        self._configure_error = None
        self._monitor = NodeMonitor(resources, lambda text: self.get_logger().warning(text))
        self._resources = resources
        self._use_settings()
        engine, class_set = resources.segmenter.engine, resources.segmenter.class_set
        self.get_logger().info(
            f"Configured: {engine.name} on {engine.device} in {engine.precision}, {len(class_set)} classes "
            f"({printable(class_set.name)})."
        )
        for warning in resources.warnings:
            self.get_logger().warning(warning)
        # The engine's notes come from the core's log.
        for note in resources.missing:
            self.get_logger().info(note)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to a camera whenever an output of it has a subscriber."""
        result = super().on_activate(state)
        if self._resources is not None:
            self._resources.scheduler.start()
            self._resources.publish_classes()
            topics = ", ".join(camera.topic for camera in self._resources.cameras)
            self.get_logger().info(f"Active: subscribes to {topics} while an output has a subscriber.")
        self._active = self._enabled = True
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe from the cameras; a frame in progress is finished first."""
        self._stop()
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
        """Free everything; the node can be configured again."""
        self._release()
        self._configure_error = self._configure_error or (
            "An internal error stopped the node; see the log, and configure it again."
        )
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Free everything, and stop forwarding the core's log."""
        self._release()
        logging.getLogger("erfnet_ros").removeHandler(self._forwarder)
        super().destroy_node()

    def _fail_to_configure(self, reason: str) -> TransitionCallbackReturn:
        self._parameter_handler.fix(False)
        self._configure_error = printable(reason, LONGEST_MESSAGE)
        self.get_logger().error(f"Not configured: {self._configure_error}")
        return TransitionCallbackReturn.FAILURE

    def _autostart(self) -> None:
        self._start_timer.cancel()
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def _stop(self) -> None:
        self._active = False
        if self._resources is not None:
            with self._camera_lock:
                for camera in self._resources.cameras:
                    camera.unsubscribe()
            self._resources.scheduler.stop()

    def _release(self) -> None:
        self._stop()
        with self._camera_lock:
            resources, self._resources, self._monitor = self._resources, None, None
        if resources is not None:
            resources.close()
        self._parameter_handler.fix(False)

    def _update_subscriptions(self) -> None:
        with self._camera_lock:
            if not (self._active and self._enabled) or self._resources is None:
                return
            before = self._resources.subscribed
            for camera in self._resources.cameras:
                camera.update_subscription()
            changed = self._resources.subscribed != before
        if changed:
            # A program that waits for the subscription need not wait for the next second.
            self._publish_diagnostics()

    # The services, which answer in any state.

    def _set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Unsubscribe from the cameras until this is called with true, or the node is activated again."""
        with self._camera_lock:
            if not self._active or self._resources is None:
                response.message = "The node is not active; configure and activate it first."
                return response
            self._enabled = request.data
            if not request.data:
                for camera in self._resources.cameras:
                    camera.unsubscribe()
        response.success = True
        response.message = "Enabled." if request.data else "Disabled: the node does not subscribe to a camera."
        self._publish_diagnostics()
        return response

    def _reset_statistics(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._camera_lock:
            if self._resources is None:
                response.message = "The node is not configured, and counts nothing; configure it first."
                return response
            for camera in self._resources.cameras:
                camera.reset_counts()
        response.success = True
        response.message = "frames_processed, frames_dropped and frames_rejected count from zero."
        return response

    def _save_sample(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        folder, resources = self._parameter_handler.text("sample_folder"), self._resources
        frames = {camera.name: camera.last_frame for camera in resources.cameras} if resources else {}
        if not folder:
            response.message = "Samples have no folder; set the parameter sample_folder before the node is configured."
        elif resources is None:
            response.message = "The node is not configured, and has no frame; configure and activate it first."
        elif not any(frames.values()):
            response.message = "No frame was segmented since the activation; start the camera and a subscriber."
        else:
            metadata = self._parameter_handler.values()
            try:
                names = [
                    save_sample(Path(folder), name, frame=frame, metadata=metadata)
                    for name, frame in frames.items()
                    if frame
                ]
                response.success, response.message = True, f"{', '.join(names)} in {folder}"
            except ErfnetError as error:
                response.message = str(error)
        return response

    # Parameters and diagnostics.

    def _use_settings(self) -> None:
        # A parameter may be set while the node is configured: whichever comes last uses the newest values.
        with self._settings_lock:
            if self._resources is not None:
                self._resources.scheduler.settings = Settings(**self._parameter_handler.settings())

    def _on_new_values(self, names: Collection[str]) -> None:
        self._use_settings()
        if self._active and self._resources is not None and "confidence_threshold" in names:
            self._resources.publish_classes()

    def _report_hang(self, engine: Engine, waited_s: float) -> None:
        """Report that the process is about to end; called by the watchdog, while the engine hangs."""
        status = hang_status(engine, waited_s)
        self.get_logger().fatal(status.errors[0])
        self._diagnostics.publish([status], wait_s=1.0)

    def _publish_diagnostics(self) -> None:
        with self._camera_lock:
            if self._monitor is None:
                errors = (f"Not configured: {self._configure_error}",) if self._configure_error else ()
                statuses = [Status(diagnostic_keys.UNCONFIGURED, errors)]
            else:
                statuses = self._monitor.statuses(self._active and self._enabled)
        self._diagnostics.publish(statuses)
