"""`erfnet demo`: plays a file camera to the real node over DDS; shows and scores what the node publishes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from erfnet_ros.core.array_types import ConfusionMatrix
from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.image import to_array
from erfnet_ros.core.output_files import locked_output_folder, temporary_folder
from erfnet_ros.core.progress import Progress
from erfnet_ros.core.rate import parse_rate
from erfnet_ros.data.frame_sources import Source, open_source
from erfnet_ros.evaluation.metrics.confusion_matrix import class_iou, mean_iou
from erfnet_ros.evaluation.metrics.latency import latency_statistics
from erfnet_ros.inference.factory import add_engine_options
from erfnet_ros.ros import diagnostic_keys as keys
from erfnet_ros.ros.demo.pictures import Results, store_output
from erfnet_ros.ros.demo.summary import Summary
from erfnet_ros.ros.harness.child_process import exit_on_signals, keep_to_this_machine
from erfnet_ros.ros.harness.file_camera import camera_playback
from erfnet_ros.ros.harness.harness import NodeHarness
from erfnet_ros.ros.harness.message_store import MessageStore
from erfnet_ros.ros.harness.node_process import NodeConfig
from erfnet_ros.ros.harness.output_recorder import TYPES, Arrival
from erfnet_ros.ros.harness.playback import Played
from erfnet_ros.ros.transport import keep_large_blocks

_MAX_PASSES = 20
"""A dropped frame is played again at most so often; each pass answers the newest frame, and mostly far more."""

_RESULTS = ("overlay_*.png", "contact_sheet.png", "video.mp4", "summary.json")
_LOG = "node.log"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; return 0.

    Raises:
        ErfnetError: The source, the checkpoint or the output folder cannot be used, or a process ended.
    """
    options = _parser().parse_args(argv)
    exit_on_signals()
    keep_large_blocks()
    # Before anything is started or replaced. Which classes its labels have, the checkpoint tells later.
    source = open_source(options.source, CAMVID, frames=options.frames)
    if options.depth:
        source.depth(0)
    out = Path(options.out)
    keep_to_this_machine()
    with locked_output_folder(out), temporary_folder(out, ".demo_") as folder:
        fresh = folder / "results"
        fresh.mkdir()
        with MessageStore(folder / "outputs") as store:
            summary = _Demo(options, source, store).run(out / _LOG, fresh)
        for path in [path for pattern in _RESULTS for path in out.glob(pattern)]:
            path.unlink()
        for path in fresh.iterdir():
            path.rename(out / path.name)
    print("\n".join(["", *summary.lines(), "", f"Written to {out}: {', '.join((*_RESULTS, _LOG))}"]))
    return 0


class _Demo:
    """One run of the demo."""

    def __init__(self, options: argparse.Namespace, source: Source, store: MessageStore) -> None:
        self._options, self._source, self._store = options, source, store
        self._class_set = CAMVID
        self._inference_ms: list[float] = []

    def run(self, log: Path, out: Path) -> Summary:
        """Play the source until it is answered; write the results."""
        options = self._options
        camera = camera_playback(source=options.source, frames=options.frames, rate=options.rate, depth=options.depth)
        with NodeHarness(
            NodeConfig(_node_parameters(options), log), camera, topics=tuple(TYPES), keep=self._keep
        ) as harness:
            print(f"Starting the node (ROS_DOMAIN_ID {os.environ['ROS_DOMAIN_ID']}) ...", flush=True)
            # Imported while the node imports it too: PyTorch takes seconds.
            from erfnet_ros.models.checkpoint import load

            self._class_set = load(options.checkpoint or None).class_set
            if self._class_set != CAMVID:
                self._source = open_source(options.source, self._class_set, frames=options.frames)
            harness.wait_until_ready()
            print(
                f"Playing {len(self._source)} frames of {options.source} at {options.rate:g} Hz to "
                f"{harness.recorder.engine()}.",
                flush=True,
            )
            passes = self._play(harness)
        print("Scoring and drawing ...", flush=True)
        results = Results(self._source, self._class_set, self._store)
        summary = self._summarize(harness, passes=passes, scored=len(results.frames), matrix=results.score())
        summary.write(out / "summary.json")
        results.draw(out, title=summary.title(), subtitle=summary.subtitle(), rate_hz=options.rate)
        return summary

    def _keep(self, index: int, arrival: Arrival) -> None:
        """Store what pictures and statistics need of an output, on the recorder's thread."""
        if arrival.topic == "statistics":
            self._inference_ms.append(arrival.message.inference_ms)
        elif arrival.topic == "mask":
            store_output(self._store, "mask", index=index, pixels=to_array(arrival.message)[..., 0])
        elif arrival.topic == "overlay":
            store_output(self._store, "overlay", index=index, pixels=to_array(arrival.message))

    def _play(self, harness: NodeHarness) -> list[Played]:
        """Play every frame, then those without an answer again."""
        # A folder with ground truth is scored whole; a video or a street has no frame that must be among those scored.
        most = _MAX_PASSES if self._source.has_ground_truth and Path(self._options.source).is_dir() else 1
        passes: list[Played] = []
        wanted, tracker = list(range(len(self._source))), harness.tracker
        with Progress("Playing", len(wanted)) as progress:
            while wanted and len(passes) < most:
                passes.append(
                    harness.play(wanted, lambda: progress.update(tracker.frames_out, note=f"{tracker.frames_in} in"))
                )
                wanted = tracker.unanswered(wanted)
        return passes

    def _summarize(
        self, harness: NodeHarness, *, passes: Sequence[Played], scored: int, matrix: ConfusionMatrix | None
    ) -> Summary:
        tracker, counts, node = harness.tracker, harness.counts, harness.recorder.diagnostic_values()
        iou = [] if matrix is None else [None if np.isnan(value) else float(value) for value in class_iou(matrix)]
        return Summary(
            source=self._options.source,
            frames_in=tracker.frames_in,
            frames_out=tracker.frames_out,
            passes=len(passes),
            fps=tracker.frames_out / tracker.playing_s,
            latency_ms=latency_statistics(tracker.latencies_ms),
            latency_quarters_ms=tuple(tracker.quarters()),
            miou=None if matrix is None else mean_iou(matrix),
            iou=None if matrix is None else dict(zip(self._class_set.names, iou, strict=True)),
            scored=0 if matrix is None else scored,
            engine=node[keys.ENGINE],
            device=node[keys.DEVICE],
            precision=node[keys.PRECISION],
            inference_ms=latency_statistics(self._inference_ms),
            rate_hz=self._options.rate,
            camera_rate_hz=passes[0].rate_hz,
            dropped=counts.dropped,
            rejected=counts.rejected,
            lost=max(0, tracker.frames_in - tracker.frames_out - counts.dropped - counts.rejected),
            stamps_mismatched=tracker.mismatched,
            outputs=dict(tracker.counts),
        )


def _node_parameters(options: argparse.Namespace) -> dict[str, str | float]:
    names = ("engine", "device", "precision", "input_size")
    parameters: dict[str, str | float] = {name: str(getattr(options, name)) for name in names}
    if options.checkpoint:
        parameters["checkpoint"] = str(Path(options.checkpoint).resolve())
    return parameters


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="erfnet demo",
        description="Play a camera to the real node over DDS; show and score its masks.",
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
        "--rate", type=parse_rate, default=15.0, help="camera's frames per second (default: %(default)g)"
    )
    parser.add_argument("--frames", type=int, default=150, help="length of the synthetic street (default: %(default)s)")
    parser.add_argument(
        "--depth",
        action="store_true",
        help="publish the synthetic street's depth as well, to be projected (docs/points.md)",
    )
    parser.add_argument(
        "--checkpoint", default="", help="weights, a .safetensors file (default: those that are shipped)"
    )
    add_engine_options(parser)
    parser.add_argument(
        "--input-size", default="auto", metavar="WxH", help="size that the network sees (default: auto)"
    )
    return parser
