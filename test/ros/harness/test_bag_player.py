"""Bag player: images byte for byte, their pace, and refused bags."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

from sensor_msgs.msg import CompressedImage, Image
from support.bag_samples import PERIOD_NS, STORE, TOPIC, serialized, time_of, write_bag
from support.live_node import DEADLINE_S, Client

from erfnet_ros.data.bags.message_types import COMPRESSED_IMAGE, IMAGE
from erfnet_ros.data.bags.messages import compressed_image, header
from erfnet_ros.data.bags.writer import BagWriter
from erfnet_ros.ros.harness.child_process import child_environment
from erfnet_ros.ros.harness.output_recorder import read_header, with_stamp
from erfnet_ros.ros.harness.playback import Playback, Played, PlayerProcess, Sent

DOMAIN = 1 + (os.getpid() + 70) % 101
COUNT = 5


@dataclass
class Playing:
    """The player's process, what it says that it sent, and what came as it came."""

    player: PlayerProcess
    reader: Client
    received: list[bytes]
    sent: list[Sent]

    def fetch(self, index: int) -> bytes:
        """Ask for one image until it came; the first may be sent before both ends know each other."""
        for _ in range(12):
            self.received.clear()
            self.player.request([index])
            with suppress(AssertionError):
                # The player's word may come later than the image.
                self.reader.wait_for(lambda: self.received and self.player.played is not None, "the image", 5.0)
                return self.received[-1]
        raise AssertionError(f"image {index} did not come")

    def play(self, indexes: range) -> Played:
        """Play images once the reader is known."""
        self.fetch(0)
        self.sent.clear()
        self.player.request(indexes)
        return self.reader.wait_for(lambda: self.player.played, "the player's end")


@contextmanager
def played(bag: Path, *arguments: str, topic: str = TOPIC, message_type: Any = Image) -> Iterator[Playing]:
    sent: list[Sent] = []
    playback = Playback("player", "erfnet_ros.ros.harness.bag_player", (str(bag), *arguments), topic)
    environment = {**child_environment(), "ROS_DOMAIN_ID": str(DOMAIN)}
    reader = Client(DOMAIN)
    received = reader.listen(topic, message_type, raw=True)
    try:
        with PlayerProcess(playback, sent.append, environment) as player:
            reader.wait_for(lambda: player.length is not None, "the player")
            yield Playing(player, reader, received, sent)
    finally:
        reader.close()


def test_messages_pass_byte_for_byte(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", COUNT)
    with played(bag) as playing:
        sent = playing.sent
        assert playing.player.length == COUNT
        for index in range(COUNT):
            assert playing.fetch(index) == with_stamp(serialized(index), sent[-1].stamp_ns)
            assert sent[-1].index == index
            # The first request may be lost, and no stamp is used twice.
            assert 0 <= sent[-1].stamp_ns - time_of(index) < 12
            assert abs(time.time_ns() - sent[-1].published_ns) < DEADLINE_S * 1e9


def test_an_image_that_is_played_again_has_a_stamp_of_its_own(tmp_path: Path) -> None:
    """Otherwise a late answer to the first would be taken for one to the second."""
    with played(write_bag(tmp_path / "bag", 1)) as playing:
        first, again, sent = playing.fetch(0), playing.fetch(0), playing.sent
    assert len({entry.stamp_ns for entry in sent}) == len(sent)
    assert (first[:4], first[12:]) == (again[:4], again[12:])
    assert read_header(again)[0] == sent[-1].stamp_ns > read_header(first)[0]


def test_a_compressed_topic_is_played_as_such_under_another_name(tmp_path: Path) -> None:
    """A node that runs already may take its images from anywhere."""
    message = compressed_image(np.full((48, 64, 3), 77, np.uint8), "png", header(time_of(0), "camera"))
    with BagWriter(tmp_path / "bag") as writer:
        writer.add(f"{TOPIC}/compressed", COMPRESSED_IMAGE)
        writer.write(f"{TOPIC}/compressed", time_of(0), message)
    remap = ("--ros-args", "-r", f"{TOPIC}/compressed:=/front/compressed")
    with played(tmp_path / "bag", *remap, topic="/front/compressed", message_type=CompressedImage) as playing:
        expected = bytes(STORE.serialize_cdr(message, COMPRESSED_IMAGE))
        received = playing.fetch(0)
    # The middleware pads to words of four bytes on the way.
    assert (received[: len(expected)], len(received)) == (expected, -(-len(expected) // 4) * 4)


def test_images_keep_the_bags_pace_at_the_rate_that_is_asked_for(tmp_path: Path) -> None:
    """Never faster; a busy machine may be slower."""
    bag = write_bag(tmp_path / "bag", COUNT)
    with played(bag, "--rate", "2") as playing:
        ended, sent = playing.play(range(COUNT)), playing.sent
        assert ended.published == len(sent) == COUNT
        elapsed_s = (sent[-1].published_ns - sent[0].published_ns) / 1e9
        asked_s = (COUNT - 1) * PERIOD_NS / 1e9 / 2
        assert elapsed_s > 0.9 * asked_s
        assert ended.rate_hz == pytest.approx((COUNT - 1) / elapsed_s, rel=0.2)


def test_bytes_that_are_no_message_are_left_out_and_named(tmp_path: Path) -> None:
    """rclpy raises out of the node's spin where it cannot read a message: the whole node would be gone."""
    with BagWriter(tmp_path / "bag") as writer:
        writer.add(TOPIC, IMAGE)
        for index in range(3):
            writer.write(TOPIC, time_of(index), serialized(index)[: 50 if index == 1 else None])
    with played(tmp_path / "bag", "--rate", "100") as playing:
        playing.play(range(3))
        assert [entry.index for entry in playing.sent] == [0, 2]
        assert list(playing.player.broken) == [1]
        assert "got 50 bytes that cannot be read as one" in playing.player.broken[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere"),
        (["bag", "--topic", "/camera/image"], f"did you mean '{TOPIC}'"),
        (["bag", "--rate", "0"], "Expected a number above 0 and up to 1000 as --rate"),
        (["bag", "--wait", "0.1"], "Expected a subscriber of /camera/image_raw within 0.1 s"),
    ],
)
def test_what_cannot_be_played_is_said_in_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", 1)
    result = subprocess.run(
        [sys.executable, "-m", "erfnet_ros.ros.harness.bag_player", *arguments],
        cwd=tmp_path,
        env=child_environment() | {"ROS_DOMAIN_ID": str(DOMAIN)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("bag_player: ")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
