"""Decoded images of a bag with their ground truth, and the messages between them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import ErfnetError
from erfnet_ros.core.image import contiguous_rgb, to_array
from erfnet_ros.core.image_decoding import compressed_to_array
from erfnet_ros.data.bags.reader import BagReader, Message
from erfnet_ros.evaluation.inputs.bag_scan import BagScan
from erfnet_ros.evaluation.inputs.ground_truth import GroundTruth

_PASSED_BYTES = 16_000_000
"""So much of other topics is handed on at once, where no image comes in between."""


@dataclass(frozen=True)
class BagFrame:
    """One image of a bag.

    Attributes:
        index: On its topic, from 0.
        stamp_ns: Of its header; the bag's time where all stamps are zero.
        header: As rosbags decoded it; None where the message cannot be decoded.
        rgb: (H, W, 3) uint8 RGB, C-contiguous; None where it cannot be decoded.
        fault: Why it cannot.
        ground_truth: (H, W) uint8 class ids, void 255; None where there is none that can be used.
        ground_truth_fault: Why its ground truth cannot be used; None where it can, and where there is none.
        decode_ms: Time it took to decode image and ground truth, milliseconds.
    """

    index: int
    stamp_ns: int
    time_ns: int
    header: Any
    rgb: Pixels | None
    fault: str | None
    ground_truth: Pixels | None
    ground_truth_fault: str | None
    decode_ms: float


@dataclass(frozen=True)
class Step:
    """Some messages of the bag in its order, and the image that is the last of them, if one is."""

    passed: tuple[Message, ...]
    frame: BagFrame | None


def read_steps(scan: BagScan, class_set: ClassSet, *, first: int, everything: bool) -> Iterator[Step]:
    """Read a bag image by image; what cannot be decoded is a frame with a fault.

    Args:
        scan: Of the bag, which is opened anew.
        first: Images before this index are passed over.
        everything: Whether the messages of all topics come along, serialized.
    """
    with BagReader(scan.path) as reader:
        ground_truths = scan.open_ground_truth(reader, class_set, first)
        index, passed, size = 0, [], 0
        for message in reader.messages(None if everything else [scan.image.name]):
            is_image = message.topic == scan.image.name
            index += is_image
            if index <= first and is_image:
                continue
            if everything:
                passed.append(message)
                size += len(message.data)
            if is_image:
                yield Step(tuple(passed), _frame(reader, message, index - 1, scan=scan, ground_truths=ground_truths))
            elif size > _PASSED_BYTES:
                yield Step(tuple(passed), None)
            else:
                continue
            passed, size = [], 0
        if passed:
            yield Step(tuple(passed), None)


def _frame(
    reader: BagReader, message: Message, index: int, *, scan: BagScan, ground_truths: GroundTruth | None
) -> BagFrame:
    start_s = time.perf_counter()
    header, rgb, fault, ground_truth, ground_truth_fault = None, None, None, None, None
    try:
        image = reader.decode(message)
        header = image.header
        rgb = contiguous_rgb(to_array(image) if hasattr(image, "encoding") else compressed_to_array(image))
        # A view of the message's bytes cannot be written to, which PyTorch warns of.
        rgb = rgb if rgb.flags.writeable else rgb.copy()
    except ErfnetError as error:
        fault = str(error)
    belongs = scan.ground_truth_of(index)
    if ground_truths is not None and belongs is not None:
        try:
            ground_truth = ground_truths[belongs]
            if rgb is not None and ground_truth.shape != rgb.shape[:2]:
                ground_truth_fault = (
                    f"Expected ground truth of the image's size, {rgb.shape[1]}x{rgb.shape[0]}, "
                    f"got {ground_truth.shape[1]}x{ground_truth.shape[0]}."
                )
                ground_truth = None
        except ErfnetError as error:
            ground_truth_fault = str(error)
    decode_ms = 1e3 * (time.perf_counter() - start_s)
    stamp_ns = int(scan.images.stamps_ns[index])
    return BagFrame(index, stamp_ns, message.time_ns, header, rgb, fault, ground_truth, ground_truth_fault, decode_ms)
