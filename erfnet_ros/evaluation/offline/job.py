"""Evaluation job: one bag, evaluated in any process on any machine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.evaluation.inputs.bag_scan import BagScan, scan_bag
from erfnet_ros.evaluation.offline.evaluate_bag import BagEvaluation, evaluate_bag
from erfnet_ros.evaluation.offline.output_bag import OutputPlan
from erfnet_ros.evaluation.offline.progress_file import open_progress_file
from erfnet_ros.evaluation.results.accumulator import Accumulator
from erfnet_ros.evaluation.results.provenance import EngineMetadata, checkpoint_sha256, engine_metadata
from erfnet_ros.evaluation.settings import Settings
from erfnet_ros.inference.segmenter import Segmenter


@dataclass(frozen=True)
class Job:
    """One bag to be evaluated.

    Attributes:
        bag: Path of the bag, absolute.
        folder: Output folder of the run, absolute; progress is kept there, where the machine has it.
        output: The output bag; None for none.
        resumes: Whether the progress of an earlier run is taken up.
        threads: Threads of the network; None leaves that to PyTorch.
    """

    bag: Path
    settings: Settings
    folder: Path
    output: OutputPlan | None
    resumes: bool
    threads: int | None = None


@dataclass(frozen=True)
class JobResult:
    """Result of one bag, which can be pickled."""

    scan: BagScan
    engine: EngineMetadata
    accumulator: Accumulator


# One network a process: a second one would take memory for nothing, and engines are not made for two threads.
_alone = threading.Lock()
_segmenters: dict[Any, Segmenter] = {}


def run_job(job: Job, advance: Callable[[int, int], None] = lambda done, total: None) -> JobResult:
    """Evaluate a bag.

    Args:
        advance: Called with the finished images and all images, from another thread.
    """
    with _alone, BagReader(job.bag) as reader:
        segmenter = _segmenter(job)
        engine = engine_metadata(segmenter, job.settings.checkpoint)
        found = scan_bag(reader, job.settings, segmenter.class_set)
        total = found.metadata.frames
        if job.output is not None and not job.folder.is_dir():
            raise EvaluationError(
                f"Expected the output folder '{job.folder}' to be there for the output bag, got a machine without it; "
                "use a folder that all workers share."
            )
        progress_file = None
        if job.folder.is_dir():
            progress_file = open_progress_file(job.folder, found, job.settings, engine=engine, output=job.output)
            if not job.resumes:
                progress_file.path.unlink(missing_ok=True)
        evaluation = BagEvaluation(found, segmenter, job.settings, progress_file, job.output)
        accumulator = evaluate_bag(evaluation, lambda done: advance(done, total))
    return JobResult(found, engine, accumulator)


def _segmenter(job: Job) -> Segmenter:
    settings = job.settings
    # The file may have been replaced while a worker of a cluster lived on.
    key = (settings, checkpoint_sha256(settings.checkpoint))
    if job.threads is not None:
        import torch

        # For a kept segmenter too: labels depend on the number of threads.
        torch.set_num_threads(job.threads)
    if key not in _segmenters:
        for other in _segmenters.values():
            other.close()
        _segmenters.clear()
        _segmenters[key] = Segmenter(
            settings.checkpoint,
            engine=settings.engine,
            device=settings.device,
            precision=settings.precision,
            input_size=settings.input_size,
        )
    return _segmenters[key]
