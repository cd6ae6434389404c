"""`erfnet evaluate`: score a checkpoint on a data set, through the same Segmenter as the node."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from erfnet_ros.core.errors import ClassSetError, ParameterError, SourceError
from erfnet_ros.core.output_files import LOCK, locked_output_folder
from erfnet_ros.core.progress import Progress
from erfnet_ros.inference.factory import add_engine_options

if TYPE_CHECKING:
    # Torch and OpenCV are slow to import, and --help needs neither.
    from erfnet_ros.core.array_types import Pixels
    from erfnet_ros.data.datasets import DataSet
    from erfnet_ros.data.frame_sources import Frame
    from erfnet_ros.evaluation.dataset.cityscapes_server import ServerExport
    from erfnet_ros.evaluation.dataset.measure import Measurement, Segment
    from erfnet_ros.evaluation.dataset.protocol import Protocol
    from erfnet_ros.evaluation.results.provenance import EngineMetadata
    from erfnet_ros.models.checkpoint import Checkpoint

_SPLITS = {"camvid": ("test",), "cityscapes": ("val",), "folder": ("test", "val")}
"""What is scored without --split, the first that is there. Cityscapes' test has no public ground truth."""


def main(arguments: Sequence[str]) -> int:
    """Run `erfnet evaluate`; return its exit status, 0."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="erfnet: %(message)s")
    with ExitStack() as locks:
        for folder, name in _outputs(options):
            locks.enter_context(locked_output_folder(folder, name))
        return _run(options)


def _outputs(options: argparse.Namespace) -> set[tuple[Path, str]]:
    """Return the folders that are written to, each with the name of its lock."""
    outputs = {(folder, LOCK) for folder in (options.pictures, options.export_server) if folder is not None}
    if options.json is not None:
        if options.json.is_dir():
            raise SourceError(f"Expected a file to write JSON to, got the folder {options.json}; add a name to it.")
        outputs.add((options.json.parent, f".{options.json.name}{LOCK}"))
    return outputs


def _run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from erfnet_ros.core.image_size import parse_input_size
    from erfnet_ros.data.datasets import open_dataset
    from erfnet_ros.data.frame_sources import spread_evenly
    from erfnet_ros.evaluation.dataset import report_files
    from erfnet_ros.evaluation.dataset.protocol import open_protocol
    from erfnet_ros.models import checkpoint as checkpoints

    input_size = parse_input_size(options.input_size)
    data = open_dataset(options.dataset, options.data, options.split or _split(options.dataset, options.data))
    checkpoint = checkpoints.load(options.checkpoint)
    _check(data, checkpoint, options)
    indices = spread_evenly(len(data), options.limit)
    export = _export(data, indices, options)
    protocol = open_protocol(options.protocol, data[indices[0]], input_size)
    segment, engine, augmentation = _segment(checkpoint, protocol, options)
    evaluation = report_files.Evaluation(
        data=data,
        frames=len(indices),
        checkpoint=checkpoint,
        path=options.checkpoint or checkpoints.DEFAULT,
        protocol=protocol,
        segment=segment,
        engine=engine,
        augmentation=augmentation,
        measurement=_measured(data, indices, segment, protocol=protocol, export=export),
    )
    report_files.show(evaluation, Console())
    if options.json is not None:
        report_files.write_json(options.json, evaluation)
    if options.pictures is not None:
        report_files.write_pictures(options.pictures, evaluation)
    if export is not None:
        print(f"{len(indices)} label files for the server in {export.folder}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="erfnet evaluate",
        description="Score a checkpoint on a data set, through the same code as the node: what it prints is what a "
        "robot gets.",
    )
    parser.add_argument("dataset", metavar="DATASET", help="camvid, cityscapes or folder (of your own)")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the data set")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help=".safetensors file (default: the shipped one)")
    parser.add_argument(
        "--split", help="split, or several joined by + (default: test; val where its ground truth is secret)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="at most N frames, evenly spread (default: all)")
    add_engine_options(parser)
    parser.add_argument("--input-size", default="auto", metavar="WxH", help="what the network sees (default: auto)")
    parser.add_argument(
        "--protocol",
        default="full",
        help="full: score at the labels' own size (default). paper: as the authors of ERFNet do, images and labels "
        "resized to a height of 512, smaller ones left as they are; the two figures are not comparable",
    )
    parser.add_argument(
        "--tta", action="store_true", help="average over scales and mirrored images: slow, and not what a robot runs"
    )
    parser.add_argument("--tta-scales", default="0.75,1,1.25", metavar="LIST", help="scales of --tta (0.75,1,1.25)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and their provenance")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write contact sheets of best and worst frames")
    parser.add_argument(
        "--export-server",
        type=Path,
        metavar="DIR",
        help="write labels as PNG files of label ids, as the Cityscapes server takes them",
    )
    return parser


def _split(kind: str, root: Path) -> str:
    from erfnet_ros.data.datasets import open_layout

    layout = open_layout(kind, root)
    wanted = _SPLITS[kind]
    return next((split for split in wanted if split in layout.splits), wanted[0])


def _check(data: DataSet, checkpoint: Checkpoint, options: argparse.Namespace) -> None:
    ours, theirs = checkpoint.class_set, data.class_set
    if ours.names != theirs.names:
        strange = [name for name in ours.names if name not in theirs.names]
        difference = f"the data set has no {', '.join(strange[:5])}" if strange else "their order differs"
        raise ClassSetError(
            f"Expected a checkpoint of the {len(theirs)} classes '{theirs.name}' of the data set, got one of the "
            f"{len(ours)} classes '{ours.name}' ({difference}); name another with --checkpoint."
        )
    if not data.has_ground_truth and options.export_server is None:
        raise SourceError(
            f"Expected ground truth to score against, got none in split {data.split} of {data.name}; take another "
            "--split, or write its labels with --export-server."
        )
    if options.protocol == "paper" and options.export_server is not None:
        raise ParameterError(
            "Expected --protocol full with --export-server, got paper; the server scores at full resolution."
        )
    if options.tta and options.engine not in ("auto", "pytorch"):
        raise ParameterError(f"Expected --engine pytorch with --tta, got {options.engine}; it gives labels only.")


def _export(data: DataSet, indices: Sequence[int], options: argparse.Namespace) -> ServerExport | None:
    if options.export_server is None:
        return None
    from erfnet_ros.evaluation.dataset.cityscapes_server import ServerExport

    export = ServerExport(options.export_server, data.class_set)
    entries = data.entries()
    export.check([entries[index].name for index in indices])
    return export


def _segment(
    checkpoint: Checkpoint, protocol: Protocol, options: argparse.Namespace
) -> tuple[Segment, EngineMetadata, str]:
    """Return what segments an image, its engine, and what is averaged over each image, in words."""
    from erfnet_ros.evaluation.results.provenance import EngineMetadata, checkpoint_sha256, engine_metadata
    from erfnet_ros.inference.engine import EngineRequest

    device, precision, size = options.device, options.precision, protocol.input_size
    if not options.tta:
        from erfnet_ros.inference.segmenter import Segmenter

        segmenter = Segmenter(checkpoint, engine=options.engine, device=device, precision=precision, input_size=size)
        return segmenter, engine_metadata(segmenter, options.checkpoint), "none"
    from erfnet_ros.evaluation.dataset.augmented_segmenter import AugmentedSegmenter

    try:
        scales = tuple(float(part) for part in options.tta_scales.split(","))
    except ValueError:
        raise ParameterError(
            f"Expected --tta-scales as numbers such as 0.75,1,1.25, got '{options.tta_scales}'."
        ) from None
    segment = AugmentedSegmenter(EngineRequest(checkpoint, device, precision, size), scales)
    engine = EngineMetadata("pytorch", segment.precision, segment.device, checkpoint_sha256(options.checkpoint), ())
    return segment, engine, f"mirrored, scales {', '.join(f'{scale:g}' for scale in scales)}"


def _measured(
    data: DataSet, indices: Sequence[int], segment: Segment, *, protocol: Protocol, export: ServerExport | None
) -> Measurement:
    from erfnet_ros.evaluation.dataset.measure import measure

    with Progress("Evaluating", len(indices)) as progress:

        def keep(frame: Frame, labels: Pixels) -> None:
            if export is not None:
                export.write(frame, labels)
            progress.advance()

        return measure(data, indices, segment, prepare=protocol, keep=keep)
