"""What a replay came to: masks held against truth, lateness counted, every image accounted for."""

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
from erfnet_ros.core.image_encodings import to_array
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.evaluation.inputs.bag_frames import BagFrame, read_steps
from erfnet_ros.evaluation.inputs.bag_scan import Survey
from erfnet_ros.evaluation.inputs.ground_truth import FolderTruths, TopicTruths, Truths
from erfnet_ros.evaluation.metrics.segmentation_score import Score
from erfnet_ros.evaluation.metrics.streaming_score import latest_arrived, streaming_score
from erfnet_ros.evaluation.offline.output_bag import OutputBag, OutputPlan
from erfnet_ros.evaluation.results.accumulator import Answer, Tally
from erfnet_ros.evaluation.results.frame_records import ANSWERED, REJECTED, FrameRecord
from erfnet_ros.evaluation.settings import Settings
from erfnet_ros.inference.segmenter import Segmentation, StageTimes
from erfnet_ros.ros.live_evaluation.drop_reasons import REFUSED, DropReason, drop_reasons
from erfnet_ros.ros.live_evaluation.message_store import MessageStore
from erfnet_ros.ros.live_evaluation.replay_run import Recording


@dataclass(frozen=True)
class LiveScore:
    """One bag's figures.

    Attributes:
        survey: Of the bag.
        recording: Of its replay.
        tally: Of the masks that came back, with a record for every image.
        streaming: Score with lateness counted; None without truth.
        latencies_ms: Publication to mask received, in the order of the images.
        ages_ms: At each image's publication, how long ago the image of the newest mask was published.
    """

    survey: Survey
    recording: Recording
    tally: Tally
    streaming: Score | None
    latencies_ms: tuple[float, ...]
    ages_ms: tuple[float, ...]


def score_recording(
    survey: Survey,
    settings: Settings,
    class_set: ClassSet,
    recording: Recording,
    store: MessageStore,
    output: OutputPlan | None,
    advance: Callable[[int], None],
) -> LiveScore:
    """Score a replay.

    Args:
        survey: Of the bag.
        settings: Of the evaluation.
        class_set: Of the node's checkpoint.
        recording: What came back.
        store: Masks and confidences.
        output: Where the output bag goes; None writes none.
        advance: Told how many images are done.

    Raises:
        BagError: The output bag cannot be written.
        EvaluationError: No truth can be used.
    """
    answered = store.frames("mask", "confidence")
    tally = Tally(class_set, survey.facts.frames, settings.boundaries)
    unreadable: set[int] = set()
    usable: list[int] = []
    with ExitStack() as stack:
        writer = _writer(stack, survey, class_set, settings, output)
        for step in read_steps(survey, class_set, 0, writer is not None):
            frame = step.frame
            answer = None if frame is None or frame.index not in answered else _answer(store, frame.index)
            if writer is not None:
                writer.add(step, answer)
            if frame is None:
                continue
            if frame.rgb is None:
                unreadable.add(frame.index)
            if frame.truth is not None:
                usable.append(frame.index)
            tally.add(_sized(frame, answer), answer)
            advance(len(tally.records))
        if writer is not None:
            tally.notes += writer.notes
    _check_truth(survey, tally, usable)
    published = {sent.index: sent.published_ns for sent in recording.sent}
    arrived = {index: recording.arrived_ns[index] for index in sorted(answered)}
    order = [sent.index for sent in recording.sent]
    found = drop_reasons(order, answered, recording.reports, recording.counts, unreadable)
    tally.records = [_record(record, published, arrived, found, recording) for record in tally.records]
    latencies = tuple((at_ns - published[index]) / 1e6 for index, at_ns in arrived.items())
    streaming = None
    if survey.matches is not None:
        moments = [index for index in usable if index in published]
        streaming = _streaming(survey, class_set, moments, published, arrived, store)
    return LiveScore(survey, recording, tally, streaming, latencies, _ages(published, arrived))


def _writer(
    stack: ExitStack, survey: Survey, class_set: ClassSet, settings: Settings, output: OutputPlan | None
) -> OutputBag | None:
    if output is None:
        return None
    original = stack.enter_context(BagReader(survey.path))
    return stack.enter_context(OutputBag(output, original, class_set, settings.threshold))


def _answer(store: MessageStore, index: int) -> Answer:
    labels, confidence = (_pixels(store, topic, index) for topic in ("mask", "confidence"))
    # The node's own times come with its statistics.
    return Answer(Segmentation(labels, confidence, StageTimes(0.0, 0.0)), labels)


def _pixels(store: MessageStore, topic: str, index: int) -> Pixels:
    message = deserialize_message(store.get(topic, index), Image)
    return np.ascontiguousarray(to_array(message)[..., 0])


def _sized(frame: BagFrame, answer: Answer | None) -> BagFrame:
    """Refuse a truth that is not of the mask's size; that it is of the image's was seen where the image was decoded."""
    if answer is None or frame.truth is None or frame.truth.shape == answer.labels.shape:
        return frame
    size, other = (f"{shape[1]}x{shape[0]}" for shape in (answer.labels.shape, frame.truth.shape))
    fault = f"Expected truth of the mask's size, {size}, got {other}."
    return replace(frame, truth=None, truth_fault=fault)


def _check_truth(survey: Survey, tally: Tally, usable: list[int]) -> None:
    if survey.matches is None or usable:
        return
    reason = next(iter(tally.refusals), "the images that have one cannot be read")
    raise EvaluationError(
        f"Expected truth that can be used for '{survey.facts.name}', got none of {survey.matches.count} that match; "
        f"the first: {reason}"
    )


def _record(
    record: FrameRecord,
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
        # The node says of one image what was wrong with it, and of others that there were more.
        said = record.reason or recording.complaint
        reason = f"{REFUSED}: {said}" if said else REFUSED
    return replace(record, outcome=drop.outcome, reason=reason)


def _ages(published: dict[int, int], arrived: dict[int, int]) -> tuple[float, ...]:
    """Return for each publication the age of the newest mask that was there; none for those before the first mask."""
    moments, indexes = list(published.values()), list(arrived)
    newest = latest_arrived(moments, list(arrived.values()))
    return tuple(
        (moment - published[indexes[place]]) / 1e6
        for moment, place in zip(moments, newest, strict=True)
        if place is not None
    )


def _streaming(
    survey: Survey,
    class_set: ClassSet,
    moments: list[int],
    published: dict[int, int],
    arrived: dict[int, int],
    store: MessageStore,
) -> Score:
    """Score at the publication of each image that has a truth the newest mask that was there."""
    truth_of = {index: truth for index in moments if (truth := survey.truth_of(index)) is not None}
    indexes = list(arrived)
    with BagReader(survey.path) as reader:
        truths = _truths(survey, reader, class_set, list(truth_of.values()))
        return streaming_score(
            class_set,
            [published[index] for index in truth_of],
            lambda place: truths[truth_of[moments[place]]],
            list(arrived.values()),
            lambda place: _pixels(store, "mask", indexes[place]),
        )


def _truths(survey: Survey, reader: BagReader, class_set: ClassSet, needed: list[int]) -> Truths:
    if survey.truth is not None:
        return TopicTruths(reader, survey.truth.name, class_set, needed)
    assert survey.truth_dir is not None
    return FolderTruths(survey.truth_dir, class_set)
