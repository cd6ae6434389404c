"""One bag, image by image, through the engine: reading ahead of it and scoring behind it, each in its own thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import psutil

from erfnet_ros.core.errors import ErfnetError, EvaluationError, ImageError
from erfnet_ros.core.pipelining import BackgroundWorker, Prefetcher
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.evaluation.inputs.bag_frames import Step, read_steps
from erfnet_ros.evaluation.inputs.bag_scan import BagScan
from erfnet_ros.evaluation.offline.output_bag import OutputBag, OutputPlan
from erfnet_ros.evaluation.offline.progress_file import EVERY, ProgressFile
from erfnet_ros.evaluation.results.accumulator import Accumulator, Prediction
from erfnet_ros.evaluation.settings import Settings
from erfnet_ros.inference.segmenter import Segmenter

_DEPTH = 4
"""Images that wait before the engine, and masks that wait behind it."""


class _Clock:
    """Keep account of time, processor and memory in an accumulator that may have some already."""

    def __init__(self, accumulator: Accumulator, device: str) -> None:
        self._accumulator, self._device = accumulator, device
        self._process = psutil.Process()
        self._seconds, self._cpu_seconds = accumulator.seconds, accumulator.cpu_seconds
        self._start_s, self._start_cpu_s = time.perf_counter(), self._cpu_s()

    def read(self) -> None:
        accumulator = self._accumulator
        accumulator.seconds = self._seconds + time.perf_counter() - self._start_s
        accumulator.cpu_seconds = self._cpu_seconds + self._cpu_s() - self._start_cpu_s
        accumulator.memory_bytes = max(accumulator.memory_bytes, self._process.memory_info().rss)
        if self._device.startswith("cuda"):
            import torch

            accumulator.gpu_memory_bytes = max(
                accumulator.gpu_memory_bytes, torch.cuda.max_memory_reserved(self._device)
            )

    def _cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def evaluate_bag(
    scan: BagScan,
    segmenter: Segmenter,
    settings: Settings,
    progress_file: ProgressFile | None = None,
    output: OutputPlan | None = None,
    advance: Callable[[int], None] = lambda done: None,
) -> Accumulator:
    """Segment every image of a bag and hold it against its truth.

    Args:
        scan: Of the bag.
        segmenter: What segments.
        settings: Threshold and whether outlines are scored.
        progress_file: Where the progress is kept and taken up again; None keeps none.
        output: Where the output bag goes; None writes none.
        advance: Told how many images are done, from another thread.

    Raises:
        BagError: The output bag cannot be written.
        EngineError: The device ran out of memory.
        EvaluationError: No image can be read, or no truth can be used.
    """
    accumulator = _begun(scan, segmenter, settings, progress_file)
    advance(len(accumulator.records))
    if len(accumulator.records) < scan.metadata.frames:
        clock = _Clock(accumulator, segmenter.engine.device)
        # A bag cannot be written on once it was cut off, so with an output bag only whole bags are written down.
        _run(scan, segmenter, settings, accumulator, clock, None if output else progress_file, output, advance)
        if progress_file is not None:
            progress_file.save(accumulator)
    _check(accumulator, scan)
    return accumulator


def _begun(scan: BagScan, segmenter: Segmenter, settings: Settings, progress_file: ProgressFile | None) -> Accumulator:
    """Return an accumulator that goes on from the progress file, or a new one where there is nothing to go on from."""
    content = None if progress_file is None else progress_file.read()
    if content is not None:
        accumulator = Accumulator(segmenter.class_set, scan.metadata.frames, settings.boundaries)
        try:
            accumulator.restore(content)
            return accumulator
        except ErfnetError:
            # A damaged progress file costs time, not the result.
            pass
    return Accumulator(segmenter.class_set, scan.metadata.frames, settings.boundaries)


def _run(
    scan: BagScan,
    segmenter: Segmenter,
    settings: Settings,
    accumulator: Accumulator,
    clock: _Clock,
    progress_file: ProgressFile | None,
    output: OutputPlan | None,
    advance: Callable[[int], None],
) -> None:
    @contextmanager
    def scoring() -> Iterator[Callable[[tuple[Step, Prediction | None]], None]]:
        with _opened(scan, segmenter, settings, output) as writer:

            def score(item: tuple[Step, Prediction | None]) -> None:
                step, answer = item
                if writer is not None:
                    writer.add(step, answer)
                if step.frame is None:
                    return
                accumulator.add(step.frame, answer)
                clock.read()
                if progress_file is not None and len(accumulator.records) % EVERY == 0:
                    progress_file.save(accumulator)
                advance(len(accumulator.records))

            accumulator.notes += () if writer is None else writer.notes
            yield score

    def steps() -> Iterator[Step]:
        return read_steps(scan, segmenter.class_set, len(accumulator.records), output is not None)

    with Prefetcher(steps, _DEPTH) as read, BackgroundWorker(scoring, _DEPTH) as scored:
        for step in read:
            scored.put(_answered(step, segmenter, settings.threshold))


@contextmanager
def _opened(
    scan: BagScan, segmenter: Segmenter, settings: Settings, output: OutputPlan | None
) -> Iterator[OutputBag | None]:
    """Open the output bag, where there is to be one."""
    if output is None:
        yield None
        return
    with BagReader(scan.path) as original:
        writer = OutputBag(output, original, segmenter.class_set, settings.threshold)
    with writer:
        yield writer


def _answered(step: Step, segmenter: Segmenter, threshold: float) -> tuple[Step, Prediction | None]:
    frame = step.frame
    if frame is None or frame.rgb is None:
        return step, None
    try:
        segmentation = segmenter(frame.rgb)
    except ImageError as error:
        return replace(step, frame=replace(frame, rgb=None, fault=str(error))), None
    return step, Prediction(segmentation, segmentation.mask(threshold))


def _check(accumulator: Accumulator, scan: BagScan) -> None:
    """Refuse what would come to a result without a number in it.

    Raises:
        EvaluationError: With the first reason.
    """
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
            f"Expected truth that can be used for '{name}', got none of {scan.matches.count} that match{why}"
        )
