"""Evaluation of one bag: images are prefetched for the engine, and its predictions scored in the background."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType

import psutil

from erfnet_ros.core.errors import ErfnetError, EvaluationError, ImageError
from erfnet_ros.core.pipelining import BackgroundWorker, Prefetcher, StoppedError
from erfnet_ros.evaluation.inputs.bag_frames import Step, read_steps
from erfnet_ros.evaluation.inputs.bag_scan import BagScan
from erfnet_ros.evaluation.offline.output_bag import OutputBag, OutputPlan
from erfnet_ros.evaluation.offline.progress_file import EVERY, ProgressFile
from erfnet_ros.evaluation.results.accumulator import Accumulator, Prediction, Resources
from erfnet_ros.evaluation.settings import Settings
from erfnet_ros.inference.segmenter import Segmenter

_DEPTH = 4
"""Images that wait before the engine, and masks that wait behind it."""


@dataclass(frozen=True)
class BagEvaluation:
    """One bag to evaluate.

    Attributes:
        progress_file: Where the progress is saved and resumed from; None saves none.
        output: Where the output bag goes; None writes none.
    """

    scan: BagScan
    segmenter: Segmenter
    settings: Settings
    progress_file: ProgressFile | None = None
    output: OutputPlan | None = None


def evaluate_bag(evaluation: BagEvaluation, advance: Callable[[int], None] = lambda done: None) -> Accumulator:
    """Segment every image of a bag and compare it with its ground truth.

    Args:
        advance: Called with the number of finished images, from another thread.
    """
    scan, segmenter = evaluation.scan, evaluation.segmenter
    accumulator = _resumed(evaluation)
    first = len(accumulator.records)
    advance(first)
    if first < scan.metadata.frames:
        with (
            Prefetcher(
                lambda: read_steps(scan, segmenter.class_set, first=first, everything=evaluation.output is not None),
                _DEPTH,
            ) as steps,
            BackgroundWorker(lambda: _Scorer(evaluation, accumulator, advance), _DEPTH) as scorer,
        ):
            for step in steps:
                scorer.put(_predicted(step, segmenter, evaluation.settings.threshold))
        if evaluation.progress_file is not None:
            evaluation.progress_file.save(accumulator)
    _check(accumulator, scan)
    return accumulator


def _resumed(evaluation: BagEvaluation) -> Accumulator:
    """Return an accumulator that continues from the progress file, or an empty one without usable progress."""
    content = None if evaluation.progress_file is None else evaluation.progress_file.read()
    class_set, frames = evaluation.segmenter.class_set, evaluation.scan.metadata.frames
    accumulator = Accumulator(class_set, frames, evaluation.settings.boundaries)
    if content is not None:
        try:
            accumulator.restore(content)
        except ErfnetError:
            # A damaged progress file costs time, not the result.
            return Accumulator(class_set, frames, evaluation.settings.boundaries)
    return accumulator


class _Scorer:
    """Score predictions in the order of the bag, and save progress; used in the background worker's thread alone."""

    def __init__(self, evaluation: BagEvaluation, accumulator: Accumulator, advance: Callable[[int], None]) -> None:
        self._evaluation, self._accumulator, self._advance = evaluation, accumulator, advance
        self._clock = _Clock(accumulator.resources, evaluation.segmenter.engine.device)
        # A bag that was cut off cannot be continued, so with an output bag only whole bags are saved.
        self._progress_file = evaluation.progress_file if evaluation.output is None else None
        self._writer: OutputBag | None = None
        self._stack = ExitStack()

    def __enter__(self) -> _Scorer:
        scan, output, segmenter = self._evaluation.scan, self._evaluation.output, self._evaluation.segmenter
        if output is not None:
            threshold = self._evaluation.settings.threshold
            self._writer = self._stack.enter_context(
                OutputBag(output, scan.path, segmenter.class_set, threshold=threshold)
            )
            self._accumulator.notes += self._writer.notes
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)
        # After an error in the scoring itself a frame may be counted in part.
        if kind is StoppedError and self._progress_file is not None:
            self._progress_file.save(self._accumulator)

    def __call__(self, item: tuple[Step, Prediction | None]) -> None:
        step, prediction = item
        if self._writer is not None:
            self._writer.add(step, prediction)
        if step.frame is None:
            return
        self._accumulator.add(step.frame, prediction)
        self._clock.read()
        done = len(self._accumulator.records)
        if self._progress_file is not None and done % EVERY == 0:
            self._progress_file.save(self._accumulator)
        self._advance(done)


class _Clock:
    """Add time, processor time and memory of this run to those of an earlier one."""

    def __init__(self, resources: Resources, device: str) -> None:
        self._resources, self._before, self._device = resources, replace(resources), device
        self._process = psutil.Process()
        self._start_s, self._start_cpu_s = time.perf_counter(), self._cpu_s()

    def read(self) -> None:
        found, before = self._resources, self._before
        found.seconds = before.seconds + time.perf_counter() - self._start_s
        found.cpu_seconds = before.cpu_seconds + self._cpu_s() - self._start_cpu_s
        found.memory_bytes = max(found.memory_bytes, self._process.memory_info().rss)
        if self._device.startswith("cuda"):
            import torch

            found.gpu_memory_bytes = max(found.gpu_memory_bytes, torch.cuda.max_memory_reserved(self._device))

    def _cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def _predicted(step: Step, segmenter: Segmenter, threshold: float) -> tuple[Step, Prediction | None]:
    frame = step.frame
    if frame is None or frame.rgb is None:
        return step, None
    try:
        segmentation = segmenter(frame.rgb)
    except ImageError as error:
        return replace(step, frame=replace(frame, rgb=None, fault=str(error))), None
    return step, Prediction(segmentation, segmentation.mask(threshold))


def _check(accumulator: Accumulator, scan: BagScan) -> None:
    """Refuse what would come to a result without a number in it."""
    name = scan.metadata.name
    if not any(record.reason is None for record in accumulator.records):
        raise EvaluationError(
            f"Expected images that can be read on '{scan.image.name}' of '{name}', got {len(accumulator.records)} that "
            f"cannot; the first: {accumulator.records[0].reason}"
        )
    if scan.matches is not None and not accumulator.score.frames:
        reasons = accumulator.refusals.most_common(1)
        why = f"; the first: {reasons[0][0]}" if reasons else ": those that match belong to unreadable images."
        raise EvaluationError(
            f"Expected ground truth that can be used for '{name}', got none of {scan.matches.count} that match{why}"
        )
