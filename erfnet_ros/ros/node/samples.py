"""Samples: frames and their masks, stored as training images by a service or because the network is unsure of them."""

from __future__ import annotations

import json
import math
import queue
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import ErfnetError, OutputError
from erfnet_ros.core.image import contiguous_rgb
from erfnet_ros.core.output_files import locked_output_folder, write_file
from erfnet_ros.ros.node.publishers import SegmentedFrame
from erfnet_ros.visualization.contact_sheet import write_png

_PARTS = ("images", "labels", "confidence", "info")

_PERIOD_S = 5.0

_NAME = re.compile(r"(\w+_)?\d+_\d{9}_\d{6}\b")
"""As `save_sample` names a sample."""


def save_sample(folder: Path, camera: str, *, frame: SegmentedFrame, metadata: Mapping[str, Any]) -> str:
    """Write a frame into a folder that `erfnet data check` and `erfnet train folder` read; return its name.

    images/NAME.png and labels/NAME.png (the mask; void is 255) are what is trained on, once the labels are corrected;
    confidence/NAME.png and info/NAME.json (`metadata`, header, camera_info) lie next to them, classes.yaml names the
    ids.

    Raises:
        ErfnetError: The folder cannot be written, or holds samples of other classes.
    """
    stamp, classes = frame.header.stamp, folder / "classes.yaml"
    name = f"{camera}_" * bool(camera) + f"{stamp.sec}_{stamp.nanosec:09d}_{frame.processed:06d}"
    try:
        for part in _PARTS:
            (folder / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot write samples to '{folder}': {error.strerror}; choose another folder.") from error
    if not classes.exists():
        write_file(classes, frame.class_set.to_yaml())
    elif ClassSet.from_yaml(classes) != frame.class_set:
        raise OutputError(
            f"Expected classes '{frame.class_set.name}' in '{classes}', got others; choose another sample_folder."
        )
    info = frame.camera_info
    fields = ("width", "height", "distortion_model", "d", "k", "r", "p")
    calibration = {field: _plain(getattr(info, field)) for field in fields} if info else None
    content = {"frame_id": frame.header.frame_id, "parameters": dict(metadata), "camera_info": calibration}
    try:
        write_file(folder / "info" / f"{name}.json", json.dumps(content, indent=1) + "\n")
        write_png(folder / "confidence" / f"{name}.png", frame.segmentation.confidence)
        write_png(folder / "labels" / f"{name}.png", frame.mask)
        write_png(folder / "images" / f"{name}.png", contiguous_rgb(frame.rgb))
    except ErfnetError:
        for part in _PARTS:
            (folder / part / f"{name}.{'json' if part == 'info' else 'png'}").unlink(missing_ok=True)
        raise
    return name


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, str)) else [float(entry) for entry in value]


@dataclass(frozen=True)
class RecorderLimits:
    """What the recorder keeps.

    Attributes:
        below: Mean confidence, 0..1, below which a frame is recorded; 0 records none.
        most_samples: The newest that are kept.
        most_mb: Size of all of them, in 10^6 bytes.
    """

    below: float
    most_samples: int
    most_mb: float


class UncertainFrameRecorder:
    """Saves frames of which the network is unsure on a thread of its own, one in `_PERIOD_S` at most.

    Args:
        folder: What is named like a sample, and not among the newest, is removed from it.
        limits: What is kept.
        metadata: See `save_sample`.
        warn: Logs why frames are not recorded, once until one is.
    """

    def __init__(
        self, folder: Path, limits: RecorderLimits, metadata: Mapping[str, Any], warn: Callable[[str], object]
    ) -> None:
        self._folder, self._limits, self._metadata, self._warn = folder, limits, metadata, warn
        self._next_s = -math.inf
        self._failed = False
        self._waiting: queue.Queue[tuple[str, SegmentedFrame] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def offer(self, camera: str, frame: SegmentedFrame, now_s: float) -> None:
        """Have a camera's frame saved where it is uncertain, due, and none waits; never blocks."""
        if now_s >= self._next_s and frame.mean_confidence < self._limits.below and self._waiting.empty():
            self._next_s = now_s + _PERIOD_S
            self._waiting.put((camera, frame))

    def close(self) -> None:
        """End after what waits is saved, or after a few seconds."""
        self._waiting.put(None)
        self._thread.join(timeout=_PERIOD_S)

    def _run(self) -> None:
        while (taken := self._waiting.get()) is not None:
            try:
                with locked_output_folder(self._folder):
                    save_sample(self._folder, taken[0], frame=taken[1], metadata=self._metadata)
                    self._keep_newest()
                self._failed = False
            except Exception as error:
                if not self._failed:
                    self._warn(f"Uncertain frames are not recorded, the masks go on: {error}")
                self._failed = True

    def _keep_newest(self) -> None:
        """Remove all but the newest samples, and what a writer that was killed has left of one."""
        files = [path for part in _PARTS for path in (self._folder / part).iterdir() if _NAME.match(path.name)]
        sizes: Counter[str] = Counter()
        for path in files:
            sizes[path.stem] += path.stat().st_size
        images = [path for path in files if path.parent.name == _PARTS[0] and path.suffix == ".png"]
        images.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        kept: set[str] = set()
        room = 1e6 * self._limits.most_mb
        for image in images[: self._limits.most_samples]:
            room -= sizes[image.stem]
            if room < 0:
                break
            kept.add(image.stem)
        for path in files:
            if path.stem not in kept:
                path.unlink()
