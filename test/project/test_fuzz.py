"""What reads strangers' files, a few hundred damaged ones each: `make fuzz` takes minutes for it."""

from __future__ import annotations

import itertools
import random

import pytest
from support.fuzz_targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_a_damaged_file_is_read_or_refused_in_words(name: str) -> None:
    target = TARGETS[name]
    for content in (b"", *target.seeds(), *itertools.islice(target.damaged(random.Random(7)), 200)):
        target.try_one(content)


@pytest.mark.parametrize("name", TARGETS)
def test_the_files_that_fuzzing_starts_from_are_whole(name: str) -> None:
    """Else only the first check of each reader would be fuzzed."""
    TARGETS[name].read(TARGETS[name].seeds()[0])
