"""Live evaluation session: replays all bags, scores them and writes the report."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.core.image_size import parse_input_size
from erfnet_ros.core.output_files import temporary_folder
from erfnet_ros.core.progress import BagProgress, Progress
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.evaluation.inputs.bag_scan import BagScan, scan_bag
from erfnet_ros.evaluation.metadata import Provenance
from erfnet_ros.evaluation.offline.output_bag import OUTPUT_BAGS, OutputPlan, output_names
from erfnet_ros.evaluation.options import Preparation
from erfnet_ros.evaluation.report.build import write_reports
from erfnet_ros.evaluation.results.provenance import EngineMetadata, checkpoint_sha256, provenance
from erfnet_ros.evaluation.settings import Settings
from erfnet_ros.evaluation.thresholds import check_classes
from erfnet_ros.models import checkpoint as checkpoints
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.ros import diagnostic_keys as keys
from erfnet_ros.ros.harness.message_store import MessageStore
from erfnet_ros.ros.harness.node_process import NodeConfig, RunningNode, ask_node, ros_versions
from erfnet_ros.ros.harness.playback import Playback
from erfnet_ros.ros.live_evaluation.replay_run import Recording, playback_of, record
from erfnet_ros.ros.live_evaluation.result import live_result
from erfnet_ros.ros.live_evaluation.scoring import LiveScore, score_recording

_LOG = "node.log"
_STORE = ".masks_"


@dataclass(frozen=True)
class Plan:
    """What to evaluate, and how.

    Attributes:
        folder: Output folder, which exists.
        rate: Replay speed, 1.0 being the bag's own.
        running_in: Namespace of a node that is running already; None starts one.
        storage: Of the output bags; None writes none.
        command: As the user wrote it.
        started: ISO 8601, with the zone.
    """

    bags: tuple[Path, ...]
    folder: Path
    preparation: Preparation
    rate: float
    running_in: str | None
    storage: str | None
    command: str
    started: str


def evaluate(plan: Plan) -> int:
    """Replay the bags, one after the other, and write the report; return the exit status.

    Raises:
        ErfnetError: Bags, ground truth, checkpoint or outputs are not usable, or a process ended.
    """
    settings, node = plan.preparation.settings, None
    for left in plan.folder.glob(f"{_STORE}*"):
        # Left over from a run that was killed.
        shutil.rmtree(left, ignore_errors=True)
    running: RunningNode | None = None
    if plan.running_in is not None:
        running = ask_node(plan.running_in)
        settings = _settings_of(running, settings)
        node = NodeConfig(None, None, plan.running_in)
    checkpoint = checkpoints.load(settings.checkpoint)
    check_classes(plan.preparation.requirements, checkpoint.class_set)
    scans = [_scan(bag, settings, checkpoint) for bag in plan.bags]
    # Whether all bags can be replayed is known before the first is played.
    playbacks = [_playback(found, plan.rate, running) for found in scans]
    session = _Session(plan, settings, checkpoint=checkpoint, node=node or _own_node(settings, plan.folder / _LOG))
    scores = [session.evaluate(*both) for both in enumerate(zip(scans, playbacks, strict=True))]
    engine = _engine(scores[0].recording, settings)
    source = _provenance(plan, settings, engine=engine, checkpoint=checkpoint)
    result = live_result(scores, engine=engine, source=source, folder=plan.folder)
    return write_reports(
        result, plan.folder, compare=plan.preparation.compare, requirements=plan.preparation.requirements
    )


class _Session:
    """State that all bags of a run share."""

    def __init__(self, plan: Plan, settings: Settings, *, checkpoint: Checkpoint, node: NodeConfig) -> None:
        self._plan, self._settings, self._checkpoint, self._node = plan, settings, checkpoint, node

    def evaluate(self, place: int, bag: tuple[BagScan, Playback]) -> LiveScore:
        """Replay a bag and score what came back."""
        found, playback = bag
        total, classes, output = found.metadata.frames, self._checkpoint.class_set, self._output(place)
        with ExitStack() as stack:
            folder = stack.enter_context(temporary_folder(self._plan.folder, _STORE))
            store = stack.enter_context(MessageStore(folder / "messages"))
            recording = self._record(self._node_for(place), found, playback=playback, store=store)
            _check_classes(recording, self._checkpoint)
            progress = stack.enter_context(BagProgress(1))
            return score_recording(
                found,
                settings=self._settings,
                class_set=classes,
                recording=recording,
                store=store,
                output=output,
                advance=lambda done: progress.show(0, done, total),
            )

    def _node_for(self, place: int) -> NodeConfig:
        """Return the node with a log of its own for each bag."""
        several = len(self._plan.bags) > 1 and self._node.log is not None
        return replace(self._node, log=self._plan.folder / f"node_{place}.log") if several else self._node

    def _record(self, node: NodeConfig, found: BagScan, *, playback: Playback, store: MessageStore) -> Recording:
        total, what = found.metadata.frames, "Starting" if node.parameters is not None else "Waiting for"
        print(f"{what} the node (ROS_DOMAIN_ID {os.environ.get('ROS_DOMAIN_ID', '0')}) ...", flush=True)

        def on_ready(engine: str) -> None:
            pace = f"at {self._plan.rate:g} times its pace on {playback.topic}"
            print(f"Playing {total} images of {found.metadata.name} {pace} to {engine}.", flush=True)

        with Progress("Playing", total) as progress:
            return record(
                node,
                playback,
                images=total,
                store=store,
                on_ready=on_ready,
                show=lambda sent, got: progress.update(got, note=f"{sent} in"),
            )

    def _output(self, place: int) -> OutputPlan | None:
        if self._plan.storage is None:
            return None
        folder = self._plan.folder.resolve() / OUTPUT_BAGS / output_names(self._plan.bags)[place]
        return OutputPlan(folder, self._plan.storage)


def _scan(bag: Path, settings: Settings, checkpoint: Checkpoint) -> BagScan:
    with BagReader(bag) as reader:
        return scan_bag(reader, settings, checkpoint.class_set)


def _playback(found: BagScan, rate: float, running: RunningNode | None) -> Playback:
    playback = playback_of(found, rate, None if running is None else running.topic)
    if running is not None and running.compressed != playback.compressed:
        expected = "compressed" if running.compressed else "raw"
        raise EvaluationError(
            f"Expected {expected} images for the node that is running, got {found.image.type} in "
            f"'{found.metadata.name}'; start it with the other image_transport."
        )
    return playback


def _own_node(settings: Settings, log: Path) -> NodeConfig:
    size = settings.input_size
    parameters: dict[str, str | float] = {
        "engine": settings.engine,
        "device": settings.device,
        "precision": settings.precision,
        "input_size": "auto" if size is None else f"{size[0]}x{size[1]}",
        "confidence_threshold": settings.threshold,
    }
    if settings.checkpoint is not None:
        parameters["checkpoint"] = str(settings.checkpoint)
    return NodeConfig(parameters, log)


def _settings_of(running: RunningNode, settings: Settings) -> Settings:
    """Return the settings with what the node says of itself; a checkpoint that was named stays."""
    own = Path(running.checkpoint).expanduser() if running.checkpoint else None
    return replace(
        settings,
        checkpoint=settings.checkpoint or own,
        input_size=parse_input_size(running.input_size),
        threshold=running.threshold,
    )


def _check_classes(recording: Recording, checkpoint: Checkpoint) -> None:
    names = checkpoint.class_set.names
    if recording.class_names not in (None, names):
        raise EvaluationError(
            f"Expected the classes of the checkpoint ({', '.join(names)}) from the node, got "
            f"{', '.join(recording.class_names or ())}; name the node's own weights with --checkpoint."
        )


def _engine(recording: Recording, settings: Settings) -> EngineMetadata:
    diagnostics = recording.diagnostics
    notes = (diagnostics[keys.NOTES],) if diagnostics.get(keys.NOTES) else ()
    digest = checkpoint_sha256(settings.checkpoint)
    return EngineMetadata(
        diagnostics[keys.ENGINE], diagnostics[keys.PRECISION], diagnostics[keys.DEVICE], digest, notes
    )


def _provenance(plan: Plan, settings: Settings, *, engine: EngineMetadata, checkpoint: Checkpoint) -> Provenance:
    # The node may run on another machine with another GPU.
    here = engine if torch.cuda.is_available() else replace(engine, device="cpu")
    source = provenance(settings, here, checkpoint, command=plan.command, started=plan.started, rate=plan.rate)
    return replace(source, device=engine.device, versions={**source.versions, **ros_versions()})
