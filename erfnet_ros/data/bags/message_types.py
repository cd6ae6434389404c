"""Message types of bags: those that rosbags knows and those of this package."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
LABEL_INFO = "vision_msgs/msg/LabelInfo"
STATISTICS = "erfnet_ros/msg/SegmentationStatistics"

_VISION_TYPES = {
    "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name\n",
    LABEL_INFO: "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n",
}
"""Fields of vision_msgs 4, which rosbags does not ship."""

_FOREVER = QosTime(9223372036, 854775807)
"""How rmw writes a duration without an end: 2^63 - 1 nanoseconds."""

LATCHED = Qos(
    QosHistory.KEEP_LAST,
    1,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    _FOREVER,
    _FOREVER,
    QosLiveliness.AUTOMATIC,
    _FOREVER,
    False,
)
"""Kept for those who subscribe later, as label_info and /tf_static are published."""


_SEARCHED = 1 << 16
"""Characters of a definition in which its first field is looked for."""


@dataclass(frozen=True)
class Declaration:
    """What a bag says of a topic besides its messages.

    Attributes:
        topic: Name.
        type: Such as "sensor_msgs/msg/Image".
        definition: Text of the type's definition with everything that it refers to, .msg or .idl; "" where the bag
            has none.
        digest: RIHS01 hash of the type; "" where the bag has none.
        qos: Offered QoS profiles as rosbags describes them.
    """

    topic: str
    type: str
    definition: str
    digest: str
    qos: tuple[Any, ...]


def full_type(name: str) -> str:
    """Return a type with the `/msg/` that some recorders leave out: sensor_msgs/msg/Image for sensor_msgs/Image."""
    package, slash, message = name.partition("/")
    return f"{package}/msg/{message}" if slash and "/" not in message else name


def begins_with_header(definition: str) -> bool:
    """Return whether the first field of a .msg text is a std_msgs/Header; False for .idl.

    The text comes from a bag: it is not parsed, for a parser of types can be led to take all memory or time.
    """
    for line in definition[:_SEARCHED].splitlines():
        field = line.partition("#")[0].strip()
        if field and not re.match(r"\S+\s+\w+\s*=", field):
            return re.fullmatch(r"(std_msgs/(msg/)?)?Header\s+\w+", field) is not None
    return False


@cache
def known_types() -> Any:
    """Return rosbags' typestore of the types that are read and written here; those of ROS 2 and of this package."""
    store = get_typestore(Stores.ROS2_KILTED)
    definitions = dict(_VISION_TYPES)
    own = _own_definition()
    if own is not None:
        definitions[STATISTICS] = own
    for name, definition in definitions.items():
        store.register(get_types_from_msg(definition, name))
    return store


def _own_definition() -> str | None:
    """Return the text of SegmentationStatistics.msg, from a checkout or a share folder."""
    here = Path(__file__)
    prefixes = [*here.parents, *map(Path, filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)))]
    folders = [here.resolve().parents[3], *(prefix / "share" / "erfnet_ros" for prefix in prefixes)]
    for folder in folders:
        file = folder / "msg" / "SegmentationStatistics.msg"
        if file.is_file():
            return file.read_text(encoding="utf-8")
    return None
