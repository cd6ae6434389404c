"""The camera as a process that plays frames when it is told to."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence

from erfnet_ros.ros.camera import Played
from erfnet_ros.ros.process import ChildProcess

CAMERA_TOPIC = "/camera/image_raw"


class CameraProcess(ChildProcess):
    """A camera that plays frames when told.

    Args:
        arguments: Of `erfnet_ros.ros.camera`.
        on_sent: Called on a thread with index and stamp (ns) of each frame.
        environment: See `ChildProcess`.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        on_sent: Callable[[int, int], None],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._on_sent = on_sent
        self.length: int | None = None
        self.played: Played | None = None
        command = [sys.executable, "-m", "erfnet_ros.ros.camera", "--on-request", "--wait", "30", *arguments]
        super().__init__("camera", command, environment, self._read_log)

    def request(self, indexes: Sequence[int]) -> None:
        """Ask for these frames; `played` is None until they are published."""
        self.played = None
        self.send(json.dumps(list(indexes)))

    def _read_log(self, line: str) -> None:
        if not line.startswith("{"):
            return
        entry = json.loads(line)
        if "stamp_ns" in entry:
            self._on_sent(entry["index"], entry["stamp_ns"])
        elif "ready" in entry:
            self.length = entry["ready"]
        else:
            self.played = Played(**entry)
