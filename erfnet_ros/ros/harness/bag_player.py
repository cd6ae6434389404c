"""Bag player: publishes the images of a rosbag, byte for byte, at the pace at which they were recorded.

Run it with `python -m erfnet_ros.ros.harness.bag_player BAG --topic /camera/image_raw --rate 0.5`. Its node is
/camera/bag_player; it publishes the topic under its own name, which ROS arguments remap as usual. An image whose stamp
was published before gets the next free nanosecond: masks are matched with their images by stamp.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from erfnet_ros.core.errors import BagError
from erfnet_ros.core.pipelining import Prefetcher
from erfnet_ros.core.rate import parse_rate
from erfnet_ros.data.bags.reader import BagReader, Message
from erfnet_ros.data.bags.topics import Topic, find_topic
from erfnet_ros.ros.harness.output_recorder import read_header, with_stamp
from erfnet_ros.ros.harness.playback import ImagePlayer, Log, player_parser, run_player

MODULE = "erfnet_ros.ros.harness.bag_player"

_IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")

_AHEAD_BYTES = 256 << 20
"""Memory for messages read ahead; the rest of the bag is read while it is played."""


class BagPlayer(ImagePlayer):
    """Player of one topic of an open bag."""

    def __init__(self, reader: BagReader, topic: Topic, options: argparse.Namespace) -> None:
        package, _, name = topic.type.split("/")
        message_type = getattr(importlib.import_module(f"{package}.msg"), name)
        super().__init__("bag_player", topic.name, message_type=message_type, length=topic.count, options=options)
        self._reader, self._topic, self._rate = reader, topic, options.rate
        self._stamps: set[int] = set()
        first = next(reader.messages([topic.name]), None)
        self._depth = max(1, _AHEAD_BYTES // len(first.data)) if first else 1

    def frames(self, indexes: Iterable[int], log: Log) -> Generator[tuple[int, float, Message], None, None]:
        """Yield index, seconds after the image before, and message; see `ImagePlayer`."""
        filled, last_ns = threading.Event(), None
        with Prefetcher(partial(self._read, frozenset(indexes), filled, log), self._depth) as messages:
            filled.wait()
            for index, message in messages:
                yield index, 0.0 if last_ns is None else (message.time_ns - last_ns) / 1e9 / self._rate, message
                last_ns = message.time_ns

    def stamp(self, content: Message) -> tuple[bytes, int]:
        """Return the bytes to publish, and their stamp, which no image before had."""
        data, stamp_ns = content.data, read_header(content.data)[0]
        if stamp_ns in self._stamps:
            while stamp_ns in self._stamps:
                stamp_ns += 1
            data = with_stamp(data, stamp_ns)
        self._stamps.add(stamp_ns)
        return data, stamp_ns

    def _read(self, indexes: frozenset[int], filled: threading.Event, log: Log) -> Iterator[tuple[int, Message]]:
        """Yield these messages; set `filled` when as many as may wait were taken, or none follows."""
        count = 0
        try:
            for index, message in enumerate(self._reader.messages([self._topic.name])):
                if count == len(indexes):
                    return
                if index not in indexes:
                    continue
                count += 1
                try:
                    # A subscriber fails on bytes that are no message.
                    self._reader.decode(message)
                except BagError as error:
                    log(index=index, broken=str(error))
                    continue
                if count > self._depth:
                    filled.set()
                yield index, message
        finally:
            filled.set()


def main(argv: Sequence[str] | None = None) -> int:
    """Play the bag; return the exit status."""
    # The thread that reads must not delay the one that publishes.
    sys.setswitchinterval(0.0005)
    parser = player_parser(MODULE, "Publish the images of a rosbag, byte for byte, at the pace of the recording.")
    parser.add_argument("bag", type=Path, help="rosbag2 folder, or a .mcap or .db3 file")
    parser.add_argument("--topic", help="of the images (default: the only one)")
    parser.add_argument("--rate", type=parse_rate, default=1.0, help="replay speed (default: 1, as recorded)")
    return run_player("bag_player", parser=parser, open_player=_open, argv=argv)


@contextmanager
def _open(options: argparse.Namespace) -> Iterator[BagPlayer]:
    with BagReader(options.bag) as reader:
        yield BagPlayer(reader, find_topic(reader, options.topic, types=_IMAGE_TYPES, what="image"), options)


if __name__ == "__main__":
    sys.exit(main())
