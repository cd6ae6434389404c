"""The camera as a process that plays frames when it is told to."""

from __future__ import annotations

from collections.abc import Sequence

from erfnet_ros.ros.harness.file_camera import FRAME_ID
from erfnet_ros.ros.harness.playback import Playback

CAMERA_TOPIC = "/camera/image_raw"


def camera_playback(arguments: Sequence[str]) -> Playback:
    """Return the camera as a player.

    Args:
        arguments: Of `erfnet_ros.ros.harness.file_camera`.
    """
    return Playback("camera", "erfnet_ros.ros.harness.file_camera", tuple(arguments), CAMERA_TOPIC, frame_id=FRAME_ID)
