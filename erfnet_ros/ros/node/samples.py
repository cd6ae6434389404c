"""Samples: a camera's newest frame and its mask, stored as a training image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import OutputError
from erfnet_ros.core.image import contiguous_rgb
from erfnet_ros.core.output_files import write_file
from erfnet_ros.ros.node.publishers import SegmentedFrame
from erfnet_ros.visualization.contact_sheet import write_png


def save_sample(folder: Path, camera: str, frame: SegmentedFrame, metadata: Mapping[str, Any]) -> str:
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
        for part in ("images", "labels", "confidence", "info"):
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
    write_file(folder / "info" / f"{name}.json", json.dumps(content, indent=1) + "\n")
    write_png(folder / "confidence" / f"{name}.png", frame.segmentation.confidence)
    write_png(folder / "labels" / f"{name}.png", frame.mask)
    write_png(folder / "images" / f"{name}.png", contiguous_rgb(frame.rgb))
    return name


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, str)) else [float(entry) for entry in value]
