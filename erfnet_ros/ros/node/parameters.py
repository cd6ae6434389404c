"""The table of the node's parameters, from which the declaration and the launch arguments are made.

Tests compare config/segment.yaml and docs/parameters.md with it. Importable without rclpy, as launch files need it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.core.image_size import parse_input_size
from erfnet_ros.core.printable_text import printable
from erfnet_ros.inference.engine import DEVICES, PRECISIONS
from erfnet_ros.inference.factory import ENGINES

Value = str | float | bool | tuple[str, ...]

UNCONFIGURED, AT_START, ANY_TIME = "unconfigured", "at start", "any time"
"""When a parameter may change."""


@dataclass(frozen=True)
class Parameter:
    """One row of the table.

    Attributes:
        type_name: string, string_array, double, integer or bool.
        description: One sentence for `ros2 param describe` and docs/parameters.md.
        minimum: Smallest accepted number, inclusive.
        maximum: Largest accepted number, inclusive.
        choices: Accepted strings; empty where others may be right.
        parse: Raises ParameterError for a string, or strings, that cannot be right.
        may_change: UNCONFIGURED for what decides what is loaded or subscribed, AT_START for what is read at start
            only, ANY_TIME for the fields of `Settings`.
    """

    name: str
    type_name: str
    default: Value
    description: str
    minimum: float = -math.inf
    maximum: float = math.inf
    choices: tuple[str, ...] = ()
    parse: Callable[[Any], object] | None = None
    may_change: str = UNCONFIGURED

    def check(self, value: object) -> Value:
        """Return a value in this parameter's type; whole numbers pass for double.

        Raises:
            ParameterError: Type or range do not fit.
        """
        if self.type_name == "bool":
            if not isinstance(value, bool):
                raise self._refusal("true or false", value)
            return value
        if self.type_name == "integer":
            if isinstance(value, bool) or not isinstance(value, int) or not self.minimum <= value <= self.maximum:
                raise self._refusal(f"a whole number from {self.minimum} to {self.maximum}", value)
            return value
        if self.type_name == "double":
            number = math.nan if isinstance(value, bool) or not isinstance(value, (int, float)) else float(value)
            # NaN is in no range.
            if not self.minimum <= number <= self.maximum:
                raise self._refusal(f"a number from {self.minimum} to {self.maximum}", value)
            return number
        if self.type_name == "string_array":
            return self._check_strings(value)
        if not isinstance(value, str) or (self.choices and value not in self.choices):
            raise self._refusal(f"one of {', '.join(self.choices)}" if self.choices else "a string", value)
        if self.parse is not None:
            self.parse(value)
        return value

    def _check_strings(self, value: object) -> tuple[str, ...]:
        # An empty list in a parameter file or on a command line has no type, and arrives as None.
        strings = () if value is None else value
        if not isinstance(strings, (list, tuple)) or not all(isinstance(string, str) for string in strings):
            raise self._refusal("a list of strings", value)
        if self.parse is not None:
            self.parse(strings)
        return tuple(strings)

    def _refusal(self, expected: str, value: object) -> ParameterError:
        got = printable(repr(value))
        return ParameterError(f"Parameter '{self.name}': expected {expected}, got {got}. {self.description}")


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
                f"with a digit, got '{printable(name)}'; each becomes a part of topic names, as in front/mask."
            )
        if names.count(name) > 1:
            raise ParameterError(
                f"Parameter 'cameras': expected each name once, got '{name}' {names.count(name)} times in "
                f"{', '.join(names)}; name each camera differently."
            )


def _run_time(default: Value, description: str, **limits: float) -> Any:
    """Return a field of `Settings` with its row of the table, which has the field's name and type."""
    return field(default=default, metadata={"default": default, "description": description, **limits})


@dataclass(frozen=True)
class Settings:
    """The parameters that may change at any time, a row each; replaced as a whole, and carried by each frame."""

    confidence_threshold: float = _run_time(
        0.0, "Pixels whose confidence is below this become void (255) in the mask.", minimum=0.0, maximum=1.0
    )
    overlay_alpha: float = _run_time(
        0.5, "Weight of the class colors in the overlay: 0 is the image, 1 the colors.", minimum=0.0, maximum=1.0
    )
    jpeg_quality: int = _run_time(
        80,
        "JPEG quality of overlay/compressed; the other compressed outputs are PNG, lossless.",
        minimum=1,
        maximum=100,
    )
    max_rate: float = _run_time(
        0.0,
        "Most frames per second to segment of each camera, Hz; frames above it are dropped and counted; 0 means no "
        "limit.",
        minimum=0.0,
        maximum=1000.0,
    )


_TYPE_NAMES = {"bool": "bool", "int": "integer", "float": "double", "str": "string"}

PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "checkpoint",
        "string",
        "",
        "Weights: a .safetensors file of this package; empty means the shipped CamVid weights.",
    ),
    Parameter(
        "engine",
        "string",
        "auto",
        "Library that runs the network; auto takes the fastest installed one, measured at the first start and cached.",
        choices=ENGINES,
    ),
    Parameter("device", "string", "auto", f"Where the network runs: {DEVICES}; auto takes a GPU where there is one."),
    Parameter(
        "precision",
        "string",
        "auto",
        "Arithmetic of the network; auto takes fp16 on a GPU, and on a CPU int8 where the checkpoint is calibrated for "
        "it, else bf16 or fp32.",
        choices=PRECISIONS,
    ),
    Parameter(
        "engine_timeout",
        "double",
        30.0,
        "Longest time that an image may take in the engine, seconds; then the process ends with exit code 75, to be "
        "started again by respawn:=true or another supervisor; 0 means no limit.",
        minimum=0.0,
        maximum=3600.0,
    ),
    Parameter(
        "input_size",
        "string",
        "auto",
        "Input size of the network: WIDTHxHEIGHT in pixels, or auto: as many pixels as in training at the camera's "
        "aspect ratio.",
        parse=parse_input_size,
    ),
    Parameter(
        "cameras",
        "string_array",
        (),
        "Names of several cameras that share the engine: each has its topics below its name, such as front/image and "
        "front/mask; empty means one camera without a name.",
        parse=check_camera_names,
    ),
    *(Parameter(row.name, _TYPE_NAMES[str(row.type)], may_change=ANY_TIME, **row.metadata) for row in fields(Settings)),
    Parameter(
        "image_transport",
        "string",
        "raw",
        "raw subscribes to image (sensor_msgs/Image), compressed to image/compressed (JPEG or PNG).",
        choices=("raw", "compressed"),
    ),
    Parameter(
        "sample_folder",
        "string",
        "",
        "Where the service ~/save_sample writes images with their masks, for training; empty means that it is refused.",
    ),
    Parameter(
        "record_below",
        "double",
        0.0,
        "Frames whose mean confidence is below this are saved into the folder uncertain in sample_folder, at most one "
        "in 5 s; 0 means none.",
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        "record_count",
        "integer",
        200,
        "Uncertain frames that are kept; the oldest are replaced.",
        minimum=1,
        maximum=100_000,
    ),
    Parameter(
        "record_megabytes",
        "double",
        500.0,
        "Disk space of the uncertain frames that are kept, 10^6 bytes; the oldest are replaced.",
        minimum=1.0,
        maximum=1e6,
    ),
    Parameter(
        "autostart",
        "bool",
        True,
        "Configure and activate at start; otherwise a lifecycle manager does.",
        may_change=AT_START,
    ),
)

BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}
