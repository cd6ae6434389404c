"""Output bag: the original topics and the masks, to be played in RViz and Foxglove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import BagError, EvaluationError
from erfnet_ros.data.bags import messages
from erfnet_ros.data.bags.message_types import IMAGE, LABEL_INFO
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.data.bags.writer import BagWriter
from erfnet_ros.evaluation.inputs.bag_frames import Step
from erfnet_ros.evaluation.results.accumulator import Prediction
from erfnet_ros.visualization.overlay import blend

NAMESPACE = "/segmentation"

_MASK, _CONFIDENCE, _OVERLAY, _LABEL_INFO = (
    f"{NAMESPACE}/{name}" for name in ("mask", "confidence", "overlay", "label_info")
)
_ALPHA = 0.5


@dataclass(frozen=True)
class OutputPlan:
    """Where and how the output bag is written.

    Attributes:
        path: The folder to be; a bag that is there is replaced.
        storage: mcap or sqlite3.
    """

    path: Path
    storage: str


class OutputBag:
    """A bag that holds all that the original holds, and mask, confidence, overlay and label_info under /segmentation.

    As a context manager it is there once the block has ended without an error.

    Args:
        threshold: Confidence below which pixels are void in the mask, 0..1.

    Attributes:
        notes: What could not be passed on, a sentence each.
    """

    def __init__(self, plan: OutputPlan, bag: Path, class_set: ClassSet, *, threshold: float) -> None:
        self._palette = class_set.palette()
        self._types: dict[str, str] = {}
        self.notes: tuple[str, ...] = ()
        with BagReader(bag) as original:
            self._open(plan, original, class_set=class_set, threshold=threshold)

    def _open(self, plan: OutputPlan, original: BagReader, *, class_set: ClassSet, threshold: float) -> None:
        taken = sorted({_MASK, _CONFIDENCE, _OVERLAY, _LABEL_INFO} & set(original.topics))
        if taken:
            raise EvaluationError(
                f"Expected a bag without {', '.join(taken)} for --output-bag, got '{original.path}', which has them; "
                "take them out of it, or evaluate without --output-bag."
            )
        self._writer = BagWriter(plan.path, plan.storage, force=True)
        try:
            self._declare(original)
            header = messages.header(original.start_ns, "")
            message = messages.label_info(class_set, header, threshold)
            self._writer.write(_LABEL_INFO, original.start_ns, message)
        except BaseException:
            self._writer.abort()
            raise

    def __enter__(self) -> OutputBag:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, traceback)

    def add(self, step: Step, answer: Prediction | None) -> None:
        """Write messages of the original as they are, and behind the image what the network said of it."""
        for message in step.passed:
            if self._types.get(message.topic) == message.type:
                self._writer.write(message.topic, message.time_ns, message.data)
        frame = step.frame
        if frame is None or answer is None or frame.rgb is None:
            return
        overlay = blend(frame.rgb, answer.labels, self._palette, _ALPHA)
        outputs = (
            (_MASK, answer.labels, "mono8"),
            (_CONFIDENCE, answer.segmentation.confidence, "mono8"),
            (_OVERLAY, overlay, "rgb8"),
        )
        for topic, pixels, encoding in outputs:
            self._writer.write(topic, frame.time_ns, messages.image(pixels, encoding, frame.header))

    def _declare(self, original: BagReader) -> None:
        left_out = []
        for declaration in original.declarations:
            if declaration.type != original.topics[declaration.topic].type:
                continue
            try:
                self._writer.add_declared(declaration)
                self._types[declaration.topic] = declaration.type
            except BagError:
                # Older sqlite3 bags do not say what their own types are, and mcap has to.
                left_out.append(f"{declaration.topic} ({declaration.type})")
        if left_out:
            self.notes = (f"The output bag lacks {', '.join(left_out)}: the bag does not define the type.",)
        for topic in (_MASK, _CONFIDENCE, _OVERLAY):
            self._writer.add(topic, IMAGE)
        self._writer.add(_LABEL_INFO, LABEL_INFO)


OUTPUT_BAGS = "bags"
"""Folder within the output folder."""


def output_names(bags: Sequence[Path]) -> list[str]:
    """Return a folder name for each output bag: that of the bag, numbered where several are called alike."""
    names: list[str] = []
    for bag in bags:
        stem = bag.resolve().name.removesuffix(".zstd").removesuffix(".mcap").removesuffix(".db3")
        name, count = stem, 1
        while name in names:
            count += 1
            name = f"{stem}_{count}"
        names.append(name)
    return names
