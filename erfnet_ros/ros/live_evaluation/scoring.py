"""Scoring of a replay: accuracy of the masks, streaming accuracy, and the outcome of every image."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.core.image import to_array
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.evaluation.inputs.bag_frames import BagFrame, read_steps
from erfnet_ros.evaluation.inputs.bag_scan import BagScan
from erfnet_ros.evaluation.metrics.segmentation_score import Score
from erfnet_ros.evaluation.metrics.streaming_score import latest_arrived, streaming_score
from erfnet_ros.evaluation.offline.output_bag import OutputBag, OutputPlan
from erfnet_ros.evaluation.results.accumulator import Accumulator, Prediction
from erfnet_ros.evaluation.results.frame_records import ANSWERED, REJECTED, FrameRecord
from erfnet_ros.evaluation.settings import Settings
from erfnet_ros.inference.segmenter import Segmentation, StageTimes
from erfnet_ros.ros.harness.message_store import MessageStore
from erfnet_ros.ros.live_evaluation.drop_reasons import REFUSED, DropReason, drop_reasons
from erfnet_ros.ros.live_evaluation.replay_run import Recording


@dataclass(frozen=True)
class LiveScore:
    """Scores of one bag.

    Attributes:
        accumulator: Of the masks that came back, with a record for every image.
        streaming: Streaming score, in which a late mask is a wrong one; None without ground truth.
        latencies_ms: Publication to mask received, in the order of the images.
        ages_ms: At each image's publication, how long ago the image of the newest mask was published.
    """

    scan: BagScan
    recording: Recording
    accumulator: Accumulator
    streaming: Score | None
    latencies_ms: tuple[float, ...]
    ages_ms: tuple[float, ...]


def score_recording(
    scan: BagScan,
    *,
    settings: Settings,
    class_set: ClassSet,
    recording: Recording,
    store: MessageStore,
    output: OutputPlan | None,
    advance: Callable[[int], None],
) -> LiveScore:
    """Score a replay.

    Args:
        store: Masks and confidences.
        output: Where the output bag goes; None writes none.
        advance: Called with the number of images that are done.

    Raises:
        BagError: The output bag cannot be written.
        EvaluationError: No ground truth can be used.
    """
    answered = store.frames("mask", "confidence")
    accumulator = Accumulator(class_set, scan.metadata.frames, settings.boundaries)
    unreadable: set[int] = set()
    usable: list[int] = []
    with ExitStack() as stack:
        writer: OutputBag | None = None
        if output is not None:
            writer = stack.enter_context(OutputBag(output, scan.path, class_set, threshold=settings.threshold))
        for step in read_steps(scan, class_set, first=0, everything=writer is not None):
            frame = step.frame
            answer = None if frame is None or frame.index not in answered else _answer(store, frame.index)
            if writer is not None:
                writer.add(step, answer)
            if frame is None:
                continue
            if frame.rgb is None:
                unreadable.add(frame.index)
            if frame.ground_truth is not None:
                usable.append(frame.index)
            accumulator.add(_sized(frame, answer), answer)
            advance(len(accumulator.records))
        if writer is not None:
            accumulator.notes += writer.notes
    _check_ground_truth(scan, accumulator, usable)
    published = {sent.index: sent.published_ns for sent in recording.sent}
    arrived = {index: recording.arrived_ns[index] for index in sorted(answered)}
    order = [sent.index for sent in recording.sent]
    found = drop_reasons(order, answered, reports=recording.reports, final=recording.counts, unreadable=unreadable)
    accumulator.records = [
        _record(record, published=published, arrived=arrived, found=found, recording=recording)
        for record in accumulator.records
    ]
    latencies = tuple((at_ns - published[index]) / 1e6 for index, at_ns in arrived.items())
    scored = [index for index in usable if index in published]
    streaming = _streaming(scan, class_set, scored=scored, published=published, arrived=arrived, store=store)
    return LiveScore(scan, recording, accumulator, streaming, latencies, _ages(published, arrived))


def _answer(store: MessageStore, index: int) -> Prediction:
    labels, confidence = (_pixels(store, topic, index) for topic in ("mask", "confidence"))
    # The node's own times come with its statistics.
    return Prediction(Segmentation(labels, confidence, StageTimes(0.0, 0.0)), labels)


def _pixels(store: MessageStore, topic: str, index: int) -> Pixels:
    message = deserialize_message(store.get(topic, index), Image)
    return np.ascontiguousarray(to_array(message)[..., 0])


def _sized(frame: BagFrame, answer: Prediction | None) -> BagFrame:
    """Refuse a ground truth that is not of the mask's size; the image's size was checked where it was decoded."""
    if answer is None or frame.ground_truth is None or frame.ground_truth.shape == answer.labels.shape:
        return frame
    size, other = (f"{shape[1]}x{shape[0]}" for shape in (answer.labels.shape, frame.ground_truth.shape))
    fault = f"Expected ground truth of the mask's size, {size}, got {other}."
    return replace(frame, ground_truth=None, ground_truth_fault=fault)


def _check_ground_truth(scan: BagScan, accumulator: Accumulator, usable: list[int]) -> None:
    if scan.matches is None or usable:
        return
    reason = next(iter(accumulator.refusals), "the images that have one cannot be read")
    raise EvaluationError(
        f"Expected ground truth that can be used for '{scan.metadata.name}', "
        f"got none of {scan.matches.count} that match; "
        f"the first: {reason}"
    )


def _record(
    record: FrameRecord,
    *,
    published: dict[int, int],
    arrived: dict[int, int],
    found: dict[int, DropReason],
    recording: Recording,
) -> FrameRecord:
    if record.index in arrived:
        latency_ms = (arrived[record.index] - published[record.index]) / 1e6
        return replace(record, outcome=ANSWERED, reason=None, latency_ms=latency_ms)
    if record.index in recording.broken:
        return replace(record, outcome=REJECTED, reason=f"not played: {recording.broken[record.index]}")
    drop = found[record.index]
    reason = drop.reason
    if reason == REFUSED:
        # The node tells the reason of one image, and counts the others.
        said = record.reason or recording.last_error
        reason = f"{REFUSED}: {said}" if said else REFUSED
    return replace(record, outcome=drop.outcome, reason=reason)


def _ages(published: dict[int, int], arrived: dict[int, int]) -> tuple[float, ...]:
    """Return for each publication the age of the newest mask that was there; none for those before the first mask."""
    times_ns, indexes = list(published.values()), list(arrived)
    newest = latest_arrived(times_ns, list(arrived.values()))
    return tuple(
        (time_ns - published[indexes[place]]) / 1e6
        for time_ns, place in zip(times_ns, newest, strict=True)
        if place is not None
    )


def _streaming(
    scan: BagScan,
    class_set: ClassSet,
    *,
    scored: list[int],
    published: dict[int, int],
    arrived: dict[int, int],
    store: MessageStore,
) -> Score | None:
    """Score the newest mask at the publication of each image that has ground truth; None without ground truth."""
    ground_truth_of = {
        index: ground_truth for index in scored if (ground_truth := scan.ground_truth_of(index)) is not None
    }
    indexes = list(arrived)
    with BagReader(scan.path) as reader:
        ground_truths = scan.open_ground_truth(reader, class_set)
        if ground_truths is None:
            return None
        return streaming_score(
            class_set,
            event_times_ns=[published[index] for index in ground_truth_of],
            ground_truth_at=lambda place: ground_truths[ground_truth_of[scored[place]]],
            arrivals_ns=list(arrived.values()),
            labels_at=lambda place: _pixels(store, "mask", indexes[place]),
        )
