"""What is scored after a run is what came in during it, byte for byte."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.ros.live_evaluation.message_store import MessageSpool

LIMIT = resource.getrlimit(resource.RLIMIT_FSIZE)


def test_messages_come_back_byte_for_byte_in_any_order(tmp_path: Path) -> None:
    messages = {(topic, index): os.urandom(100 + index) for topic in ("mask", "confidence") for index in range(5)}
    with MessageSpool(tmp_path / "spool") as spool:
        for (topic, index), data in messages.items():
            spool.put(topic, index, data)
        assert {key: spool.get(*key) for key in reversed(messages)} == messages


def test_writing_goes_on_behind_what_was_read_in_between(tmp_path: Path) -> None:
    with MessageSpool(tmp_path / "spool") as spool:
        spool.put("mask", 0, b"first")
        spool.put("mask", 1, b"second")
        assert spool.get("mask", 0) == b"first"
        spool.put("mask", 2, b"third")
        assert [spool.get("mask", index) for index in range(3)] == [b"first", b"second", b"third"]


def test_a_second_answer_to_one_frame_changes_nothing(tmp_path: Path) -> None:
    with MessageSpool(tmp_path / "spool") as spool:
        spool.put("mask", 0, b"first")
        spool.put("mask", 0, b"again")
        assert spool.get("mask", 0) == b"first"


def test_a_frame_counts_as_kept_once_all_its_topics_are(tmp_path: Path) -> None:
    with MessageSpool(tmp_path / "spool") as spool:
        for topic, index in (("mask", 0), ("mask", 1), ("confidence", 1), ("confidence", 2)):
            spool.put(topic, index, b"data")
        assert spool.frames("mask", "confidence") == {1}


def test_a_full_disk_is_said_in_words(tmp_path: Path) -> None:
    with MessageSpool(tmp_path / "spool") as spool:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, LIMIT[1]))
        try:
            with pytest.raises(EvaluationError, match="choose an output folder with more space"):
                spool.put("mask", 0, os.urandom(1 << 20))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, LIMIT)
