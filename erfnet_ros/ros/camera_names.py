"""The names of a node's cameras, and the topics that their images come from.

Importable without rclpy, so that launch files and tests can use it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from erfnet_ros.core.errors import ParameterError

PLACEHOLDER = "{camera}"
"""Stands for the camera's name in the launch argument `image`."""

DEFAULT_IMAGE = "image"
"""The launch argument `image` where it is not given."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def check_camera_names(names: Sequence[str]) -> None:
    """Refuse names that cannot stand in topic names (no more than 247 characters, ROS 2's naming rules), or twice.

    Raises:
        ParameterError: A name is empty, no ROS name, or occurs more than once.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise ParameterError(
                "Parameter 'cameras': expected names of 1 to 64 letters, digits and underscores that do not begin "
                f"with a digit, got '{name}'; each becomes a part of topic names, as in front/mask."
            )
        if names.count(name) > 1:
            raise ParameterError(
                f"Parameter 'cameras': expected each name once, got '{name}' {names.count(name)} times in "
                f"{', '.join(names)}; name each camera differently."
            )


def split_list(text: str) -> tuple[str, ...]:
    """Read `[front, rear]` or `front, rear`, with or without quotes, as it comes from a command line."""
    inner = text.strip().removeprefix("[").removesuffix("]")
    parts = tuple(part.strip().strip("'\"") for part in inner.split(","))
    return () if parts == ("",) else parts


def image_topics(cameras: Sequence[str], image: str) -> tuple[str, ...]:
    """Return the topic of each camera's images.

    Args:
        cameras: The cameras' names; empty for a node of one unnamed camera.
        image: A topic; with several cameras one with `{camera}` in it, or a list of topics in the cameras' order.

    Raises:
        ParameterError: `image` does not say which topic is whose.
    """
    if not cameras:
        if PLACEHOLDER in image or image.strip().startswith("["):
            raise ParameterError(
                f"Launch argument 'image': expected one topic, got '{image}'; for several cameras give their names as "
                "well, such as cameras:='[front, rear]'."
            )
        return (image,)
    if image == DEFAULT_IMAGE:
        return tuple(f"{camera}/{DEFAULT_IMAGE}" for camera in cameras)
    if PLACEHOLDER in image:
        return tuple(image.replace(PLACEHOLDER, camera) for camera in cameras)
    topics = split_list(image)
    if len(topics) != len(cameras):
        raise ParameterError(
            f"Launch argument 'image': expected a topic with {PLACEHOLDER} in it, such as /{PLACEHOLDER}/image_raw, or "
            f"a list of {len(cameras)} topics for {', '.join(cameras)}, got '{image}'."
        )
    return topics


def image_remappings(cameras: Sequence[str], topics: Sequence[str]) -> list[tuple[str, str]]:
    """Return the node's remapping rules, raw and compressed, of `cameras` to their `image_topics`."""
    names = [f"{camera}/image" for camera in cameras] or ["image"]
    rules = []
    for name, topic in zip(names, topics, strict=True):
        rules += [(name, topic), (f"{name}/compressed", f"{topic}/compressed")]
    return rules
