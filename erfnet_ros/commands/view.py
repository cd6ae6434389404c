"""Command `erfnet view`: segments a bag, folder or video and shows it in the Rerun viewer, or writes its file."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import ImageError, ParameterError, SourceError
from erfnet_ros.core.output_files import atomic_output
from erfnet_ros.core.printable_text import printable
from erfnet_ros.core.progress import tracked
from erfnet_ros.inference.factory import add_engine_options

if TYPE_CHECKING:
    # PyTorch and Rerun are slow to import, and --help needs neither.
    from erfnet_ros.core.class_set import ClassSet
    from erfnet_ros.data.frame_sources import Source
    from erfnet_ros.inference.segmenter import Segmenter
    from erfnet_ros.visualization.rerun_recording import RerunRecording

_PORT = 9090


def main(arguments: Sequence[str]) -> int:
    """Segment a source and show or write it; return the exit status: 0, or 1 where frames could not be segmented.

    Raises:
        ErfnetError: The source, the checkpoint or the output cannot be used.
    """
    options = _parser().parse_args(arguments)
    if options.live:
        raise ParameterError("Expected --live to be written out and given to 'erfnet view'; see its --help.")
    from erfnet_ros.inference.segmenter import Segmenter
    from erfnet_ros.visualization.rerun_recording import RerunRecording

    segmenter = Segmenter(options.checkpoint, engine=options.engine, device=options.device, precision=options.precision)
    try:
        source = _open(options, segmenter.class_set)
        with ExitStack() as stack:
            recording = stack.enter_context(
                RerunRecording(segmenter.class_set, with_ground_truth=source.with_ground_truth)
            )
            address = open_output(options, recording, stack)
            skipped = _log_frames(source, segmenter, recording)
            if address:
                print(f"All frames are there: {address}\nCtrl-C ends the server.", flush=True)
                wait_for_interrupt()
    finally:
        segmenter.close()
    print(f"{source.count - skipped} of {source.count} frames shown" + (f" in {options.out}" if options.out else ""))
    return 1 if skipped else 0


def open_output(options: argparse.Namespace, recording: RerunRecording, stack: ExitStack) -> str | None:
    """Let a recording write `--out`, or serve it on `--port`; print and return the address of its page."""
    if options.out is not None:
        recording.save(str(stack.enter_context(atomic_output(options.out))))
        return None
    address = recording.serve(options.port)
    print(f"Open {address}", flush=True)
    return address


def wait_for_interrupt() -> None:
    """Wait for Ctrl-C, which ends the command as it should."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add where the frames are shown, and --live."""
    parser.add_argument("-o", "--out", type=Path, metavar="FILE.rrd", help="write a file for 'rerun FILE.rrd' instead")
    parser.add_argument(
        "--port", type=_port, default=_PORT, help="of the page; the next one carries the data (default: %(default)s)"
    )
    parser.add_argument("--live", action="store_true", help="show a running node's outputs (needs ROS 2)")


@dataclass(frozen=True)
class _ViewFrame:
    """One frame of any source; `fault` says why it has no image, or no ground truth."""

    stamp_ns: int | None
    rgb: Pixels | None
    ground_truth: Pixels | None
    fault: str | None = None


@dataclass(frozen=True)
class _ViewSource:
    """Frames of a bag, folder or video, to be read once."""

    count: int
    with_ground_truth: bool
    frames: Iterator[_ViewFrame]


def _open(options: argparse.Namespace, class_set: ClassSet) -> _ViewSource:
    """Open a bag where the source is one, else whatever `open_source` reads."""
    from erfnet_ros.data.bags.storage_folder import is_bag
    from erfnet_ros.data.frame_sources import open_source

    if is_bag(Path(options.source)):
        return _open_bag(options, class_set)
    source = open_source(options.source, class_set, frames=options.frames)
    return _ViewSource(len(source), source.has_ground_truth, _read_source(source))


def _read_source(source: Source) -> Iterator[_ViewFrame]:
    for index in range(len(source)):
        try:
            frame = source[index]
        except SourceError as error:
            yield _ViewFrame(None, None, None, str(error))
        else:
            yield _ViewFrame(None, frame.rgb, frame.ground_truth)


def _open_bag(options: argparse.Namespace, class_set: ClassSet) -> _ViewSource:
    from erfnet_ros.data.bags.reader import BagReader
    from erfnet_ros.evaluation.inputs.bag_frames import read_steps
    from erfnet_ros.evaluation.inputs.bag_scan import scan_bag
    from erfnet_ros.evaluation.settings import Settings

    settings = Settings(image_topic=options.image_topic, ground_truth_topic=options.ground_truth_topic)
    with BagReader(Path(options.source)) as reader:
        scan = scan_bag(reader, settings, class_set)
    for note in scan.notes:
        print(printable(note, 2000), file=sys.stderr)
    steps = read_steps(scan, class_set, first=0, everything=False)
    found = (step.frame for step in steps if step.frame is not None)
    frames = (
        _ViewFrame(frame.stamp_ns, frame.rgb, frame.ground_truth, frame.fault or frame.ground_truth_fault)
        for frame in found
    )
    return _ViewSource(scan.metadata.frames, scan.matches is not None, frames)


def _log_frames(source: _ViewSource, segmenter: Segmenter, recording: RerunRecording) -> int:
    """Segment and log every frame; return how many had no mask."""
    skipped = 0
    names = segmenter.class_set.names
    for index, frame in enumerate(tracked(source.frames, source.count, "Segmenting")):
        recording.set_frame(stamp_ns=frame.stamp_ns, index=index)
        if frame.fault is not None:
            recording.log_fault(f"Frame {index}: {frame.fault}")
        if frame.rgb is None:
            skipped += 1
            continue
        recording.log_image(frame.rgb)
        try:
            segmentation = segmenter(frame.rgb)
        except ImageError as error:
            recording.log_fault(f"Frame {index}: {error}")
            skipped += 1
            continue
        labels, times = segmentation.labels, segmentation.times
        recording.log_mask(labels)
        recording.log_confidence(segmentation.confidence)
        recording.log_latencies({"preprocess": times.preprocess_ms, "inference": times.inference_ms})
        shares = np.bincount(labels.ravel(), minlength=len(names))[: len(names)] / labels.size
        recording.log_shares(dict(zip(names, shares.tolist(), strict=True)))
        if frame.ground_truth is not None:
            recording.log_ground_truth(frame.ground_truth, labels)
    return skipped


def _port(text: str) -> int:
    port = int(text) if text.isdecimal() else 0
    if not 1024 <= port <= 65534:
        raise argparse.ArgumentTypeError(f"expected a port from 1024 to 65534, got {text!r}")
    return port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="erfnet view",
        description="Show frames, masks, confidence, class shares and latency on a timeline in a browser: segment a "
        "source, or watch a running node (see 'erfnet view --live --help').",
    )
    parser.add_argument(
        "source", metavar="SOURCE", help="rosbag, folder of images (with labels/ next to images/), video, or synthetic"
    )
    add_output_options(parser)
    parser.add_argument("--frames", type=int, default=150, help="most frames of a video or synthetic street (150)")
    parser.add_argument("--image-topic", metavar="T", help="topic of a bag's images (default: the only one)")
    parser.add_argument(
        "--ground-truth-topic", metavar="T", help="topic of class ids (default: the only one that is called so)"
    )
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help=".safetensors file (default: the shipped one)")
    add_engine_options(parser)
    return parser
