"""Node process: the segmentation node that a harness starts, or finds running."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor

from erfnet_ros.core.system_info import version_of
from erfnet_ros.ros import diagnostic_keys as keys
from erfnet_ros.ros.harness.child_process import ProcessError, node_command
from erfnet_ros.ros.harness.output_recorder import NAMESPACE, OutputRecorder
from erfnet_ros.ros.harness.playback import Playback


@dataclass(frozen=True)
class NodeConfig:
    """The segmentation node: one that the harness starts, or one that is running already.

    Attributes:
        parameters: As `-p NAME:=VALUE` has them; None for a node that somebody else started.
        log: File for what the node writes.
    """

    parameters: Mapping[str, str | float] | None
    log: Path | None = None
    namespace: str = NAMESPACE

    def command(self, playback: Playback) -> list[str]:
        """Return the command that starts the node as the reader of `playback`."""
        image = "image/compressed" if playback.compressed else "image"
        command = [*node_command(), "--ros-args", "-r", f"{image}:={playback.topic}"]
        transport = {"image_transport": "compressed"} if playback.compressed else {}
        for name, value in {**(self.parameters or {}), **transport}.items():
            # JSON's strings are YAML's: the value stays a string, whatever it looks like.
            command += ["-p", f"{name}:={json.dumps(value)}"]
        return command


_TIMEOUT_S = 180.0
"""A node that is started at the same time loads its engine first."""

_ASK_AGAIN_S = 5.0
_NAMES = ("checkpoint", "input_size", "confidence_threshold", "image_transport")

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class RunningNode:
    """What a node runs.

    Attributes:
        topic: Where it takes its images from.
        checkpoint: Its weights' file; "" for the shipped ones.
        input_size: auto, or WIDTHxHEIGHT.
        threshold: Confidence below which pixels are void, 0..1.
        compressed: Whether it takes sensor_msgs/CompressedImage.
    """

    topic: str
    checkpoint: str
    input_size: str
    threshold: float
    compressed: bool


def ask_node(namespace: str) -> RunningNode:
    """Wait for the node, and ask it; `rclpy` must not be initialized.

    Raises:
        ProcessError: There is no such node, or it is not configured; says which.
    """
    rclpy.init(args=[])
    try:
        with OutputRecorder((), lambda arrival: None, namespace=namespace) as recorder:
            executor = SingleThreadedExecutor()
            executor.add_node(recorder)
            try:
                return _ask(recorder, executor, namespace)
            finally:
                executor.shutdown()
    finally:
        rclpy.try_shutdown()


def _ask(recorder: OutputRecorder, executor: SingleThreadedExecutor, namespace: str) -> RunningNode:
    deadline = time.monotonic() + _TIMEOUT_S

    def wait_for(find: Callable[[], _Found | None], patience_s: float = _TIMEOUT_S) -> _Found | None:
        end = min(deadline, time.monotonic() + patience_s)
        while (found := find()) is None and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
        return found

    topic = wait_for(lambda: _topic(recorder))
    if topic is None:
        status = recorder.diagnostics
        said = f"it says: {status.message}" if status is not None else "no diagnostics were received"
        raise ProcessError(
            f"Expected a configured segmentation node in {namespace} within {_TIMEOUT_S:g} s, but {said}; "
            "start it, and check --namespace and ROS_DOMAIN_ID."
        )
    service = recorder.create_client(GetParameters, f"{namespace}/segmenter/get_parameters")
    while time.monotonic() < deadline:
        if wait_for(lambda: service.service_is_ready() or None) is None:
            break
        # An answer is lost where its reader is not known yet.
        future = service.call_async(GetParameters.Request(names=list(_NAMES)))
        if wait_for(partial(_done, future), _ASK_AGAIN_S):
            return _read(topic, future.result().values)
    raise ProcessError(f"The node in {namespace} does not answer when it is asked for its parameters.")


def _done(future: Any) -> bool | None:
    return future.done() or None


def _topic(recorder: OutputRecorder) -> str | None:
    status = recorder.diagnostics
    values = recorder.diagnostic_values()
    if values.get(keys.STATE) in keys.UNUSABLE and status is not None and status.level == DiagnosticStatus.ERROR:
        raise ProcessError(f"The node is up, but: {status.message}")
    if cameras := values.get(keys.CAMERAS):
        raise ProcessError(
            f"Expected a node of one camera, got one of several ({cameras}); start another node for the "
            "evaluation, without the parameter cameras."
        )
    return values.get(keys.IMAGE_TOPIC)


def _read(topic: str, values: Any) -> RunningNode:
    checkpoint, size, threshold, transport = values
    compressed = transport.string_value == "compressed"
    return RunningNode(topic, checkpoint.string_value, size.string_value, threshold.double_value, compressed)


def ros_versions() -> dict[str, str]:
    """Return the versions that measurements over DDS depend on."""
    distribution = os.environ.get("ROS_DISTRO") or f"rclpy {version_of('ros-rclpy', 'rclpy') or 'of unknown version'}"
    return {"ros": distribution, "middleware": rclpy.get_rmw_implementation_identifier()}
