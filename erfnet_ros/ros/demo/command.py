"""The demo: a camera, the real node and a recorder over DDS; figures and pictures of what came back."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from erfnet_ros.core.array_types import ConfusionMatrix
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import ErfnetError, SourceError
from erfnet_ros.core.image_encodings import to_array
from erfnet_ros.core.progress import Progress
from erfnet_ros.data.frame_sources import Source, open_source
from erfnet_ros.evaluation.metrics.confusion_matrix import class_iou, mean_iou
from erfnet_ros.evaluation.metrics.latency import latency_statistics
from erfnet_ros.ros import diagnostic_keys as keys
from erfnet_ros.ros.demo.mask_store import MaskStore
from erfnet_ros.ros.demo.pictures import Results
from erfnet_ros.ros.demo.summary import Summary
from erfnet_ros.ros.harness.child_process import exit_on_signals, keep_to_this_machine
from erfnet_ros.ros.harness.file_camera import camera_playback, positive_rate
from erfnet_ros.ros.harness.frame_tracker import FrameTracker
from erfnet_ros.ros.harness.harness import NodeHarness
from erfnet_ros.ros.harness.message_fields import NodeCounts
from erfnet_ros.ros.harness.node_process import own_node
from erfnet_ros.ros.harness.output_recorder import TYPES, Arrival
from erfnet_ros.ros.harness.playback import Played
from erfnet_ros.ros.transport import keep_large_blocks

_MAX_PASSES = 20
"""A dropped frame is played again at most so often; every pass brings the newest frame back, and mostly far more."""

_WRITTEN = ("overlay_*.png", "contact_sheet.png", "video.mp4", "summary.json", "node.log")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status."""
    options = _parser().parse_args(argv)
    exit_on_signals()
    try:
        _run(options)
    except ErfnetError as error:
        print(f"erfnet demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("erfnet demo: interrupted; everything is stopped.", file=sys.stderr)
        return 130
    return 0


@dataclass
class _OutputCollector:
    """Take the node's outputs in as they come, on the recorder's thread."""

    store: MaskStore
    inference_ms: list[float] = field(default_factory=list)

    def keep(self, index: int, arrival: Arrival) -> None:
        """Keep what pictures and figures need of one output of frame `index`."""
        if arrival.topic == "mask":
            self.store.put_labels(index, to_array(arrival.message)[..., 0])
        elif arrival.topic == "overlay":
            self.store.put_overlay(index, to_array(arrival.message))
        elif arrival.topic == "statistics":
            self.inference_ms.append(arrival.message.inference_ms)


@dataclass(frozen=True)
class _Run:
    """What is known once everything is played and stopped."""

    source: Source
    class_set: ClassSet
    tracker: FrameTracker
    passes: tuple[Played, ...]
    counts: NodeCounts
    figures: dict[str, str]
    label_info: int | None


def _run(options: argparse.Namespace) -> None:
    keep_large_blocks()
    keep_to_this_machine()
    out = Path(options.out)
    _clear(out)
    with tempfile.TemporaryDirectory(prefix=".masks_", dir=out) as folder:
        collector = _OutputCollector(MaskStore(Path(folder)))
        run = _play(options, collector, out / "node.log")
        print("Scoring and drawing ...", flush=True)
        results = Results(run.source, run.class_set, collector.store)
        summary = _summarize(options, run, collector, len(results.frames), results.score())
        summary.write(out / "summary.json")
        results.draw(out, summary.title(), summary.subtitle(), options.rate)
    print("\n".join(["", *summary.lines(), "", f"Written to {out}: {', '.join(_WRITTEN)}"]))


def _play(options: argparse.Namespace, collector: _OutputCollector, log: Path) -> _Run:
    """Bring everything up, play the source until it is answered, take everything down."""
    node = own_node(_node_parameters(options), log)
    with NodeHarness(node, camera_playback(_camera_arguments(options)), tuple(TYPES), collector.keep) as harness:
        print(f"Starting the node (ROS_DOMAIN_ID {os.environ['ROS_DOMAIN_ID']}) ...", flush=True)
        # Imported while the node imports it too: torch takes seconds.
        from erfnet_ros.models.checkpoint import load

        class_set = load(options.checkpoint or None).class_set
        source = open_source(options.source, class_set, frames=options.frames)
        harness.wait_until_ready()
        figures = harness.recorder.figures()
        engine = f"{figures[keys.ENGINE]} on {figures[keys.DEVICE]} in {figures[keys.PRECISION]}"
        print(f"Playing {len(source)} frames of {options.source} at {options.rate:g} Hz to {engine}.", flush=True)
        # A recording with truth is scored whole; a street without end has no frame that must be among those scored.
        most = _MAX_PASSES if source.has_truth and Path(options.source).is_dir() else 1
        passes = _play_passes(harness, len(source), most)
        names = harness.recorder.class_names
        return _Run(
            source,
            class_set,
            harness.tracker,
            passes,
            harness.counts,
            figures,
            None if names is None else len(names),
        )


def _play_passes(harness: NodeHarness, length: int, most: int) -> tuple[Played, ...]:
    """Play every frame, then those without an answer again, up to `most` times in all."""
    passes: list[Played] = []
    wanted = list(range(length))
    tracker = harness.tracker
    with Progress("Playing", length) as progress:
        while wanted and len(passes) < most:
            passes.append(
                harness.play(wanted, lambda: progress.update(tracker.frames_out, note=f"{tracker.frames_in} in"))
            )
            wanted = tracker.unanswered(wanted)
    return tuple(passes)


def _summarize(
    options: argparse.Namespace, run: _Run, collector: _OutputCollector, complete: int, matrix: ConfusionMatrix | None
) -> Summary:
    tracker = run.tracker
    iou = None if matrix is None else [None if np.isnan(value) else float(value) for value in class_iou(matrix)]
    return Summary(
        source=options.source,
        frames_in=tracker.frames_in,
        frames_out=tracker.frames_out,
        passes=len(run.passes),
        fps=tracker.frames_out / tracker.playing_s,
        latency_ms=latency_statistics(tracker.latencies_ms),
        latency_quarters_ms=tuple(tracker.quarters()),
        miou=None if matrix is None else mean_iou(matrix),
        iou=None if iou is None else dict(zip(run.class_set.names, iou, strict=True)),
        scored=0 if matrix is None else complete,
        engine=run.figures[keys.ENGINE],
        device=run.figures[keys.DEVICE],
        precision=run.figures[keys.PRECISION],
        inference_ms=latency_statistics(collector.inference_ms),
        rate_hz=options.rate,
        camera_rate_hz=run.passes[0].rate_hz,
        dropped=run.counts.dropped,
        rejected=run.counts.rejected,
        lost=max(0, tracker.frames_in - tracker.frames_out - run.counts.dropped - run.counts.rejected),
        stamps_mismatched=tracker.mismatched,
        outputs=dict(tracker.counts),
        label_info=run.label_info,
    )


def _node_parameters(options: argparse.Namespace) -> dict[str, str]:
    parameters = {name: str(getattr(options, name)) for name in ("engine", "device", "precision", "input_size")}
    if options.checkpoint:
        parameters["checkpoint"] = str(Path(options.checkpoint).resolve())
    return parameters


def _camera_arguments(options: argparse.Namespace) -> list[str]:
    return ["--source", options.source, "--frames", str(options.frames), "--rate", str(options.rate)]


def _clear(out: Path) -> None:
    """Make the output folder; what an earlier run wrote there goes, anything else stays."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path in [path for pattern in _WRITTEN for path in out.glob(pattern)]:
            path.unlink()
    except OSError as error:
        raise SourceError(
            f"Expected a folder to write to in '{out}', got: {error.strerror}; choose another --out."
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="erfnet demo", description="Play a camera to the real node over DDS; show and score what comes back."
    )
    parser.add_argument(
        "--source",
        default="synthetic",
        help="synthetic[:SEED], a folder of images, one with images/ and labels/, or a video (default: %(default)s)",
    )
    parser.add_argument(
        "--out", default="demo_output", help="folder for summary.json and the pictures (default: %(default)s)"
    )
    parser.add_argument(
        "--rate", type=positive_rate, default=15.0, help="camera's frames per second (default: %(default)g)"
    )
    parser.add_argument("--frames", type=int, default=150, help="length of the synthetic street (default: %(default)s)")
    parser.add_argument(
        "--checkpoint", default="", help="weights, a .safetensors file (default: those that are shipped)"
    )
    for name, default in (
        ("--engine", "auto"),
        ("--device", "auto"),
        ("--precision", "auto"),
        ("--input-size", "auto"),
    ):
        parser.add_argument(name, default=default, help="the node's parameter of this name (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
