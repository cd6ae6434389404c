"""Image players: the program that camera and bag player share, and the process by which the harness drives it.

A player reads lists of frame indexes, one JSON line each, from standard input. It writes a JSON line when it is ready,
for each image that it publishes, and when a list is played.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from erfnet_ros.core.errors import ErfnetError
from erfnet_ros.ros.harness.child_process import ChildProcess, ProcessError, exit_on_signals
from erfnet_ros.ros.transport import keep_large_blocks

_WAIT_S = 30.0
"""How long a player waits for its first subscriber."""

Log = Callable[..., None]


@dataclass(frozen=True)
class Sent:
    """An image that was published.

    Attributes:
        stamp_ns: In its header, ns; no other image of the same player has it.
        published_ns: When it was handed to the middleware, ns since the epoch.
        publish_ms: Processor time that this took, milliseconds.
    """

    index: int
    stamp_ns: int
    published_ns: int
    publish_ms: float


@dataclass(frozen=True)
class Played:
    """Number of frames that were published, and the rate that was reached; 0 with fewer than two frames."""

    published: int
    rate_hz: float


class ImagePlayer(Node, ABC):
    """Publisher of `length` images at a given pace, with the `options` of `player_parser`."""

    def __init__(self, name: str, topic: str, *, message_type: Any, length: int, options: argparse.Namespace) -> None:
        super().__init__(name, namespace="/camera")
        self.length = length
        # As a camera driver does: an image that was not taken is replaced by the next.
        reliability = ReliabilityPolicy[options.reliability.upper()]
        self._profile = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=reliability)
        self._images: Publisher = self.create_publisher(message_type, topic, self._profile)
        self._wait_s: float = options.wait

    @abstractmethod
    def frames(self, indexes: Iterable[int], log: Log) -> Generator[tuple[int, float, Any], None, None]:
        """Yield index, seconds after the frame before, and content of each frame; log those that are left out."""

    @abstractmethod
    def stamp(self, content: Any) -> tuple[Any, int]:
        """Return the message to publish now, and the stamp (ns) in its header."""

    def publish(self, message: Any) -> None:
        """Publish an image."""
        self._images.publish(message)

    def play(self, indexes: Iterable[int], log: Log) -> Played:
        """Publish frames at their pace; a frame that is late is sent at once and delays those behind it."""
        if self._wait_s:
            self._wait_for_subscriber()
        first_s = last_s = due_s = time.monotonic()
        published = 0
        with closing(self.frames(indexes, log)) as frames:
            for index, gap_s, content in frames:
                due_s = max(due_s + gap_s if published else 0.0, time.monotonic())
                time.sleep(max(0.0, due_s - time.monotonic()))
                last_s = time.monotonic()
                first_s = last_s if not published else first_s
                message, stamp_ns = self.stamp(content)
                # Of this thread alone: others begin to work on the image before the call returns.
                before_ns, at_ns = time.thread_time_ns(), time.time_ns()
                self.publish(message)
                publish_ms = (time.thread_time_ns() - before_ns) / 1e6
                log(**asdict(Sent(index, stamp_ns, at_ns, publish_ms)))
                published += 1
        return Played(published, (published - 1) / (last_s - first_s) if published > 1 and last_s > first_s else 0.0)

    def _wait_for_subscriber(self) -> None:
        deadline = time.monotonic() + self._wait_s
        while not self._images.get_subscription_count():
            if time.monotonic() > deadline:
                raise ProcessError(
                    f"Expected a subscriber of {self._images.topic_name} within {self._wait_s:g} s, got none; "
                    "start the node, remap its image to this topic, and subscribe to one of its outputs."
                )
            time.sleep(0.02)


def player_parser(module: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the options that every player has."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--reliability", choices=("reliable", "best_effort"), default="reliable", help="of the images")
    parser.add_argument("--wait", type=float, default=0.0, metavar="S", help="wait up to S seconds for a subscriber")
    parser.add_argument(
        "--on-request", action="store_true", help="read lists of frame indexes from standard input, log JSON lines"
    )
    parser.set_defaults(loop=False)
    return parser


def run_player(
    name: str,
    *,
    parser: argparse.ArgumentParser,
    open_player: Callable[[argparse.Namespace], AbstractContextManager[ImagePlayer]],
    argv: Sequence[str] | None,
) -> int:
    """Run a player until its frames are played, or standard input ends; return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    keep_large_blocks()
    exit_on_signals()
    # Started in the background, a process inherits that it ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    try:
        options = parser.parse_args(remove_ros_args([name, *arguments])[1:])
        with open_player(options) as player:
            if options.on_request:
                _play_on_request(player)
            else:
                _play_once(name, player, options.loop)
    except ErfnetError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        rclpy.try_shutdown()
    return 0


def _play_once(name: str, player: ImagePlayer, loop: bool) -> None:
    def log(**fields: object) -> None:
        if "broken" in fields:
            print(f"{name}: left out frame {fields['index']}: {fields['broken']}", file=sys.stderr)

    indexes = range(player.length)
    played = player.play(itertools.cycle(indexes) if loop else indexes, log)
    print(f"Published {played.published} frames at {played.rate_hz:.2f} Hz.")


def _play_on_request(player: ImagePlayer) -> None:
    def log(**fields: object) -> None:
        # One write a line: a thread that reads ahead writes too.
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()

    log(ready=player.length)
    for line in sys.stdin:
        log(**asdict(player.play(json.loads(line), log)))


@dataclass(frozen=True)
class Playback:
    """Which player to start, and what it publishes.

    Attributes:
        name: For messages.
        module: Python module of the player.
        compressed: Whether they are sensor_msgs/CompressedImage.
        frame_id: Frame id in every header; None where each image has its own.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    topic: str
    compressed: bool = False
    frame_id: str | None = None


class PlayerProcess(ChildProcess):
    """A player in a process of its own, which plays frames on request.

    Args:
        on_sent: Called on a thread with each image that was published.
        environment: See `ChildProcess`.

    Attributes:
        length: Number of frames; None until the player is ready.
        played: Result of the last request; None while it is being played.
        broken: Frames that are never published, with the reason.
    """

    def __init__(
        self, playback: Playback, on_sent: Callable[[Sent], None], environment: Mapping[str, str] | None = None
    ) -> None:
        self._on_sent = on_sent
        self.length: int | None = None
        self.played: Played | None = None
        self.broken: dict[int, str] = {}
        command = [sys.executable, "-m", playback.module, "--on-request", "--wait", f"{_WAIT_S:g}", *playback.arguments]
        super().__init__(playback.name, command, environment=environment, on_line=self._read_log)

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
