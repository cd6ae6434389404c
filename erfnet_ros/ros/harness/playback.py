"""Programs that play images when they are told to, each a process of its own: the camera, and a bag's player.

They read lists of frame indexes from standard input, and write a line of JSON when they are ready, for each image that
they publish, and when a list is played.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rclpy.publisher import Publisher

from erfnet_ros.ros.harness.child_process import ChildProcess, ProcessError

WAIT_S = 30.0
"""Patience of a player with its first subscriber."""


@dataclass(frozen=True)
class Sent:
    """An image that was published.

    Attributes:
        index: Of the frame.
        stamp_ns: In its header, ns.
        published_ns: When it was handed to the middleware, ns since the epoch.
        publish_ms: Processor time that this took, milliseconds; None where it was not measured.
    """

    index: int
    stamp_ns: int
    published_ns: int
    publish_ms: float | None = None


@dataclass(frozen=True)
class Played:
    """What a pass over some frames came to.

    Attributes:
        published: Number of frames.
        rate_hz: Rate that was reached; 0 with fewer than two frames.
    """

    published: int
    rate_hz: float


def wait_for_reader(images: Publisher, timeout_s: float) -> None:
    """Wait until somebody subscribes to the images.

    Raises:
        ProcessError: Nobody does within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while not images.get_subscription_count():
        if time.monotonic() > deadline:
            raise ProcessError(
                f"Expected a subscriber of {images.topic_name} within {timeout_s:g} s, got none; "
                "start the node, remap its image to this topic, and read one of its outputs."
            )
        time.sleep(0.02)


@dataclass(frozen=True)
class Playback:
    """How a player is started, and what it publishes.

    Attributes:
        name: What to call it in messages.
        module: Its Python module.
        arguments: Its command line.
        topic: Where its images appear.
        compressed: Whether they are sensor_msgs/CompressedImage.
        frame_id: Frame id in every header; None where each has its own.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    topic: str
    compressed: bool = False
    frame_id: str | None = None


class PlayerProcess(ChildProcess):
    """A player that plays frames when told.

    Args:
        playback: Which.
        on_sent: Called on a thread with each image that was published.
        environment: See `ChildProcess`.

    Attributes:
        length: Number of frames; None until it is ready.
        played: What the last list came to; None while it is being played.
        broken: Frames that are never published, with the reason.
    """

    def __init__(
        self, playback: Playback, on_sent: Callable[[Sent], None], environment: Mapping[str, str] | None = None
    ) -> None:
        self._on_sent = on_sent
        self.length: int | None = None
        self.played: Played | None = None
        self.broken: dict[int, str] = {}
        command = [sys.executable, "-m", playback.module, "--on-request", "--wait", f"{WAIT_S:g}", *playback.arguments]
        super().__init__(playback.name, command, environment, self._read_log)

    def request(self, indexes: Sequence[int]) -> None:
        """Ask for these frames; `played` is None until they are published."""
        self.played = None
        self.send(json.dumps(list(indexes)))

    def _read_log(self, line: str) -> None:
        if not line.startswith("{"):
            return
        entry = json.loads(line)
        if "published_ns" in entry:
            self._on_sent(Sent(**entry))
        elif "broken" in entry:
            self.broken[entry["index"]] = entry["broken"]
        elif "ready" in entry:
            self.length = entry["ready"]
        else:
            self.played = Played(**entry)
