"""Bags with ground truth for tests of the evaluation, made of a few synthetic street scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.data.bags import messages
from erfnet_ros.data.bags.message_types import COMPRESSED_IMAGE, IMAGE
from erfnet_ros.data.bags.writer import BagWriter
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.evaluation.metadata import BagMetadata, FrameCounts, Picture, Provenance, Usage
from erfnet_ros.evaluation.metrics.latency import LatencyStatistics
from erfnet_ros.evaluation.metrics.segmentation_score import Score
from erfnet_ros.evaluation.metrics.temporal_consistency import TemporalConsistencyStatistics
from erfnet_ros.evaluation.offline.aggregate import combine
from erfnet_ros.evaluation.offline.job import Job, JobResult, run_job
from erfnet_ros.evaluation.results.frame_records import ANSWERED, DROPPED, REJECTED, FrameRecord
from erfnet_ros.evaluation.results.result import LIVE, Result
from erfnet_ros.evaluation.settings import Settings

SIZE = (96, 72)
FRAMES = 12
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
IMAGE_TOPIC, GROUND_TRUTH_TOPIC = "/camera/image_raw", "/camera/truth"

SETTINGS = Settings(input_size=SIZE, engine="pytorch", precision="fp32")
"""The shipped weights on tiny images: they know the street, and are fast. A measured engine would not be repeatable."""


@dataclass(frozen=True)
class Shot:
    """One image and its ground truth, as they go into a bag.

    Attributes:
        stamp_ns, ground_truth_stamp_ns: In the headers.
        time_ns: The bag's own.
        rgb: (H, W, 3) uint8; None writes no image.
        ground_truth: (H, W) uint8; None writes no ground truth.
        broken: Whether the image says more pixels than it has.
    """

    stamp_ns: int
    ground_truth_stamp_ns: int
    time_ns: int
    rgb: Pixels | None
    ground_truth: Pixels | None
    broken: bool = False


@cache
def scene() -> tuple[tuple[Pixels, Pixels], ...]:
    """Return images and ground truths of a street."""
    street = Street(3, SIZE)
    return tuple(street.frame(index) for index in range(FRAMES))


def shots() -> list[Shot]:
    """Return the scene as it would be recorded: every image with a ground truth of the same stamp."""
    times = [START_NS + index * PERIOD_NS for index in range(FRAMES)]
    return [Shot(time, time, time, rgb, ground_truth) for time, (rgb, ground_truth) in zip(times, scene(), strict=True)]


def changed(change: Callable[[int, Shot], dict[str, Any]]) -> list[Shot]:
    """Return the scene with what `change` returns for each place and shot put in its place."""
    return [replace(shot, **change(index, shot)) for index, shot in enumerate(shots())]


def write_bag(
    path: Path, content: Sequence[Shot], storage: str = "mcap", compressed: bool = False, classes: Any = None
) -> Path:
    """Write shots into a bag; return its folder."""
    with BagWriter(path, storage) as writer:
        writer.add(IMAGE_TOPIC, COMPRESSED_IMAGE if compressed else IMAGE)
        writer.add(GROUND_TRUTH_TOPIC, IMAGE)
        if classes is not None:
            writer.add("/camera/label_info", "vision_msgs/msg/LabelInfo")
            message = messages.label_info(classes, messages.header(START_NS, "camera"))
            writer.write("/camera/label_info", content[0].time_ns, message)
        for shot in content:
            head = messages.header(shot.stamp_ns, "camera")
            if shot.rgb is not None:
                message = (
                    messages.compressed_image(shot.rgb, "png", head)
                    if compressed
                    else messages.image(shot.rgb, "rgb8", head)
                )
                if shot.broken:
                    message = replace(message, height=message.height + 1)
                writer.write(IMAGE_TOPIC, shot.time_ns, message)
            if shot.ground_truth is not None:
                head = messages.header(shot.ground_truth_stamp_ns, "camera")
                writer.write(GROUND_TRUTH_TOPIC, shot.time_ns, messages.image(shot.ground_truth, "mono8", head))
    return path


def work(bag: Path, folder: Path, **changes: Any) -> Job:
    """Return the work on a bag; keywords change the settings."""
    folder.mkdir(parents=True, exist_ok=True)
    return Job(bag, replace(SETTINGS, **changes), folder, None, True, threads=1)


def evaluated(bag: Path, folder: Path, **changes: Any) -> Result:
    """Evaluate a bag in this process, without a report; keywords change the settings."""
    return combined([run_job(work(bag, folder, **changes))], folder)


def combined(outcomes: Sequence[JobResult], folder: Path) -> Result:
    return combine(outcomes, PROVENANCE, folder)


def timeless(result: Result) -> dict[str, Any]:
    """Return all of a result that does not depend on how fast the machine was."""
    content = result.to_dict()
    for name in ("fps", "stages_ms", "usage", "provenance"):
        del content[name]
    return content


PROVENANCE = Provenance(
    checkpoint="w.safetensors",
    checkpoint_sha256="ab" * 32,
    checkpoint_metadata={"data": "streets"},
    engine="pytorch",
    precision="fp32",
    device="cpu",
    input_size="auto",
    threshold=0.0,
    tolerance_s=0.005,
    rate=None,
    command="erfnet evaluate-bag a -o b",
    started="2026-01-01T00:00:00+00:00",
    duration_s=1.5,
    machine={"processor": "some", "cores": "2"},
    versions={"erfnet_ros": "0.1.0"},
)


def live_result() -> Result:
    """Return a result of live mode that has every part, over two frames of two classes made by hand."""
    ground_truth = np.zeros((4, 4), np.uint8)
    ground_truth[:, 2:] = 1
    labels = ground_truth.copy()
    labels[0, 0] = 1
    score, streaming = Score(CAMVID, boundaries=False), Score(CAMVID, boundaries=False)
    score.add(ground_truth, labels, np.full((4, 4), 200, np.uint8))
    streaming.add(ground_truth, np.full((4, 4), 255, np.uint8))
    return Result(
        mode=LIVE,
        bags=(BagMetadata("drive", "cd" * 32, 4, 1, 0.3, IMAGE_TOPIC, GROUND_TRUTH_TOPIC, ("cut off",)),),
        class_set=CAMVID,
        frames=FrameCounts(4, 2, 1, 1, 1, 1, 0, 3, 0),
        score=score,
        streaming_score=streaming,
        fps=9.5,
        latency_ms=LatencyStatistics(40.0, 60.0, 90.0, 100.0, 45.0),
        jitter_ms=5.0,
        age_ms=None,
        stages_ms={"inference": LatencyStatistics(30.0, 31.0, 32.0, 33.0, 30.5)},
        temporal_consistency=TemporalConsistencyStatistics(0.25, {"sky": 0.5, "road": None}, 1),
        usage=Usage(150.0, 700.0, 650.0),
        provenance=replace(PROVENANCE, rate=1.0),
        records=(
            FrameRecord(0, 0, START_NS, ANSWERED, None, 40.0, 0.9, 0.78, None),
            FrameRecord(0, 1, START_NS + 1, DROPPED, "a newer image came before it was taken"),
            FrameRecord(0, 2, START_NS + 2, REJECTED, "encoding"),
            FrameRecord(0, 3, START_NS + 3, ANSWERED, None, 100.0, None, 0.5, 0.25),
        ),
        pictures=(Picture("best", "frames/000_000000.jpg", 0, 0, START_NS, 0.9, 0.78),),
        notes=("a note",),
    )
