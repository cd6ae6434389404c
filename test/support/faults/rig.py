"""Fault rig: the real node under a restarting supervisor, a camera as its own process, and a check of every mask."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from support.faults.camera import JPEG, PICTURES, rgb_of
from support.live_node import Client, free_domain, ros_arguments

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.ros.harness.child_process import ChildProcess, child_environment
from erfnet_ros.ros.transport import profile_settings

_NODE = ("-m", "erfnet_ros.ros.node")
# A shell waits for what runs in its foreground before it acts on a signal.
_SUPERVISOR = (
    "bash",
    "-c",
    'trap "kill -INT \\$!; wait \\$!; exit" INT TERM; while :; do "$@" & wait $!; done',
    "supervisor",
)

_STEADY = 10
"""Masks in a row at the earlier pace by which the node is taken for recovered."""

_SLOWER = 3
"""A pace is the earlier one up to this factor: other programs share the machine's cores."""


_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Arrival:
    """A mask: when it came and its header's stamp, ns since the epoch."""

    at_ns: int
    stamp_ns: int


class Rig:
    """Everything that runs while a fault happens.

    Args:
        folder: Where the node writes; its samples lie in `samples`.
        parameters: Of the node.
        samples: Folder of the samples, below `folder`.
        command: Arguments of the Python that runs the node.
        prefix: Command in front of that Python, such as one that mounts a file system.
        cameras: Names of the node's cameras; empty for its only one.
        environment: Variables of the node and the camera.

    Attributes:
        wrong_headers: Masks that are not of the picture that their header names, or came twice.
        arrivals: The masks of each camera.
    """

    def __init__(
        self,
        folder: Path,
        parameters: Mapping[str, Any] | None = None,
        *,
        samples: str = "samples",
        command: Sequence[str] = _NODE,
        prefix: Sequence[str] = (),
        cameras: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self._cameras = tuple(cameras) or ("",)
        settings = {"engine": "pytorch", "device": "cpu", "sample_folder": str(folder / samples), **(parameters or {})}
        if cameras:
            settings["cameras"] = list(cameras)
        remap = {f"{name}/image".lstrip("/"): self._topic(name) for name in self._cameras}
        arguments = ros_arguments(settings, remap)
        local = {"ROS_DOMAIN_ID": str(free_domain()), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
        profile = profile_settings(Path(__file__).parents[3] / "config/fastdds.xml")
        self._environment = {**child_environment(), **profile, **local, "PYTHONPATH": path, **(environment or {})}
        self._command = [*_SUPERVISOR, *prefix, sys.executable, *command, *arguments]
        self._domain = int(local["ROS_DOMAIN_ID"])
        self._camera: ChildProcess | None = None
        self.arrivals: dict[str, list[Arrival]] = {name: [] for name in self._cameras}
        self.wrong_headers = 0

    def __enter__(self) -> Rig:
        with ExitStack() as stack:
            supervisor = ChildProcess(
                "node", self._command, environment=self._environment, log=self.folder / "node.log"
            )
            self._supervisor = stack.enter_context(supervisor)
            self.client = Client(self._domain)
            stack.callback(self.client.close)
            self._processes = stack.enter_context(ExitStack())
            for name in self._cameras:
                topic = f"/segmentation/{name}/mask".replace("//", "/")
                self.client.create_subscription(Image, topic, partial(self._receive, name), 10)
            self.start_camera()
            self.client.wait_for(lambda: len(self.masks()) > 2 * _STEADY, "the first masks", 180)
            first, *_, last = self.masks()[-_STEADY:]
            self._gap_ns = (last.at_ns - first.at_ns) / (_STEADY - 1)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def topics(self, *options: str) -> list[str]:
        """Return the topics of a camera's images, by its options."""
        return [self._topic(name) + "/compressed" * (JPEG in options) for name in self._cameras]

    def node(self) -> psutil.Process:
        """Return the node's process, which a supervisor may have to start first."""
        supervisor = psutil.Process(self._supervisor.pid)
        return self.client.wait_for(lambda: (supervisor.children(recursive=True) or [None])[-1], "the node's process")

    def start_camera(self, *options: str) -> None:
        """Start the camera, and kill the one that runs; `options` are those of `camera.main`."""
        self.kill_camera()
        given = {"--size": "320x240", "--encoding": "rgb8", **dict(zip(options[::2], options[1::2], strict=True))}
        for picture in range(PICTURES):
            # Beforehand: no mask must wait for it when it comes.
            _expected(picture, given["--size"], given["--encoding"])
        self._camera = self.start("camera", "-m", "support.faults.camera", *self.topics(*options), *options)

    def kill_camera(self) -> None:
        """Kill the camera as the kernel does where memory runs out."""
        if self._camera is not None:
            self._camera.stop([(signal.SIGKILL, 5.0)])
            self._camera = None

    def start(self, name: str, *arguments: str) -> ChildProcess:
        """Start a Python process in the node's domain."""
        process = ChildProcess(name, [sys.executable, *arguments], environment=self._environment)
        return self._processes.enter_context(process)

    def recovery_s(self, since_ns: int) -> float:
        """Wait for masks at the earlier pace; return how long after `since_ns` the first of them came.

        Infinite where they come, but slower for `_PATIENCE_S`: the machine may be busy. Fails where none come.
        """

        def recent() -> list[Arrival]:
            return [mask for mask in self.masks()[-_STEADY:] if mask.at_ns > since_ns]

        self.client.wait_for(lambda: len(recent()) == _STEADY, "masks")
        end_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end_s:
            first, *_, last = recent()
            if last.at_ns - first.at_ns <= _SLOWER * self._gap_ns * (_STEADY - 1):
                return (first.at_ns - since_ns) / 1e9
            self.client.spin_for(0.05)
        return math.inf

    def masks(self) -> list[Arrival]:
        """Return the masks of the camera that has the fewest; the list grows."""
        return min(self.arrivals.values(), key=len)

    def log(self) -> str:
        """Return what the node wrote."""
        return (self.folder / "node.log").read_text()

    def figure(self, key: str) -> int:
        """Return a number of the node's next diagnostics."""

        def values(status: Any) -> dict[str, str]:
            return {pair.key: pair.value for pair in status.values}

        return int(values(self.client.diagnosis(lambda status: key in values(status), key))[key])

    def save_sample(self) -> Any:
        """Ask the node for a sample; return its answer."""
        return self.client.call(Trigger, "save_sample", Trigger.Request())

    def half_written(self) -> int:
        """Return how many files of the node cannot be read whole."""
        # As the node sees them, which may have mounted something there.
        folder = Path(f"/proc/{self.node().pid}/root{self.folder}")
        return sum(not _is_whole(path) for path in folder.rglob("*.*") if path.is_file())

    @staticmethod
    def _topic(name: str) -> str:
        return f"/fault/{name}/image_raw".replace("//", "/")

    def _receive(self, name: str, mask: Image) -> None:
        named = mask.header.frame_id.split(":")
        if len(named) != 4:
            # Of a message that hypothesis made.
            return
        at_ns, seen = time.time_ns(), self.arrivals[name]
        stamp_ns = mask.header.stamp.sec * 1_000_000_000 + mask.header.stamp.nanosec
        is_new = stamp_ns == int(named[3]) and stamp_ns not in {earlier.stamp_ns for earlier in seen[-100:]}
        right = _expected(int(named[0]), *named[1:3])
        same = (mask.height, mask.width) == right.shape and bytes(mask.data) == right.tobytes()
        self.wrong_headers += not (is_new and same)
        seen.append(Arrival(at_ns, stamp_ns))


def _is_whole(path: Path) -> bool:
    content = path.read_bytes()
    if path.suffix == ".png":
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) is not None
    if path.suffix == ".json":
        return content.endswith(b"}\n")
    return path.suffix != ".partial"


@cache
def _segmenter() -> Segmenter:
    return Segmenter(engine="pytorch", device="cpu")


@cache
def _expected(picture: int, size: str, encoding: str) -> Pixels:
    """Return what the library says of a camera's picture."""
    return _segmenter()(rgb_of(picture, size, encoding)).labels
