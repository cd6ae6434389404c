"""The segmenter node: wires camera, segmenter and outputs together under a lifecycle."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from dataclasses import dataclass, replace
from typing import Any

import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.timer import Timer

from erfnet_ros.errors import ErfnetError, ParameterError
from erfnet_ros.images import contiguous_rgb
from erfnet_ros.ros.camera_input import CameraInput
from erfnet_ros.ros.declaration import Declaration
from erfnet_ros.ros.diagnostics import Diagnostics, Health, LogForwarder
from erfnet_ros.ros.image_messages import compressed_to_array, to_array
from erfnet_ros.ros.outputs import FrameReport, Outputs
from erfnet_ros.ros.parameters import Value
from erfnet_ros.ros.transport import keep_large_blocks, missing_profile
from erfnet_ros.segmenter import Segmenter
from erfnet_ros.sizes import parse_input_size

_WATCH_PERIOD_S = 0.2
"""How soon the node notices that listeners or cameras come and go."""

_COMPLAINT_PERIOD_S = 5.0
"""How often the same bad input is logged, and how long it stays in the diagnostics."""


@dataclass(frozen=True)
class Settings:
    """What may change while frames are running; replaced as a whole."""

    confidence_threshold: float
    overlay_alpha: float
    max_rate: float


@dataclass
class Counters:
    """Frames since activation."""

    processed: int = 0
    rejected: int = 0
    throttled: int = 0


class SegmenterNode(LifecycleNodeMixin, Node):
    """Subscribe to a camera, publish what the network sees.

    Configure loads the engine, activate subscribes (while somebody reads an output), deactivate lets go of the
    camera, cleanup
    frees the memory. One bad frame is counted and reported; one bad parameter leaves the node unconfigured and
    answering.
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

        self._segmenter: Segmenter | None = None
        self._outputs: Outputs | None = None
        self._camera: CameraInput | None = None
        self._active = False
        self._fault: str | None = None
        self._notes: tuple[str, ...] = ()
        self._frame_lock = threading.Lock()
        self._camera_lock = threading.Lock()
        self._counters = Counters()
        self._next_frame_s = 0.0
        self._complaint, self._complaint_s = "", -_COMPLAINT_PERIOD_S
        self._parameters_in_use = Declaration(self, lambda: self._segmenter is not None, self._change_settings)
        self._settings = self._read_settings()

        self._diagnostics = Diagnostics(self)
        self.create_timer(1.0, lambda: self._diagnostics.publish(self._health()), callback_group=self._watch_group)
        self.create_timer(_WATCH_PERIOD_S, self._watch, callback_group=self._watch_group)
        self._autostart: Timer | None = None
        if self._parameters_in_use.value("autostart"):
            self._autostart = self.create_timer(0.0, self._start, callback_group=self._lifecycle_group)

    # The lifecycle.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the engine; a bad parameter leaves the node unconfigured, with the reason in log and diagnostics."""
        parameters = self._parameters_in_use
        try:
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
        except ErfnetError as error:
            return self._refuse(str(error))
        except Exception as error:
            # rclpy swallows what a transition raises; a user would see a node that fails and says nothing.
            self.get_logger().error(traceback.format_exc())
            return self._refuse(f"Internal error, {type(error).__name__}: {error}; please report it with the log.")
        self._fault = None
        self._settings = self._read_settings()
        self._outputs = outputs
        self._camera = CameraInput(self, parameters.text("image_transport"), self._image_group, self._receive)
        self._segmenter = segmenter
        self._notes = self._collect_notes(segmenter, self._outputs)
        engine = segmenter.engine
        self.get_logger().info(
            f"Configured: {engine.name} on {engine.device} in {engine.precision}, "
            f"{len(segmenter.class_set)} classes ({segmenter.class_set.name})."
        )
        for note in self._notes:
            self.get_logger().warning(note)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to follow the listeners."""
        result = super().on_activate(state)
        self._counters = Counters()
        self._next_frame_s = 0.0
        if self._outputs is not None and self._camera is not None:
            self._camera.dropped = 0
            self._outputs.publish_label_info(self._settings.confidence_threshold)
            self.get_logger().info(f"Active: images from {self._camera.topic} while somebody reads an output.")
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

    def _release_camera(self) -> None:
        self._active = False
        with self._frame_lock, self._camera_lock:
            if self._camera is not None:
                self._camera.close()

    def _release(self) -> None:
        self._release_camera()
        if self._outputs is not None:
            self._outputs.close()
        if self._segmenter is not None:
            self._segmenter.close()
        self._outputs, self._segmenter, self._camera, self._notes = None, None, None, ()

    # The way of a frame.

    def _watch(self) -> None:
        """Subscribe while somebody reads an output."""
        with self._camera_lock:
            if self._active and self._camera is not None and self._outputs is not None:
                wanted = self._outputs.wanted()
                self._camera.update(bool(wanted), "camera_info" in wanted)

    def _receive(self, message: Any) -> None:
        start = time.perf_counter()
        with self._frame_lock:
            if not self._active or self._segmenter is None or self._outputs is None or self._camera is None:
                return
            if not self._due(start):
                self._counters.throttled += 1
                return
            try:
                self._process(message, start, self._segmenter, self._outputs, self._camera)
            except ErfnetError as error:
                self._reject(str(error))
            except Exception as error:
                # Whatever one frame does, the next one is served; an unexpected error is shown with its type.
                self._reject(f"Frame dropped by an internal error, {type(error).__name__}: {error}; please report it.")

    def _process(self, message: Any, start: float, segmenter: Segmenter, outputs: Outputs, camera: CameraInput) -> None:
        wanted = outputs.wanted()
        settings = self._settings
        image = compressed_to_array(message) if hasattr(message, "format") else to_array(message)
        rgb = contiguous_rgb(image)
        preprocess_ms = 1e3 * (time.perf_counter() - start)
        segmentation = segmenter(rgb)
        mask = segmentation.mask(settings.confidence_threshold)
        self._counters.processed += 1
        report = FrameReport(
            start, preprocess_ms, self._counters.processed, self._dropped(camera), self._counters.rejected
        )
        outputs.publish(
            wanted, message.header, rgb, segmentation, mask, settings.overlay_alpha, camera.newest_info, report
        )

    def _due(self, now_s: float) -> bool:
        """Whether `max_rate` lets a frame pass now."""
        rate = self._settings.max_rate
        if rate <= 0:
            return True
        if now_s < self._next_frame_s:
            return False
        # Counted on from the planned time, so that the mean rate is kept although frames do not come exactly then.
        self._next_frame_s = max(self._next_frame_s + 1 / rate, now_s)
        return True

    def _reject(self, reason: str) -> None:
        self._counters.rejected += 1
        now = time.monotonic()
        if reason != self._complaint or now - self._complaint_s >= _COMPLAINT_PERIOD_S:
            self.get_logger().error(f"Frame rejected ({self._counters.rejected} so far): {reason}")
            self._complaint_s = now
        self._complaint = reason

    def _dropped(self, camera: CameraInput) -> int:
        return camera.dropped + self._counters.throttled

    # Parameters and diagnostics.

    def _read_settings(self) -> Settings:
        number = self._parameters_in_use.number
        return Settings(number("confidence_threshold"), number("overlay_alpha"), number("max_rate"))

    def _change_settings(self, changes: dict[str, Value]) -> None:
        self._settings = replace(self._settings, **{name: float(value) for name, value in changes.items()})
        if "confidence_threshold" in changes and self._outputs is not None and self._active:
            self._outputs.publish_label_info(self._settings.confidence_threshold)

    def _collect_notes(self, segmenter: Segmenter, outputs: Outputs) -> tuple[str, ...]:
        """What is worse than it could be, said once in the log and kept in the diagnostics."""
        notes = list(segmenter.engine.notes)
        profile = missing_profile(rclpy.get_rmw_implementation_identifier())
        if profile is not None:
            notes.append(profile)
        if not outputs.names_labels:
            notes.append(
                "label_info is not published: vision_msgs is not installed (apt: ros-$ROS_DISTRO-vision-msgs)."
            )
        for name in self._parameters_in_use.unknown:
            notes.append(f"Parameter '{name}' was set but this node has none of that name; see ros2 param list.")
        return tuple(notes)

    def _health(self) -> Health:
        segmenter, camera = self._segmenter, self._camera
        if segmenter is None or camera is None:
            errors = (f"Not configured: {self._fault}",) if self._fault else ()
            return Health("unconfigured", errors)
        warnings = list(self._notes)
        with self._camera_lock:
            if self._active and (complaint := camera.complaint()):
                warnings.insert(0, complaint)
        if time.monotonic() - self._complaint_s < 2 * _COMPLAINT_PERIOD_S:
            warnings.insert(0, f"Frames are rejected: {self._complaint}")
        figures = {
            "engine": segmenter.engine.name,
            "device": segmenter.engine.device,
            "precision": segmenter.engine.precision,
            "classes": segmenter.class_set.name,
            "image topic": camera.topic,
            "subscribed": camera.subscribed,
            "frames processed": self._counters.processed,
            "frames dropped": self._dropped(camera),
            "frames rejected": self._counters.rejected,
        }
        state = "inactive"
        if self._active:
            state = "segmenting" if camera.subscribed else "waiting: nobody reads an output"
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
    executor = MultiThreadedExecutor(num_threads=4)
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
