"""Command `erfnet build-engine`: builds a TensorRT engine into the cache."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.core.image_size import parse_camera_size, parse_input_size

if TYPE_CHECKING:
    # --help must not wait for torch.
    from erfnet_ros.inference.build_cache import Artifact
    from erfnet_ros.inference.tensorrt.build import Request

_MAX_BATCH = 64


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0."""
    options = _parser().parse_args(arguments)
    input_size = parse_input_size(options.input_size)
    camera = None if options.size is None else parse_camera_size(options.size)
    if not 1 <= options.batch <= _MAX_BATCH:
        raise ParameterError(f"Expected --batch from 1 to {_MAX_BATCH}, got {options.batch}.")
    if options.workspace is not None and options.workspace < 1:
        raise ParameterError(f"Expected --workspace of 1 MiB or more, got {options.workspace}.")
    logging.basicConfig(level=logging.INFO, format="erfnet: %(message)s")

    import torch

    from erfnet_ros.inference.build_cache import Cache
    from erfnet_ros.inference.device import gpu_count
    from erfnet_ros.inference.tensorrt.api import find_backend
    from erfnet_ros.inference.tensorrt.build import Request, build_engine, log_progress
    from erfnet_ros.inference.tensorrt.engine import pick_gpu, pick_precision
    from erfnet_ros.inference.tensorrt.session import open_session
    from erfnet_ros.models import checkpoint

    precision = pick_precision(options.precision)
    backend = find_backend()
    # Without a GPU some backends build all the same; a GPU that was asked for by name must be there.
    device = pick_gpu(options.device) if options.device != "auto" or gpu_count() else torch.device("cpu")
    loaded = checkpoint.load(options.checkpoint)
    request = Request(
        checkpoint=loaded,
        camera=camera or loaded.input_size,
        input_size=input_size,
        precision=precision,
        batch=options.batch,
        backend=backend,
        cache=Cache(options.cache),
        device=device,
        workspace_mib=options.workspace,
    )
    progress = log_progress(request)
    if device.type == "cpu":
        engine = build_engine(request, progress)
        checked = "not yet run: this machine has no GPU; it is compared with PyTorch where it is first loaded"
        notes = engine.notes
    else:
        opened = open_session(request, progress)
        # Rounded down: 99.9999 % must not read as all of them.
        checked = f"same class as PyTorch in fp32 on {int(opened.agreement * 1e6) / 1e4:.4f} % of the pixels"
        engine, notes = opened.engine, opened.notes
    for note in notes:
        logging.getLogger(__name__).info(note)
    print("\n".join([*_described(engine, request), checked]))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="erfnet build-engine",
        description="Build a TensorRT engine into the cache folder, where the node and every other command find it. "
        "What is there already is not built again. The options must be those of the node.",
    )
    parser.add_argument("--checkpoint", metavar="FILE", help=".safetensors file (default: the shipped CamVid weights)")
    parser.add_argument("--size", metavar="WxH", help="size of the camera's images (default: that of the training)")
    parser.add_argument(
        "--input-size",
        default="auto",
        metavar="WxH",
        help="what the network sees (default: auto, which follows camera and training)",
    )
    parser.add_argument("--precision", default="auto", help="auto, fp16, fp32 or int8 (default: auto, which is fp16)")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images at a time: cameras (default: 1)")
    parser.add_argument("--device", default="auto", help="auto, cuda or cuda:N (default: auto)")
    parser.add_argument(
        "--workspace", type=int, metavar="MIB", help="most scratch memory of a layer, MiB (default: what is free)"
    )
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="cache folder (default: $ERFNET_ROS_CACHE, or ~/.cache/erfnet_ros)"
    )
    return parser


def _described(engine: Artifact, request: Request) -> list[str]:
    size = request.input_size
    seen = "" if size is None else f", seen by the network at {size[0]}x{size[1]}"
    how = f"built in {engine.metadata['seconds']:.1f} s" if engine.built else "found in the cache, not built again"
    return [
        f"{engine.path} ({engine.path.stat().st_size / 1e6:.1f} MB)",
        f"{request.backend.title}, {request.gpu}: {request.images}{seen}, {request.precision}; {how}",
    ]
