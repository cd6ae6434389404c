"""Summary of a demo run: summary.json and the lines for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from erfnet_ros.evaluation.metrics.latency import LatencyStatistics
from erfnet_ros.ros.transport import profile_variable


@dataclass(frozen=True)
class Summary:
    """Everything that summary.json says, under these names.

    Attributes:
        frames_in: Frames that the camera published, over all passes.
        frames_out: Frames whose mask came back.
        passes: How often frames were played; more than once only for those that had been dropped.
        fps: Masks per second of playing.
        latency_ms: Stamp of the image to mask received.
        latency_quarters_ms: The same for each quarter of the masks, in order of arrival.
        miou: Over all scored frames, 0..1; None without ground truth.
        iou: By class name, 0..1; None for a class that does not occur. None without ground truth.
        scored: Frames with ground truth that were scored, each once.
        inference_ms: The engine's own time, as the node's statistics have it.
        rate_hz: What the camera was asked for.
        camera_rate_hz: What it reached in the first pass.
        dropped: Frames that the node passed over for a newer one.
        rejected: Frames that the node refused as bad input.
        lost: Frames of which neither an answer nor a count came back.
        stamps_mismatched: Outputs whose stamp or frame_id is not that of a frame sent.
        outputs: Number of messages by topic.
    """

    source: str
    frames_in: int
    frames_out: int
    passes: int
    fps: float
    latency_ms: LatencyStatistics | None
    latency_quarters_ms: tuple[LatencyStatistics, ...]
    miou: float | None
    iou: Mapping[str, float | None] | None
    scored: int
    engine: str
    device: str
    precision: str
    inference_ms: LatencyStatistics | None
    rate_hz: float
    camera_rate_hz: float
    dropped: int
    rejected: int
    lost: int
    stamps_mismatched: int
    outputs: Mapping[str, int]

    def write(self, path: Path) -> None:
        """Write the summary as JSON."""
        path.write_text(json.dumps(_rounded(asdict(self)), indent=2) + "\n")

    def title(self) -> str:
        """Return the contact sheet's title."""
        score = "" if self.miou is None else f", mIoU {100 * self.miou:.1f} %"
        return f"ERFNet over ROS 2: {self.frames_out} frames at {self.fps:.1f} fps{score}"

    def subtitle(self) -> str:
        """Return the line below it."""
        return f"{self.engine} on {self.device} in {self.precision}; latency {_triple(self.latency_ms)}"

    def lines(self) -> list[str]:
        """Return the summary for people, a line each."""
        lines = [
            f"frames in     {self.frames_in}" + (f" in {self.passes} passes" if self.passes > 1 else ""),
            f"frames out    {self.frames_out} ({self.dropped} dropped, {self.rejected} rejected, {self.lost} lost)",
            f"rate          {self.fps:.1f} fps of {self.rate_hz:g} Hz",
            f"latency       {_triple(self.latency_ms)}, image stamp to mask received",
            f"engine        {self.engine} on {self.device} in {self.precision}, {_triple(self.inference_ms)}",
            f"headers       {self.stamps_mismatched} outputs with another stamp or frame_id than their image",
        ]
        if self.miou is not None and self.iou is not None:
            lines.append(f"mIoU          {100 * self.miou:.1f} % over {self.scored} frames")
            lines += [
                f"  {name:<14}{'-' if iou is None else f'{100 * iou:.1f} %':>8}" for name, iou in self.iou.items()
            ]
        return lines + [f"note: {note}" for note in self.limits()]

    def limits(self) -> list[str]:
        """Say what kept the run below the rate that was asked for; nothing where nothing did."""
        notes = []
        if 0 < self.camera_rate_hz < 0.98 * self.rate_hz:
            notes.append(
                f"the camera reached {self.camera_rate_hz:.1f} Hz of {self.rate_hz:g} Hz: "
                "reading and publishing the images is the limit, not the node."
            )
        if self.dropped and self.inference_ms is not None:
            notes.append(
                f"the engine takes {self.inference_ms.p50:.0f} ms a frame (median), "
                f"good for {1e3 / self.inference_ms.p50:.1f} Hz; at {self.rate_hz:g} Hz the node took the newest frame "
                f"each time and dropped {self.dropped}."
            )
        if self.lost:
            notes.append(f"{self.lost} frames got lost between camera and node; is {profile_variable()} set for both?")
        return notes


def _triple(values: LatencyStatistics | None) -> str:
    if values is None:
        return "none"
    return f"{values.p50:.0f} / {values.p90:.0f} / {values.p99:.0f} ms (p50 / p90 / p99)"


def _rounded(value: object) -> object:
    """Round every number to what is worth reading."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, Mapping):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(entry) for entry in value]
    return value
