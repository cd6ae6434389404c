"""Topics of a bag and their selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

from erfnet_ros.core.errors import BagError


@dataclass(frozen=True)
class Topic:
    """Name and type of a topic, such as sensor_msgs/msg/Image, and how many of its messages can be read."""

    name: str
    type: str
    count: int


class HasTopics(Protocol):
    """A bag as far as its topics go."""

    path: Path

    @property
    def topics(self) -> Mapping[str, Topic]: ...


def find_topic(reader: HasTopics, wanted: str | None, *, types: Sequence[str], what: str) -> Topic:
    """Return the topic that is wanted, or without a wish the only one of these types that has messages.

    Args:
        wanted: Name, with or without the slash before it; None takes the one that fits.
        types: Such as ("sensor_msgs/msg/Image",).
        what: What the topic is for, as the option is called: "image" for --image-topic.
    """
    if wanted is not None:
        topic = reader.topics.get(wanted) or reader.topics.get(f"/{wanted}")
        if topic is None:
            raise BagError(missing(reader, wanted))
        if topic.type not in types:
            raise BagError(
                f"Expected {' or '.join(types)} on the {what} topic '{topic.name}', got {topic.type}; {_listed(reader)}"
            )
        return topic
    fitting = [topic for topic in reader.topics.values() if topic.type in types and topic.count]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise BagError(f"Expected a topic of {' or '.join(types)} in '{reader.path}', got none; {_listed(reader)}")
    names = ", ".join(topic.name for topic in fitting)
    raise BagError(
        f"Expected one topic of {' or '.join(types)} in '{reader.path}', got {len(fitting)}: {names}; "
        f"choose one with --{what}-topic."
    )


def missing(reader: HasTopics, wanted: str) -> str:
    """Return a sentence on a topic that is not there, with those that are."""
    likely = get_close_matches(wanted, reader.topics, 1, 0.5)
    likely = likely or [name for name in reader.topics if name.endswith(f"/{wanted.rpartition('/')[2]}")][:1]
    meant = f"did you mean '{likely[0]}'? " if likely else ""
    return f"Expected topic '{wanted}' in '{reader.path}', which has none of that name; {meant}{_listed(reader)}"


def _listed(reader: HasTopics) -> str:
    names = [f"{topic.name} ({topic.type}, {topic.count})" for topic in reader.topics.values()]
    return f"it has {', '.join(names)}." if names else "it has no topic at all."
