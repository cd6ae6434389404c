"""Monitor of a configured node: the statuses of its cameras and its process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from erfnet_ros.core.printable_text import printable
from erfnet_ros.inference.engine import Engine
from erfnet_ros.ros import diagnostic_keys as keys
from erfnet_ros.ros.node.camera import Camera
from erfnet_ros.ros.node.monitoring.conditions import CAMERA_CONDITIONS, NODE_CONDITIONS, ConditionMonitor
from erfnet_ros.ros.node.monitoring.diagnostics import Status
from erfnet_ros.ros.node.monitoring.findings import (
    MemoryTrend,
    camera_figures,
    camera_findings,
    gpu_memory_mb,
    process_findings,
    process_memory_mb,
)
from erfnet_ros.ros.node.monitoring.watchdog import EXIT_CODE
from erfnet_ros.ros.node.resources import NodeResources


class NodeMonitor:
    """Watches a configured node: which conditions hold in its cameras and its process, and for how long.

    Args:
        resources: The node's.
        warn: Logs a text.
    """

    def __init__(self, resources: NodeResources, warn: Callable[[str], object]) -> None:
        self._resources = resources
        self._cameras = {camera: ConditionMonitor(CAMERA_CONDITIONS, warn) for camera in resources.cameras}
        self._process = ConditionMonitor(NODE_CONDITIONS, warn)
        self._memory = MemoryTrend()

    def statuses(self, active: bool) -> list[Status]:
        """Return the node's status and then that of each named camera; one without a name is part of the node's."""
        now_s, resources = time.monotonic(), self._resources
        engine = resources.segmenter.engine
        memory_mb, gpu_mb = process_memory_mb(), gpu_memory_mb(engine.device)
        found = dict(process_findings(engine, self._memory.growth_mb(memory_mb, now_s), memory_mb, gpu_mb))
        reports = self._process.update(found, now_s)
        values: dict[str, object] = {
            keys.ENGINE: engine.name,
            keys.DEVICE: engine.device,
            keys.PRECISION: engine.precision,
            keys.CLASSES: printable(resources.segmenter.class_set.name),
            keys.MEMORY_MB: f"{memory_mb:.1f}",
        }
        if gpu_mb is not None:
            values[keys.GPU_FREE_MB] = f"{gpu_mb[0]:.1f}"
        notes = {keys.NOTES: " ".join(resources.notes)}
        cameras = [self._of_camera(camera, active, now_s) for camera in self._cameras]
        if not resources.cameras[0].name:
            (only,) = cameras
            values = {**values, **only.values, **notes}
            return [replace(only, reports=only.reports + reports, warnings=resources.warnings, values=values)]
        values[keys.CAMERAS] = ", ".join(camera.name for camera in resources.cameras)
        values[keys.SUBSCRIBED_CAMERAS] = ", ".join(camera.name for camera in resources.subscribed)
        state = _state(bool(resources.subscribed), active)
        return [Status(state, (), resources.warnings, {**values, **notes}, reports=reports), *cameras]

    def _of_camera(self, camera: Camera, active: bool, now_s: float) -> Status:
        found = dict(camera_findings(camera, now_s)) if active else {}
        reports = self._cameras[camera].update(found, now_s)
        values = {
            keys.IMAGE_TOPIC: camera.topic,
            keys.SUBSCRIBED: camera.subscribed,
            keys.FRAMES_PROCESSED: camera.processed,
            keys.FRAMES_DROPPED: camera.dropped,
            keys.FRAMES_REJECTED: camera.rejected,
            **{key: f"{value:.3f}" for key, value in camera_figures(camera, now_s).items()},
        }
        part = f"camera {camera.name}" if camera.name else Status.part
        return Status(_state(camera.subscribed, active), (), (), values, part, reports)


def hang_status(engine: Engine, waited_s: float) -> Status:
    """Return the status of a node whose engine has not returned for `waited_s`."""
    error = (
        f"The engine {engine.name} on {engine.device} has not returned for {waited_s:.0f} s and cannot be interrupted: "
        f"the process ends with exit code {EXIT_CODE}, to be started again by respawn:=true or another supervisor; "
        "where it happens again, look for the device's fault in dmesg, or choose another engine."
    )
    return Status(keys.HANGING, (error,), (), {keys.ENGINE: engine.name, keys.DEVICE: engine.device})


def _state(subscribed: bool, active: bool) -> str:
    if not active:
        return keys.INACTIVE
    return keys.SEGMENTING if subscribed else keys.WAITING
