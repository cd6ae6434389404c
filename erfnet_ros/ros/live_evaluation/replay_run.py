"""Replay of one bag to the real node, recording everything that it publishes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import psutil

from erfnet_ros.core.errors import BagError, EvaluationError
from erfnet_ros.data.bags.message_types import COMPRESSED_IMAGE
from erfnet_ros.evaluation.inputs.bag_scan import BagScan
from erfnet_ros.evaluation.metadata import Usage
from erfnet_ros.ros import diagnostic_keys as keys
from erfnet_ros.ros.harness.harness import NodeHarness
from erfnet_ros.ros.harness.message_store import MessageStore
from erfnet_ros.ros.harness.node_process import NodeConfig
from erfnet_ros.ros.harness.output_recorder import Arrival, NodeCounts, read_statistics
from erfnet_ros.ros.harness.playback import Playback, Sent
from erfnet_ros.ros.harness.resource_usage import UsageMeter, find_node

COLLECTED = ("mask", "confidence", "statistics")

NODE_STAGES = ("preprocess", "inference", "postprocess", "total")
"""Of SegmentationStatistics, each with _ms behind it."""


@dataclass(frozen=True)
class Recording:
    """Recording of a replay, before anything is scored.

    Attributes:
        arrived_ns: By image, when the middleware of this process had received its mask; where it does not say, when
            this program had.
        taken_ms: How long each mask then waited until this program had it, which no latency holds; empty where the
            middleware does not say when it received a message.
        reports: By image, counts of the node after that image.
        stages_ms: Times that the node measured, by stage, a value for each image.
        counts: Counts of the node in the end.
        broken: Images that were not published, for their bytes are no message, with the reason.
        mismatched: Outputs that belong to no image.
        class_names: Classes as the node names them; None where no statistics came.
        last_error: Newest message of the node on rejected input; "" where nothing was rejected.
        playing_s: First publication to last mask, seconds.
        usage: Of the node; None where its process is not known.
        harness_percent: Processor that player and recorder took, 100 being a core.
    """

    sent: tuple[Sent, ...]
    arrived_ns: Mapping[int, int]
    taken_ms: tuple[float, ...]
    reports: Mapping[int, NodeCounts]
    stages_ms: Mapping[str, tuple[float, ...]]
    counts: NodeCounts
    broken: Mapping[int, str]
    mismatched: int
    class_names: tuple[str, ...] | None
    diagnostics: Mapping[str, str]
    last_error: str
    playing_s: float
    usage: Usage | None
    harness_percent: float


@dataclass
class _OutputCollector:
    """Store the outputs of the node, on the recorder's thread."""

    store: MessageStore
    arrived_ns: dict[int, int] = field(default_factory=dict)
    taken_ms: list[float] = field(default_factory=list)
    absolute: dict[int, NodeCounts] = field(default_factory=dict)
    stages_ms: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in NODE_STAGES})
    class_names: tuple[str, ...] | None = None

    def keep(self, index: int, arrival: Arrival) -> None:
        """Store one output of image `index`."""
        if arrival.topic == "statistics":
            self._note(index, read_statistics(arrival.message))
            return
        self.store.put(arrival.topic, index, arrival.message)
        if arrival.topic == "mask":
            self.arrived_ns.setdefault(index, arrival.received_ns or arrival.at_ns)
            if arrival.received_ns is not None:
                self.taken_ms.append((arrival.at_ns - arrival.received_ns) / 1e6)

    def _note(self, index: int, statistics: Any) -> None:
        self.absolute[index] = NodeCounts.of(statistics)
        for stage in NODE_STAGES:
            self.stages_ms[stage].append(getattr(statistics, f"{stage}_ms"))
        self.class_names = self.class_names or tuple(statistics.class_names)


def playback_of(scan: BagScan, rate: float, topic: str | None = None) -> Playback:
    """Return the player of a bag's images, which it publishes on `topic`; None takes their topic in the bag.

    Raises:
        EvaluationError: The images cannot be told apart by their stamps.
        BagError: The bag has no times to replay them by.
    """
    images = scan.images
    if images.blank and len(images) > 1:
        raise EvaluationError(
            f"Expected stamps on the images of '{scan.metadata.name}' for --live, got zero on all of them: the node's "
            "masks have the stamps of their images, and could not be told apart; evaluate the bag without --live."
        )
    if len(images) > 1 and images.bag_ns[0] == images.bag_ns[-1]:
        raise BagError(
            f"Expected times in the bag '{scan.metadata.name}' to replay it by, got one time for all {len(images)} "
            "images; evaluate it without --live."
        )
    name = scan.image.name
    arguments = [str(scan.path), "--topic", name, "--rate", repr(rate)]
    if topic is not None and topic != name:
        arguments += ["--ros-args", "-r", f"{name}:={topic}"]
    compressed = scan.image.type == COMPRESSED_IMAGE
    return Playback("player", "erfnet_ros.ros.harness.bag_player", tuple(arguments), topic or name, compressed)


def record(
    node: NodeConfig,
    playback: Playback,
    *,
    images: int,
    store: MessageStore,
    on_ready: Callable[[str], None],
    show: Callable[[int, int], None],
) -> Recording:
    """Play a bag to the node and record its outputs.

    Args:
        images: Images in the bag.
        store: Where masks and confidences go, still serialized.
        on_ready: Called with the node's engine, in words, when it has answered a first image.
        show: Called now and then with the numbers of images published and answered.

    Raises:
        ProcessError: Node or player ended, or did not do their part; says which and why.
    """
    collector = _OutputCollector(store)
    with ExitStack() as stack:
        harness = stack.enter_context(NodeHarness(node, playback, topics=COLLECTED, keep=collector.keep, raw=True))
        harness.wait_until_ready()
        on_ready(harness.recorder.engine())
        meter = _meter(harness)
        if meter is not None:
            stack.callback(meter.stop)
        processes = (psutil.Process(), psutil.Process(harness.player.pid))
        for process in processes:
            # The first call starts the measurement that the next one reads.
            process.cpu_percent()
        harness.play(range(images), lambda: show(harness.tracker.frames_in, harness.tracker.frames_out))
        harness_percent = sum(process.cpu_percent() for process in processes)
        usage = None if meter is None else meter.stop()
        harness.settle_counts()
    # The recorder's thread has ended with the harness: nothing is on its way any more.
    status = harness.recorder.diagnostics
    return Recording(
        sent=tuple(harness.tracker.sent),
        arrived_ns=collector.arrived_ns,
        taken_ms=tuple(collector.taken_ms),
        reports={index: counts - harness.counts_before for index, counts in collector.absolute.items()},
        stages_ms={stage: tuple(values) for stage, values in collector.stages_ms.items()},
        counts=harness.counts,
        broken=dict(harness.player.broken),
        mismatched=harness.tracker.mismatched,
        class_names=collector.class_names,
        diagnostics=harness.recorder.diagnostic_values(),
        last_error=status.message if status is not None and harness.counts.rejected else "",
        playing_s=harness.tracker.playing_s,
        usage=usage,
        harness_percent=harness_percent,
    )


def _meter(harness: NodeHarness) -> UsageMeter | None:
    found = harness.node.pid if harness.node is not None else find_node(os.environ.get("ROS_DOMAIN_ID", "0"))
    if found is None:
        return None
    try:
        return UsageMeter(found, harness.recorder.diagnostic_values().get(keys.DEVICE, "cpu"))
    except psutil.Error:
        # It has just ended, which the harness tells better, or belongs to another user.
        return None
