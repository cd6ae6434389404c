"""`erfnet view --live`: shows the outputs of a running segmentation node in the Rerun viewer."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from erfnet_ros.commands.view import add_output_options, open_output
from erfnet_ros.core.class_set import ClassSet, named
from erfnet_ros.core.errors import ErfnetError, ParameterError
from erfnet_ros.core.image import to_array
from erfnet_ros.msg import SegmentationStatistics
from erfnet_ros.ros.node.image_conversion import to_rgb
from erfnet_ros.ros.transport import keep_large_blocks
from erfnet_ros.visualization.rerun_recording import RerunRecording

_SILENCE_S = 10.0
"""Without a mask for so long, the user learns what is missing."""


def main(arguments: Sequence[str]) -> int:
    """Show a running node's outputs until Ctrl-C or for `--seconds`; return 0, or 1 where no mask came.

    Raises:
        ErfnetError: The class set or the output cannot be used, or the node's classes are others.
    """
    options = _parser().parse_args(arguments)
    class_set = named(options.classes)
    keep_large_blocks()
    with ExitStack() as stack:
        recording = stack.enter_context(RerunRecording(class_set, with_ground_truth=False))
        open_output(options, recording, stack)
        rclpy.init(args=[])
        stack.callback(rclpy.try_shutdown)
        viewer = _Viewer(recording, class_set, image_topic=options.image_topic, namespace=options.namespace)
        stack.callback(viewer.destroy_node)
        try:
            viewer.spin(options.seconds)
        except (KeyboardInterrupt, ExternalShutdownException):
            print()
    print(f"{viewer.masks} masks shown" + (f" in {options.out}" if options.out else ""))
    return 0 if viewer.masks else 1


class _Viewer(Node):
    """Subscribes to a camera and a node's outputs, and logs each message at the moment of its stamp."""

    def __init__(self, recording: RerunRecording, class_set: ClassSet, *, image_topic: str, namespace: str) -> None:
        super().__init__("view", namespace=namespace)
        self.masks = 0
        self._recording, self._class_set = recording, class_set
        self._failure: ErfnetError | None = None
        self._image_topic = image_topic
        self._listen(Image, image_topic, lambda message: recording.log_image(to_rgb(message)))
        self._listen(Image, "mask", self._log_mask)
        self._listen(Image, "confidence", lambda message: recording.log_confidence(to_array(message)[..., 0]))
        self._listen(SegmentationStatistics, "statistics", self._log_statistics)

    def spin(self, seconds: float | None) -> None:
        """Log what comes for so many seconds, or until an interrupt."""
        start_s = time.monotonic()
        warned = False
        while self._failure is None and (seconds is None or time.monotonic() - start_s < seconds):
            rclpy.spin_once(self, timeout_sec=0.2)
            if not warned and not self.masks and time.monotonic() - start_s > _SILENCE_S:
                warned = True
                self.get_logger().warning(
                    f"No mask on {self.resolve_topic_name('mask')} for {_SILENCE_S:g} s; see whether the node is "
                    f"active and {self.resolve_topic_name(self._image_topic)} is its camera (--namespace, "
                    "--image-topic)."
                )
        if self._failure is not None:
            raise self._failure

    def _listen(self, message_type: type, topic: str, log: Callable[[Any], None]) -> None:
        def receive(message: Any) -> None:
            stamp = message.header.stamp
            self._recording.set_frame(stamp_ns=stamp.sec * 1_000_000_000 + stamp.nanosec)
            try:
                log(message)
            except ErfnetError as error:
                self._recording.log_fault(f"{topic}: {error}")

        self.create_subscription(message_type, topic, receive, qos_profile_sensor_data)

    def _log_mask(self, message: Image) -> None:
        self._recording.log_mask(to_array(message)[..., 0])
        self.masks += 1

    def _log_statistics(self, message: SegmentationStatistics) -> None:
        if tuple(message.class_names) != self._class_set.names:
            self._failure = ParameterError(
                f"Expected the node to have the classes of '{self._class_set.name}', got "
                f"{', '.join(message.class_names)}; name its checkpoint or class set with --classes."
            )
            return
        self._recording.log_latencies(
            {"node": message.total_ms, "inference": message.inference_ms, "age": message.age_ms}
        )
        self._recording.log_shares(dict(zip(message.class_names, message.shares, strict=True)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="erfnet view --live", description="Show the outputs of a running segmentation node in a browser or a file."
    )
    add_output_options(parser)
    parser.add_argument("--image-topic", default="/camera/image_raw", metavar="T", help="camera (%(default)s)")
    parser.add_argument("--namespace", default="/segmentation", help="of the node (default: %(default)s)")
    parser.add_argument(
        "--classes", default="camvid", metavar="SET", help="camvid, cityscapes, a YAML file or the node's checkpoint"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="end after so long (default: at Ctrl-C)")
    return parser
