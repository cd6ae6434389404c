"""`erfnet evaluate-bag`: score bags offline, every image, as fast as the engine goes."""

from __future__ import annotations

import argparse
import logging
import shlex
import shutil
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.core.output_files import locked_output_folder
from erfnet_ros.evaluation.offline.output_bag import OUTPUT_BAGS, output_names
from erfnet_ros.evaluation.options import add_options, prepare

if TYPE_CHECKING:
    # PyTorch is slow to import, and --help does not need it.
    from erfnet_ros.core.progress import BagProgress
    from erfnet_ros.evaluation.offline.job import Job, JobResult
    from erfnet_ros.evaluation.settings import Settings


def main(arguments: Sequence[str]) -> int:
    """Run `erfnet evaluate-bag`; return its exit status: 0, or 1 where --require does not hold."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="erfnet: %(message)s")
    _check(options)
    return _run(options, shlex.join(["erfnet", "evaluate-bag", *arguments]))


def _run(options: argparse.Namespace, command: str) -> int:
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    preparation = prepare(options)

    from erfnet_ros.core.progress import BagProgress
    from erfnet_ros.evaluation.offline.aggregate import combine
    from erfnet_ros.evaluation.offline.progress_file import FOLDER
    from erfnet_ros.evaluation.report.build import write_reports
    from erfnet_ros.evaluation.results.provenance import provenance
    from erfnet_ros.evaluation.thresholds import check_classes
    from erfnet_ros.models import checkpoint as checkpoints

    settings = preparation.settings
    checkpoint = checkpoints.load(settings.checkpoint)
    check_classes(preparation.requirements, checkpoint.class_set)
    with locked_output_folder(options.out):
        with BagProgress(len(options.bags)) as progress:
            outcomes = _evaluate(options, _jobs(options, settings), progress)
        source = provenance(settings, outcomes[0].engine, checkpoint, command=command, started=started)
        result = combine(outcomes, source, options.out)
        status = write_reports(result, options.out, compare=preparation.compare, requirements=preparation.requirements)
        # The report is written: there is nothing left to resume.
        shutil.rmtree(options.out / FOLDER, ignore_errors=True)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="erfnet evaluate-bag",
        description="Segment the images of rosbags, score the masks by their ground truth, and write a report. "
        "A run that was stopped resumes where it was.",
    )
    add_options(parser)
    offline = parser.add_argument_group("offline")
    offline.add_argument("--jobs", type=int, default=1, metavar="N", help="bags at once, a process each (default: 1)")
    offline.add_argument("--dask", metavar="ADDRESS", help="evaluate on the workers of this Dask scheduler")
    offline.add_argument("--no-resume", action="store_true", help="start over, and do not resume a stopped run")
    return parser


def _check(options: argparse.Namespace) -> None:
    if options.live:
        raise ParameterError("Expected --live to be written out and given to 'erfnet evaluate-bag'; see its --help.")
    if options.jobs < 1:
        raise ParameterError(f"Expected --jobs of 1 or more, got {options.jobs}.")
    if options.dask is not None and options.jobs != 1:
        raise ParameterError("Expected --jobs or --dask, got both; the cluster decides how many bags run at once.")


def _jobs(options: argparse.Namespace, settings: Settings) -> list[Job]:
    from erfnet_ros.evaluation.offline.job import Job
    from erfnet_ros.evaluation.offline.output_bag import OutputPlan

    folder = options.out.resolve()
    jobs = []
    for bag, name in zip(options.bags, output_names(options.bags), strict=True):
        plan = OutputPlan(folder / OUTPUT_BAGS / name, options.storage) if options.output_bag else None
        jobs.append(Job(bag.resolve(), settings, folder, plan, not options.no_resume))
    return jobs


def _evaluate(options: argparse.Namespace, jobs: Sequence[Job], progress: BagProgress) -> list[JobResult]:
    from erfnet_ros.evaluation.offline.dask_workers import run_here, run_on_dask, run_processes

    if options.dask is not None:
        return run_on_dask(jobs, options.dask, progress.show)
    if options.jobs > 1 and len(jobs) > 1:
        return run_processes(jobs, options.jobs, progress.show)
    return run_here(jobs, progress.show)
