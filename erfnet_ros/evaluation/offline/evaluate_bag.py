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
from erfnet_ros.evaluation.inputs.bag_scan import Survey
from erfnet_ros.evaluation.offline.output_bag import OutputBag, OutputPlan
from erfnet_ros.evaluation.offline.progress_file import EVERY, Journal
from erfnet_ros.evaluation.results.accumulator import Answer, Tally
from erfnet_ros.evaluation.settings import Settings
from erfnet_ros.inference.segmenter import Segmenter

_DEPTH = 4
"""Images that wait before the engine, and masks that wait behind it."""


class _Clock:
    """Keep account of time, processor and memory in a tally that may have some already."""

    def __init__(self, tally: Tally, device: str) -> None:
        self._tally, self._device = tally, device
        self._process = psutil.Process()
        self._seconds, self._cpu_seconds = tally.seconds, tally.cpu_seconds
        self._start_s, self._start_cpu_s = time.perf_counter(), self._cpu_s()

    def read(self) -> None:
        tally = self._tally
        tally.seconds = self._seconds + time.perf_counter() - self._start_s
        tally.cpu_seconds = self._cpu_seconds + self._cpu_s() - self._start_cpu_s
        tally.memory_bytes = max(tally.memory_bytes, self._process.memory_info().rss)
        if self._device.startswith("cuda"):
            import torch

            tally.gpu_memory_bytes = max(tally.gpu_memory_bytes, torch.cuda.max_memory_reserved(self._device))

    def _cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def evaluate_bag(
    survey: Survey,
    segmenter: Segmenter,
    settings: Settings,
    journal: Journal | None = None,
    output: OutputPlan | None = None,
    advance: Callable[[int], None] = lambda done: None,
) -> Tally:
    """Segment every image of a bag and hold it against its truth.

    Args:
        survey: Of the bag.
        segmenter: What segments.
        settings: Threshold and whether outlines are scored.
        journal: Where the progress is kept and taken up again; None keeps none.
        output: Where the output bag goes; None writes none.
        advance: Told how many images are done, from another thread.

    Raises:
        BagError: The output bag cannot be written.
        EngineError: The device ran out of memory.
        EvaluationError: No image can be read, or no truth can be used.
    """
    tally = _begun(survey, segmenter, settings, journal)
    advance(len(tally.records))
    if len(tally.records) < survey.facts.frames:
        clock = _Clock(tally, segmenter.engine.device)
        # A bag cannot be written on once it was cut off, so with an output bag only whole bags are written down.
        _run(survey, segmenter, settings, tally, clock, None if output else journal, output, advance)
        if journal is not None:
            journal.save(tally)
    _check(tally, survey)
    return tally


def _begun(survey: Survey, segmenter: Segmenter, settings: Settings, journal: Journal | None) -> Tally:
    """Return a tally that goes on from the journal, or a new one where there is nothing to go on from."""
    content = None if journal is None else journal.read()
    if content is not None:
        tally = Tally(segmenter.class_set, survey.facts.frames, settings.boundaries)
        try:
            tally.restore(content)
            return tally
        except ErfnetError:
            # A damaged journal costs time, not the result.
            pass
    return Tally(segmenter.class_set, survey.facts.frames, settings.boundaries)


def _run(
    survey: Survey,
    segmenter: Segmenter,
    settings: Settings,
    tally: Tally,
    clock: _Clock,
    journal: Journal | None,
    output: OutputPlan | None,
    advance: Callable[[int], None],
) -> None:
    @contextmanager
    def scoring() -> Iterator[Callable[[tuple[Step, Answer | None]], None]]:
        with _opened(survey, segmenter, settings, output) as writer:

            def score(item: tuple[Step, Answer | None]) -> None:
                step, answer = item
                if writer is not None:
                    writer.add(step, answer)
                if step.frame is None:
                    return
                tally.add(step.frame, answer)
                clock.read()
                if journal is not None and len(tally.records) % EVERY == 0:
                    journal.save(tally)
                advance(len(tally.records))

            tally.notes += () if writer is None else writer.notes
            yield score

    def steps() -> Iterator[Step]:
        return read_steps(survey, segmenter.class_set, len(tally.records), output is not None)

    with Prefetcher(steps, _DEPTH) as read, BackgroundWorker(scoring, _DEPTH) as scored:
        for step in read:
            scored.put(_answered(step, segmenter, settings.threshold))


@contextmanager
def _opened(
    survey: Survey, segmenter: Segmenter, settings: Settings, output: OutputPlan | None
) -> Iterator[OutputBag | None]:
    """Open the output bag, where there is to be one."""
    if output is None:
        yield None
        return
    with BagReader(survey.path) as original:
        writer = OutputBag(output, original, segmenter.class_set, settings.threshold)
    with writer:
        yield writer


def _answered(step: Step, segmenter: Segmenter, threshold: float) -> tuple[Step, Answer | None]:
    frame = step.frame
    if frame is None or frame.rgb is None:
        return step, None
    try:
        segmentation = segmenter(frame.rgb)
    except ImageError as error:
        return replace(step, frame=replace(frame, rgb=None, fault=str(error))), None
    return step, Answer(segmentation, segmentation.mask(threshold))


def _check(tally: Tally, survey: Survey) -> None:
    """Refuse what would come to a result without a number in it.

    Raises:
        EvaluationError: With the first reason.
    """
    name = survey.facts.name
    if not any(record.reason is None for record in tally.records):
        raise EvaluationError(
            f"Expected images that can be read on '{survey.image.name}' of '{name}', got {len(tally.records)} that "
            f"cannot; the first: {tally.records[0].reason}"
        )
    if survey.matches is not None and not tally.score.frames:
        reasons = tally.refusals.most_common(1)
        why = f"; the first: {reasons[0][0]}" if reasons else ": those that match belong to unreadable images."
        raise EvaluationError(
            f"Expected truth that can be used for '{name}', got none of {survey.matches.count} that match{why}"
        )
