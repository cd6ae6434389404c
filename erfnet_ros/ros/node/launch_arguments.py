"""Launch arguments of the nodes: values as text, and remappings of camera topics.

Importable without rclpy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.core.printable_text import printable
from erfnet_ros.ros.node.parameters import Parameter, Value

PLACEHOLDER = "{camera}"
"""Replaced by the camera's name in the launch argument `image`."""

DEFAULT_IMAGE = "image"
"""Default of the launch argument `image`."""


def from_text(parameter: Parameter, text: str) -> Value:
    """Read a launch argument or command-line option as the parameter's type, and check it.

    Raises:
        ParameterError: The text is no such value, or out of range.
    """
    if parameter.type_name == "bool":
        return parameter.check({"true": True, "false": False}.get(text.lower(), text))
    if parameter.type_name in ("double", "integer"):
        try:
            return parameter.check(float(text) if parameter.type_name == "double" else int(text))
        except ValueError:
            return parameter.check(text)
    if parameter.type_name == "string_array":
        return parameter.check(split_list(text))
    return parameter.check(text)


def split_list(text: str) -> tuple[str, ...]:
    """Read `[front, rear]` or `front, rear`, with or without quotes, as it comes from a command line."""
    inner = text.strip().removeprefix("[").removesuffix("]")
    parts = tuple(part.strip().strip("'\"") for part in inner.split(","))
    return () if parts == ("",) else parts


def misspelled_arguments(given: Iterable[str], known: Sequence[str]) -> list[str]:
    """Return a warning for each launch argument that resembles a known one; launch ignores what nobody declares.

    One that resembles none may be an argument of a launch file that includes this one.
    """
    nearest = {name: get_close_matches(name, known, 1, 0.7) for name in given if name not in known}
    return [
        f"Launch argument '{printable(name)}' is ignored: there is none of that name; did you mean '{match[0]}'?"
        for name, match in nearest.items()
        if match
    ]


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
