"""Streaming accuracy: the newest mask that has arrived at each image's time is scored, so latency costs accuracy.

Source: Li, Wang, Ramanan 2020, "Towards Streaming Perception", section 3: the ground truth of a time is compared
with the last output that was there by then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.evaluation.metrics.segmentation_score import Score


def latest_arrived(event_times_ns: Sequence[int], arrivals_ns: Sequence[int]) -> list[int | None]:
    """Return for each event the mask that had arrived last by then.

    Args:
        event_times_ns: In any order, on the clock of the arrivals.
        arrivals_ns: When each mask arrived, in any order.

    Returns:
        For each event an index into `arrivals_ns`; None where nothing had arrived yet. A mask that arrives at the very
        time of the event counts as there; of masks that arrived at once the later in `arrivals_ns` counts.
    """
    arrivals = np.asarray(arrivals_ns, np.int64)
    order = np.argsort(arrivals, kind="stable")
    places = np.searchsorted(arrivals[order], np.asarray(event_times_ns, np.int64), side="right") - 1
    return [int(order[place]) if place >= 0 else None for place in places]


def streaming_score(
    class_set: ClassSet,
    *,
    event_times_ns: Sequence[int],
    ground_truth_at: Callable[[int], Pixels],
    arrivals_ns: Sequence[int],
    labels_at: Callable[[int], Pixels],
) -> Score:
    """Score the newest mask that had arrived when the image of each ground truth was published.

    Where none had arrived yet, or it is of another size, every pixel counts as "no answer", which is against its true
    class.

    Args:
        event_times_ns: When the image of each ground truth was published.
        ground_truth_at: Returns ground truth by index into `event_times_ns`, (H, W) uint8, void 255; called once
            each, in order.
        arrivals_ns: When each mask arrived, on the same clock.
        labels_at: Returns a mask by index into `arrivals_ns`, (H, W) uint8, void 255.
    """
    score = Score(class_set, boundaries=False)
    for index, mask in enumerate(latest_arrived(event_times_ns, arrivals_ns)):
        ground_truth = ground_truth_at(index)
        labels = None if mask is None else labels_at(mask)
        if labels is None or labels.shape != ground_truth.shape:
            labels = np.full(ground_truth.shape, VOID, np.uint8)
        score.add(ground_truth, labels)
    return score
