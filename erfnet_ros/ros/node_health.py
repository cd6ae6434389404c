"""How a configured node and its cameras are, in words and figures."""

from __future__ import annotations

from dataclasses import replace

from erfnet_ros.ros.node.camera import NodeCamera
from erfnet_ros.ros.node.diagnostics import Health
from erfnet_ros.ros.node.resources import Loaded

_IDLE = "waiting: nobody reads an output"


def health_of(loaded: Loaded, active: bool) -> list[Health]:
    """Return the node's health and then that of each named camera; a camera without a name is part of the node's."""
    engine = loaded.segmenter.engine
    figures = {
        "engine": engine.name,
        "device": engine.device,
        "precision": engine.precision,
        "classes": loaded.segmenter.class_set.name,
    }
    notes = {"notes": " ".join(loaded.notes)}
    cameras = [_camera_health(camera, active) for camera in loaded.cameras]
    if not loaded.cameras[0].name:
        (only,) = cameras
        return [replace(only, warnings=only.warnings + loaded.warnings, figures={**figures, **only.figures, **notes})]
    names = ", ".join(camera.name for camera in loaded.cameras)
    subscribed = ", ".join(camera.name for camera in loaded.subscribed)
    state = (f"segmenting {subscribed}" if subscribed else _IDLE) if active else "inactive"
    return [Health(state, (), loaded.warnings, {**figures, "cameras": names, **notes}), *cameras]


def _camera_health(camera: NodeCamera, active: bool) -> Health:
    warnings = []
    if camera.complaint:
        warnings.append(f"Frames are rejected: {camera.complaint}")
    if active and (complaint := camera.input.complaint()):
        warnings.append(complaint)
    figures = {
        "image topic": camera.input.topic,
        "subscribed": camera.input.subscribed,
        "frames processed": camera.processed,
        "frames dropped": camera.dropped,
        "frames rejected": camera.rejected,
    }
    state = ("segmenting" if camera.input.subscribed else _IDLE) if active else "inactive"
    part = f"camera {camera.name}" if camera.name else Health.part
    return Health(state, (), tuple(warnings), figures, part)
