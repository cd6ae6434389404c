"""Play the images of a bag over DDS, serialized as they lie there, at the pace at which they were recorded.

Run it with `python -m erfnet_ros.ros.harness.bag_player BAG --topic /camera/image_raw --rate 0.5`. It is called
bag_player, in the namespace /replay, and publishes the topic under its own name, which ROS arguments remap as usual.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from erfnet_ros.core.errors import ErfnetError, ParameterError
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.data.bags.topics import find_topic
from erfnet_ros.ros.harness.child_process import exit_on_signals
from erfnet_ros.ros.harness.message_fields import read_header
from erfnet_ros.ros.harness.playback import Played, Sent, wait_for_reader
from erfnet_ros.ros.harness.prefetch import Ahead, OnBroken
from erfnet_ros.ros.transport import keep_large_blocks

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")

AHEAD_BYTES = 256 << 20
"""Memory for messages read ahead; the rest of the bag is read while it is played."""

MAX_RATE = 1000.0

OnSent = Callable[[Sent], None]


class BagPlayer(Node):
    """Publish the messages of one topic.

    Args:
        message_type: Such as "sensor_msgs/msg/Image".
        topic: Name to publish under.
        reliability: Of the publisher.
    """

    def __init__(self, message_type: str, topic: str, reliability: ReliabilityPolicy) -> None:
        super().__init__("bag_player", namespace="/replay")
        # As a camera's driver does: an image that was not taken gives way to the next.
        profile = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=reliability)
        self._publisher = self.create_publisher(_message_class(message_type), topic, profile)

    def wait_for_subscriber(self, timeout_s: float) -> None:
        """Wait until somebody reads the topic; see `wait_for_reader`."""
        wait_for_reader(self._publisher, timeout_s)

    def play(self, messages: Ahead, rate: float, on_sent: OnSent) -> Played:
        """Publish messages, their bytes as they are, at the pace of the bag's time.

        Args:
            messages: In the order of publication.
            rate: Replay speed, 1.0 being the bag's own; a message that is late is sent at once and delays those behind.
            on_sent: Called with a `Sent` right after a message was published.
        """
        first_s = last_s = due_s = time.monotonic()
        published, last_bag_ns = 0, None
        for index, message in messages:
            gap_s = 0.0 if last_bag_ns is None else (message.time_ns - last_bag_ns) / 1e9 / rate
            last_bag_ns = message.time_ns
            due_s = max(due_s + gap_s, time.monotonic())
            time.sleep(max(0.0, due_s - time.monotonic()))
            last_s = time.monotonic()
            first_s = last_s if not published else first_s
            # Of this thread: by the clock it would hold what others do once they have the image.
            before_ns, at_ns = time.thread_time_ns(), time.time_ns()
            self._publisher.publish(message.data)
            taken_ms = (time.thread_time_ns() - before_ns) / 1e6
            on_sent(Sent(index, read_header(message.data)[0], at_ns, taken_ms))
            published += 1
        return Played(published, (published - 1) / (last_s - first_s) if published > 1 and last_s > first_s else 0.0)


def main(argv: Sequence[str] | None = None) -> int:
    """Play until the bag is over; return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(remove_ros_args(["bag_player", *arguments])[1:])
    keep_large_blocks()
    exit_on_signals()
    # Started in the background, a process inherits that it ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The thread that reads must not hold up the one that is due.
    sys.setswitchinterval(0.0005)
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    try:
        with BagReader(options.bag) as reader:
            topic = find_topic(reader, options.topic, IMAGE_TYPES, "image")
            player = BagPlayer(topic.type, topic.name, ReliabilityPolicy[options.reliability.upper()])
            indexes = range(topic.count)
            if options.on_request:
                _play_on_request(player, reader, topic.name, len(indexes), options)
            else:
                played = _play(player, reader, topic.name, indexes, options, lambda sent: None, _complain)
                print(f"Published {played.published} messages at {played.rate_hz:.2f} Hz.")
    except ErfnetError as error:
        print(f"bag_player: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        rclpy.try_shutdown()
    return 0


def _play(
    player: BagPlayer,
    reader: BagReader,
    topic: str,
    indexes: Sequence[int],
    options: argparse.Namespace,
    on_sent: OnSent,
    on_broken: OnBroken,
) -> Played:
    messages = Ahead(reader, topic, indexes, AHEAD_BYTES, on_broken)
    try:
        if options.wait:
            player.wait_for_subscriber(options.wait)
        messages.wait_until_filled()
        return player.play(messages, options.rate, on_sent)
    finally:
        messages.stop()


def _play_on_request(
    player: BagPlayer, reader: BagReader, topic: str, length: int, options: argparse.Namespace
) -> None:
    """Play each list of indexes that comes in as a line of JSON, and log every message as a line of JSON."""

    def log(**fields: object) -> None:
        # One write a line: the reading thread writes too.
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()

    def on_sent(sent: Sent) -> None:
        log(**asdict(sent))

    def on_broken(index: int, reason: str) -> None:
        log(index=index, broken=reason)

    log(ready=length)
    for line in sys.stdin:
        log(**asdict(_play(player, reader, topic, json.loads(line), options, on_sent, on_broken)))


def _complain(index: int, reason: str) -> None:
    print(f"bag_player: left out message {index}: {reason}", file=sys.stderr)


def _message_class(message_type: str) -> Any:
    package, _, name = message_type.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), name)


def replay_rate(text: str) -> float:
    """Read a replay speed.

    Raises:
        ParameterError: Not a number above 0 and up to 1000.
    """
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= MAX_RATE:
        raise ParameterError(
            f"Expected a replay speed above 0 and up to {MAX_RATE:g} as --rate (1 is the bag's own), got '{text}'."
        )
    return rate


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m erfnet_ros.ros.harness.bag_player",
        description="Play the images of a bag, serialized as they lie there.",
    )
    parser.add_argument("bag", type=Path, help="rosbag2 folder, or a .mcap or .db3 file")
    parser.add_argument("--topic", help="of the images (default: the only one that there is)")
    parser.add_argument("--rate", type=replay_rate, default=1.0, help="replay speed, 1 being the bag's own")
    parser.add_argument("--reliability", choices=("reliable", "best_effort"), default="reliable", help="of the images")
    parser.add_argument(
        "--wait", type=float, default=0.0, help="wait this many seconds for a subscriber; 0: do not wait"
    )
    parser.add_argument(
        "--on-request", action="store_true", help="read lists of indexes from standard input, log JSON lines"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
