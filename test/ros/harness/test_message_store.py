"""Message store: messages byte for byte."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.ros.harness.message_store import MessageStore

LIMIT = resource.getrlimit(resource.RLIMIT_FSIZE)


def test_messages_come_back_byte_for_byte_in_any_order(tmp_path: Path) -> None:
    messages = {(topic, index): os.urandom(100 + index) for topic in ("mask", "confidence") for index in range(5)}
    with MessageStore(tmp_path / "store") as store:
        for (topic, index), data in messages.items():
            store.put(topic, index, data)
        assert {key: store.get(*key) for key in reversed(messages)} == messages


def test_writing_goes_on_behind_what_was_read_in_between(tmp_path: Path) -> None:
    with MessageStore(tmp_path / "store") as store:
        store.put("mask", 0, b"first")
        store.put("mask", 1, b"second")
        assert store.get("mask", 0) == b"first"
        store.put("mask", 2, b"third")
        assert [store.get("mask", index) for index in range(3)] == [b"first", b"second", b"third"]


def test_a_second_answer_to_one_frame_changes_nothing(tmp_path: Path) -> None:
    with MessageStore(tmp_path / "store") as store:
        store.put("mask", 0, b"first")
        store.put("mask", 0, b"again")
        assert store.get("mask", 0) == b"first"


def test_a_frame_counts_as_kept_once_all_its_topics_are(tmp_path: Path) -> None:
    with MessageStore(tmp_path / "store") as store:
        for topic, index in (("mask", 0), ("mask", 1), ("confidence", 1), ("confidence", 2)):
            store.put(topic, index, b"data")
        assert store.frames("mask", "confidence") == {1}


def test_a_full_disk_is_said_in_words(tmp_path: Path) -> None:
    with MessageStore(tmp_path / "store") as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, LIMIT[1]))
        try:
            with pytest.raises(EvaluationError, match="choose an output folder with more space"):
                store.put("mask", 0, os.urandom(1 << 20))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, LIMIT)
