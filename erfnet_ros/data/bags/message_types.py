"""Message types of bags: those that rosbags knows, those of this package, and those that a bag defines."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore

from erfnet_ros.core.errors import BagError

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


def types_of(definition: str, type: str) -> dict[str, Any]:
    """Return the types that a definition's text defines, by name, as rosbags describes them.

    Args:
        definition: .msg text, with those of nested types behind lines of 80 "=" where there are any, or .idl text.
        type: What the text defines.

    Raises:
        BagError: It is neither.
    """
    separator = "=" * 80 + "\n"
    types: dict[str, Any] = {}
    try:
        if definition.startswith(f"{separator}IDL: "):
            for part in definition.split(separator)[1:]:
                types.update(get_types_from_idl(part.partition("\n")[2]))
            return types
        return dict(get_types_from_msg(definition, type))
    except (TypesysError, ValueError, KeyError, IndexError) as error:
        # rosbags repeats the whole text in its error.
        problem = " ".join(str(error).split())[:80]
        raise BagError(f"Expected the .msg or .idl text of {type}, got what cannot be parsed: {problem}.") from error


def typestore(declarations: Iterable[Declaration] = ()) -> tuple[Any, tuple[str, ...]]:
    """Return a store of the known types, in which a bag's own definitions come first, and notes on the others.

    Args:
        declarations: Of a bag's topics; those without a definition rely on what is known.

    Returns:
        rosbags' typestore, and one sentence for each definition that cannot be parsed.
    """
    store, notes = get_typestore(Stores.EMPTY), []
    for declaration in declarations:
        if declaration.definition:
            try:
                store.register(types_of(declaration.definition, declaration.type))
            except (BagError, TypesysError, SyntaxError):
                notes.append(f"the bag's definition of {declaration.type} cannot be parsed; it is not used")
    known = _known_store()
    for name in known.fielddefs.keys() - store.fielddefs.keys():
        # What registering does, without generating the same classes again for every bag.
        store.fielddefs[name], store.types[name] = known.fielddefs[name], known.types[name]
    return store, tuple(dict.fromkeys(notes))


@cache
def _known_store() -> Any:
    store = get_typestore(Stores.ROS2_KILTED)
    definitions = dict(_VISION_TYPES)
    own = _own_definition()
    if own is not None:
        definitions[STATISTICS] = own
    for name, definition in definitions.items():
        store.register(types_of(definition, name))
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
