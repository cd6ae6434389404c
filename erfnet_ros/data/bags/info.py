"""Description of a bag: topics, counts, rates, gaps, and what is damaged."""

from __future__ import annotations

from array import array
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from erfnet_ros.core.errors import BagError, ImageError
from erfnet_ros.core.image_decoding import can_be_decoded, compressed_to_array
from erfnet_ros.core.printable_text import printable
from erfnet_ros.core.progress import tracked
from erfnet_ros.data.bags.message_types import COMPRESSED_IMAGE, IMAGE
from erfnet_ros.data.bags.reader import BagReader, Message
from erfnet_ros.data.bags.topics import Topic

_LONGEST_LINE = 1000
"""Characters of a line of text, into which a bag brings names of its own."""

_END_BYTES = 64
"""Cameras pad what they send: the end of a JPEG or PNG is looked for in so many bytes."""


@dataclass(frozen=True)
class TopicInfo:
    """Counts, times and content of a topic.

    Attributes:
        clock: "stamp" where times are those of the headers, "bag" where they are those of the recording.
        rate_hz: Messages per second between the first and the last; None for fewer than two, or without time between.
        largest_gap_s: The longest time between two messages that follow each other; None for fewer than two.
        gap_at_s: Where it begins, seconds after the topic's first message.
        out_of_order: Messages stamped earlier than the one recorded before.
        unstamped: Messages with a stamp of zero.
        unreadable: Images that cannot be decoded, and messages shorter than their header.
        image: Size and encoding of the first image that can be read, such as "480x360 rgb8"; None for other types.
    """

    name: str
    type: str
    count: int
    clock: str
    rate_hz: float | None
    largest_gap_s: float | None
    gap_at_s: float | None
    out_of_order: int
    unstamped: int
    unreadable: int
    image: str | None


@dataclass(frozen=True)
class BagInfo:
    """Content and condition of a bag.

    Attributes:
        storage: "mcap" or "sqlite3".
        compression: "none", or how in words.
        size_bytes: Of its storage files.
        start_ns: Time of its first message, nanoseconds; 0 without messages.
        end_ns: Time of its last message.
        faults: What of it is lost or cannot be used, in words.
        notes: What is unusual about it, in words.
    """

    path: str
    storage: str
    compression: str
    size_bytes: int
    start_ns: int
    end_ns: int
    topics: tuple[TopicInfo, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it in plain lists and numbers, with count and duration."""
        messages = sum(topic.count for topic in self.topics)
        return {**asdict(self), "messages": messages, "duration_s": self.duration_s}

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last message."""
        return (self.end_ns - self.start_ns) / 1e9

    def lines(self) -> list[str]:
        """Return it as text: one line for the bag, each topic, each fault and each note."""
        messages = sum(topic.count for topic in self.topics)
        when = datetime.fromtimestamp(self.start_ns / 1e9, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
        head = f"{self.path}: {self.storage}, compression {self.compression}, {self.size_bytes / 1e6:.1f} MB; "
        head += f"{messages} messages in {self.duration_s:.3f} s from {when}" if messages else "no messages"
        rows = [_row(topic) for topic in self.topics]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
        body = [
            f"  {name:<{widths[0]}}  {kind:<{widths[1]}}  {count:>{widths[2]}}  {rest}".rstrip()
            for name, kind, count, rest in rows
        ]
        remarks = (*(f"  ! {fault}" for fault in self.faults), *(f"  - {note}" for note in self.notes))
        return [printable(line, _LONGEST_LINE) for line in (head, *body, *remarks)]


def inspect(path: Path | str) -> BagInfo:
    """Read a bag once, and return what is in it."""
    with BagReader(path) as reader:
        accumulators = {topic.name: _TopicAccumulator(topic) for topic in reader.topics.values()}
        total = sum(topic.count for topic in reader.topics.values())
        for message in tracked(reader.messages(), total, f"Reading {Path(path).name}"):
            accumulators[message.topic].add(reader, message)
        topics = tuple(accumulator.info() for accumulator in accumulators.values())
        return BagInfo(
            str(path),
            reader.storage,
            reader.compression,
            reader.size_bytes,
            reader.start_ns,
            reader.end_ns,
            topics,
            (*reader.faults, *(fault for topic in topics for fault in _faults(topic))),
            (*reader.notes, *(note for topic in topics if not _is_image(topic) for note in _odd_stamps(topic))),
        )


@dataclass
class _TopicAccumulator:
    """A topic's counts while its messages are read."""

    topic: Topic
    count: int = 0
    unstamped: int = 0
    unreadable: int = 0
    image: str | None = None
    stamps_ns: array[int] = field(default_factory=lambda: array("q"))
    times_ns: array[int] = field(default_factory=lambda: array("q"))

    def add(self, reader: BagReader, message: Message) -> None:
        self.count += 1
        self.times_ns.append(message.time_ns)
        stamp_ns = reader.stamp_ns(message)
        if stamp_ns is None:
            self.unreadable += reader.has_header(message.type)
        elif stamp_ns == 0:
            self.unstamped += 1
        else:
            self.stamps_ns.append(stamp_ns)
        if _is_image(message) and stamp_ns is not None:
            self._check_image(reader, message)

    def info(self) -> TopicInfo:
        times_ns = np.array(self.stamps_ns or self.times_ns, np.int64)
        latest_ns = np.maximum.accumulate(times_ns)
        span_ns = int(np.ptp(times_ns)) if self.count else 0
        # From the latest so far: one early stamp must not look like a gap after it.
        gaps_ns = times_ns[1:] - latest_ns[:-1]
        widest = int(gaps_ns.argmax()) if len(gaps_ns) else None
        return TopicInfo(
            name=self.topic.name,
            type=self.topic.type,
            count=self.count,
            clock="stamp" if self.stamps_ns else "bag",
            rate_hz=(len(times_ns) - 1) * 1e9 / span_ns if span_ns else None,
            largest_gap_s=None if widest is None else max(0, int(gaps_ns[widest])) / 1e9,
            gap_at_s=None if widest is None else int(latest_ns[widest] - times_ns.min()) / 1e9,
            out_of_order=int((np.diff(times_ns) < 0).sum()),
            unstamped=self.unstamped,
            unreadable=self.unreadable,
            image=self.image,
        )

    def _check_image(self, reader: BagReader, message: Message) -> None:
        """Check that an image can be read, and describe the first one."""
        try:
            image = reader.decode(message)
            if message.type == IMAGE:
                if len(image.data) < image.step * image.height:
                    raise ImageError(f"{len(image.data)} bytes are too few for {image.height} rows of {image.step}")
                self.image = self.image or f"{image.width}x{image.height} {image.encoding}"
            elif not can_be_decoded(image.format):
                self.image = image.format
            elif not _whole(bytes(image.data[:8]), bytes(image.data[-_END_BYTES:])):
                raise ImageError("a JPEG or PNG that is cut off")
            elif self.image is None:
                height, width = compressed_to_array(image).shape[:2]
                self.image = f"{width}x{height} {image.format}"
        except (BagError, ImageError):
            self.unreadable += 1


def _whole(begin: bytes, end: bytes) -> bool:
    """Return whether a compressed image is there to its end; to decode each would take minutes."""
    if begin.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in end
    if begin.startswith(b"\x89PNG"):
        return b"IEND" in end
    return bool(begin)


def _row(topic: TopicInfo) -> tuple[str, str, str, str]:
    parts = []
    if topic.rate_hz is not None:
        parts.append(f"{topic.rate_hz:.2f} Hz")
    if topic.largest_gap_s is not None:
        parts.append(f"largest gap {topic.largest_gap_s:.3f} s at {topic.gap_at_s:.3f} s")
    if topic.image is not None:
        parts.append(topic.image)
    return topic.name, topic.type, str(topic.count), ", ".join(parts)


def _is_image(topic: TopicInfo | Message) -> bool:
    return topic.type in (IMAGE, COMPRESSED_IMAGE)


def _faults(topic: TopicInfo) -> list[str]:
    """Return what of a topic is lost or, for images, cannot be matched by its stamp."""
    unreadable = f"{topic.unreadable} of {topic.count} messages on '{topic.name}' cannot be read"
    return [*([unreadable] if topic.unreadable else []), *(_odd_stamps(topic) if _is_image(topic) else [])]


def _odd_stamps(topic: TopicInfo) -> list[str]:
    faults = []
    if topic.unstamped:
        everything = "all" if topic.unstamped == topic.count else str(topic.unstamped)
        faults.append(f"{everything} of {topic.count} messages on '{topic.name}' are stamped zero")
    if topic.out_of_order:
        what = "stamped earlier than the one before" if topic.clock == "stamp" else "out of order"
        faults.append(f"{topic.out_of_order} of {topic.count} messages on '{topic.name}' are {what}")
    return faults
