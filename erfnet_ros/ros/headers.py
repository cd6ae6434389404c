"""What is read of a message without unpacking its pixels.

Source of the layout: OMG CDR (formal/2002-06-51, 15.3) as ROS 2 uses it: four bytes of encapsulation, the second of
which tells the byte order, then std_msgs/Header: int32 seconds, uint32 nanoseconds, length of the frame id with its
zero, text.
"""

from __future__ import annotations

import struct
from typing import Any

from rclpy.serialization import deserialize_message

from erfnet_ros.msg import SegmentationStatistics


def read_header(message: Any) -> tuple[int, str]:
    """Return stamp (ns) and frame id of a message, or of its serialized bytes, that begins with a header."""
    if not isinstance(message, bytes):
        stamp = message.header.stamp
        return stamp.sec * 1_000_000_000 + stamp.nanosec, message.header.frame_id
    order = "<" if message[1] & 1 else ">"
    seconds, nanoseconds, length = struct.unpack_from(f"{order}iII", message, 4)
    return seconds * 1_000_000_000 + nanoseconds, message[16 : 16 + max(0, length - 1)].decode(errors="replace")


def read_statistics(message: Any) -> SegmentationStatistics:
    """Return statistics, serialized or not."""
    if not isinstance(message, bytes):
        return message
    return deserialize_message(message, SegmentationStatistics)
