"""Metadata of a result: bags, counts, resources, pictures, and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class BagMetadata:
    """One bag of the run.

    Attributes:
        name: File or folder name, without the folders above it.
        frames: Images on the image topic.
        ground_truths: Messages on the ground-truth topic, or files in the ground-truth folder; 0 where there is none.
        duration_s: First to last message, seconds.
        image_topic, ground_truth_topic: As found; the ground truth's may be a folder's name, or None.
        faults: What could not be read of it, a sentence each.
    """

    name: str
    fingerprint: str
    frames: int
    ground_truths: int
    duration_s: float
    image_topic: str
    ground_truth_topic: str | None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrameCounts:
    """What became of the images and of the ground truth.

    Attributes:
        images: Images in the bags (offline), or published (live).
        answered: Images of which a mask came back.
        dropped: Images passed over or lost (live).
        rejected: Images that could not be read or segmented.
        unmatched_ground_truths: Ground-truth images without an image within the tolerance.
        unmatched_images: Images without a ground truth within the tolerance.
        refused_ground_truths: Ground-truth images that matched, but differ in size from the image, hold unknown ids
            or cannot be read; see the notes.
    """

    images: int
    answered: int
    dropped: int
    rejected: int
    scored: int
    ground_truths: int
    unmatched_ground_truths: int
    unmatched_images: int
    refused_ground_truths: int


@dataclass(frozen=True)
class Usage:
    """What the process took that ran the network: the node (live), or the evaluation itself (offline).

    Attributes:
        cpu_percent: Mean over the run; 100 is one core.
        memory_mb: Largest resident set, 10^6 bytes.
        memory_mean_mb: Mean resident set, 10^6 bytes; None where only the peak is known.
        gpu_percent: Mean utilization of the GPU; None where there is none.
        gpu_memory_mb: Largest memory on the GPU, 10^6 bytes; None where there is none.
    """

    cpu_percent: float
    memory_mb: float
    memory_mean_mb: float | None = None
    gpu_percent: float | None = None
    gpu_memory_mb: float | None = None


@dataclass(frozen=True)
class Picture:
    """A strip of image, ground truth, mask and overlay.

    Attributes:
        kind: best, worst (by the frame's mIoU) or uncertain (by its mean confidence).
        file: Path within the output folder, with forward slashes.
        bag: Index into `Result.bags`.
        miou: Of this frame alone, 0..1; None without ground truth.
        confidence: Its mean confidence, 0..1.
        weakest: IoU of the classes that failed in this frame, 0..1, the lowest first.
    """

    kind: str
    file: str
    bag: int
    index: int
    stamp_ns: int
    miou: float | None
    confidence: float | None
    weakest: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from.

    Attributes:
        checkpoint_metadata: What the checkpoint says of itself: data, license, input_size, its own mIoU.
        engine, precision, device: As they ran, never auto.
        input_size: What was asked for: auto, or WIDTHxHEIGHT.
        threshold: Confidence below which pixels became void, 0..1.
        rate: Replay speed against the bag's own (live); None offline.
        started: ISO 8601, with the zone.
        duration_s: Seconds of evaluation, those before a resume included.
        machine: Processor, cores, memory, GPU, operating system, by name.
    """

    checkpoint: str
    checkpoint_sha256: str
    checkpoint_metadata: Mapping[str, str]
    engine: str
    precision: str
    device: str
    input_size: str
    threshold: float
    tolerance_s: float
    rate: float | None
    command: str
    started: str
    duration_s: float
    machine: Mapping[str, str]
    versions: Mapping[str, str]
