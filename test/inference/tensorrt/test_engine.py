"""TensorRT engine: built once, in the precision asked for, compared with PyTorch, never used when damaged.

All but running is tested without a GPU, by TensorRT for RTX; what needs a GPU says so where there is none.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.build_cache import Artifact, Cache
from erfnet_ros.inference.engine import EngineRequest
from erfnet_ros.inference.factory import open_engine
from erfnet_ros.inference.pytorch.engine import PyTorchEngine
from erfnet_ros.inference.tensorrt import build as build_module
from erfnet_ros.inference.tensorrt import engine as tensorrt_engine
from erfnet_ros.inference.tensorrt import session as session_module
from erfnet_ros.inference.tensorrt.api import find_backend
from erfnet_ros.inference.tensorrt.build import Parsed, Progress, Request, build_engine, parse
from erfnet_ros.inference.tensorrt.session import Opened, check_once, is_checked, open_session
from erfnet_ros.models.checkpoint import Calibration, Checkpoint
from erfnet_ros.models.erfnet import ACTIVATIONS, ERFNet
from erfnet_ros.models.onnx import export

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install tensorrt-rtx")

SIZE = (64, 48)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


def checkpoint(seed: int = 5) -> Checkpoint:
    torch.manual_seed(seed)
    state = ERFNet(11).state_dict()
    # Far apart, so that rounding does not decide which class wins.
    state["decoder.output_conv.weight"] *= 30
    calibration = Calibration(dict.fromkeys(ACTIVATIONS, 3.0), 0.9)
    return Checkpoint(CAMVID, state, SIZE, "nothing", None, "free", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), calibration)


CHECKPOINT = checkpoint()
BACKEND = find_backend()
CPU = torch.device("cpu")


def requested(folder: Path, **changes: Any) -> Request:
    return replace(
        Request(checkpoint=CHECKPOINT, camera=SIZE, backend=BACKEND, cache=Cache(folder), device=CPU), **changes
    )


@pytest.fixture(scope="module", autouse=True)
def graphs_written_once() -> Iterator[None]:
    """Keep each graph that PyTorch exported: it takes seconds, and is tested elsewhere."""
    write = export.build

    @functools.cache
    def once(camera: tuple[int, int], **options: Any) -> onnx.ModelProto:
        return write(CHECKPOINT, camera, **options)

    def build(of: Checkpoint, camera: tuple[int, int], **options: Any) -> onnx.ModelProto:
        return once(camera, **options) if of is CHECKPOINT else write(of, camera, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "build", build)
        yield


def parsed(precision: str, batch: int = 1) -> Parsed:
    return parse(BACKEND, export.build(CHECKPOINT, SIZE, input_size=None, precision=precision, batch=batch))


def layers(network: Any, *kinds: str) -> list[Any]:
    every = [network.get_layer(index) for index in range(network.num_layers)]
    return [layer for layer in every if layer.type.name in kinds]


def ignore(done: float) -> None:
    """Take the progress of a build that nobody watches."""


@pytest.mark.parametrize(("precision", "kind"), [("fp16", "HALF"), ("fp32", "FLOAT")])
def test_every_convolution_computes_in_the_precision_that_was_asked_for(precision: str, kind: str) -> None:
    network = parsed(precision).network
    convolutions = layers(network, "CONVOLUTION", "DECONVOLUTION")
    assert len(convolutions) == 74
    assert {layer.get_output(0).dtype.name for layer in convolutions} == {kind}


def test_in_int8_tensorrt_reads_and_builds_convolutions_of_bytes(tmp_path: Path) -> None:
    keep_alive = parsed("int8")
    quantized = layers(keep_alive.network, "QUANTIZE")
    assert len(quantized) == 51
    assert {layer.get_output(0).dtype.name for layer in quantized} == {"INT8"}
    engine = build_engine(requested(tmp_path, precision="int8"), ignore)
    assert engine.path.stat().st_size > 1e6


def test_bytes_go_in_and_come_out_for_as_many_images_as_are_wanted() -> None:
    network = parsed("fp16", batch=2).network
    image = network.get_input(0)
    assert network.num_inputs == 1
    assert (image.name, image.dtype.name, tuple(image.shape)) == ("image", "UINT8", (2, 48, 64, 3))
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    assert [(output.name, output.dtype.name, tuple(output.shape)) for output in outputs] == [
        ("labels", "UINT8", (2, 48, 64)),
        ("confidence", "UINT8", (2, 48, 64)),
    ]


def test_a_graph_that_tensorrt_cannot_read_is_an_error() -> None:
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    node = helper.make_node("Unheard", ["x"], ["y"], "node 7", domain="far.away")
    graph = helper.make_graph([node], "graph", [x], [y])
    with pytest.raises(EngineError, match=r"Expected TensorRT for RTX \S+ to read .* Unheard 'node 7': .*; update"):
        parse(BACKEND, helper.make_model(graph))


Built = tuple[Path, Artifact, list[float]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Return the cache folder of a build, its engine, and the progress that it told."""
    folder, told = tmp_path_factory.mktemp("cache"), [0.0]
    return folder, build_engine(requested(folder), told.append), told


def test_an_engine_is_built_once_with_progress_from_nothing_to_all(built: Built) -> None:
    folder, engine, told = built
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len({round(done, 1) for done in told}) >= 5
    assert engine.built
    assert engine.metadata["gpu"] == "no GPU"
    assert 4e6 < engine.path.stat().st_size < 8e6

    def not_again(done: float) -> None:
        raise AssertionError("TensorRT was asked to build what is there")

    again = build_engine(requested(folder), not_again)
    assert (again.built, again.path, again.metadata) == (False, engine.path, engine.metadata)


@pytest.fixture
def gpu_stand_in(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let the engine take a GPU that is not there; the test replaces what would run on it."""
    monkeypatch.setattr(tensorrt_engine, "pick_gpu", lambda _: torch.device("cuda", 0))
    monkeypatch.setattr(build_module, "gpu_title", lambda _: "no GPU")
    return monkeypatch


def test_images_whose_engine_is_not_built_yet_run_one_by_one(built: Built, gpu_stand_in: pytest.MonkeyPatch) -> None:
    """A build takes minutes on some GPUs: no camera may wait for that because two frames came together."""
    folder, engine, _ = built
    runs: list[int] = []

    def opened(request: Request, *_: object) -> Opened:
        def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            assert len(images) == request.batch
            runs.append(len(images))
            return images[..., 0], images[..., 1]

        run.notes = ()  # type: ignore[attr-defined]
        return Opened(run, engine, 1.0, ())  # type: ignore[arg-type]

    gpu_stand_in.setattr(tensorrt_engine, "open_session", opened)
    opened_engine = tensorrt_engine.TensorRTEngine(EngineRequest(CHECKPOINT), Cache(folder))
    images = np.random.default_rng(1).integers(0, 256, (2, 48, 64, 3), np.uint8)
    for _ in range(2):
        labels, confidences = opened_engine(images)
        np.testing.assert_array_equal(labels, images[..., 0])
        np.testing.assert_array_equal(confidences, images[..., 1])
    assert runs == [1, 1, 1, 1]
    (note,) = opened_engine.notes
    assert note.startswith("2 images of 64x48 run one after the other")
    assert note.endswith("erfnet build-engine --batch 2 --size 64x48")
    build_engine(requested(folder, batch=3), ignore)
    opened_engine(np.zeros((3, 48, 64, 3), np.uint8))
    assert runs[4:] == [3]


def test_frames_of_a_new_size_go_on_while_their_engine_is_opened(
    built: Built, gpu_stand_in: pytest.MonkeyPatch
) -> None:
    """A camera's size is known from its first frame only: what TensorRT builds, compiles and checks must not cost it
    minutes without a mask.
    """
    folder, engine, _ = built
    may_end = threading.Event()
    on_cpu = PyTorchEngine(EngineRequest(CHECKPOINT, "cpu", "fp32"))

    opened_by: list[threading.Thread] = []

    def opened(request: Request, progress: Progress) -> Opened:
        opened_by.append(threading.current_thread())
        if request.camera == (96, 80):
            assert may_end.wait(60)
            progress(0.5)
        if request.camera == (40, 32):
            raise EngineError("TensorRT gives up.")
        return Opened(AllRoad(), engine, 1.0, ())  # type: ignore[arg-type]

    class AllRoad:
        notes = ()

        def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            labels = np.full(images.shape[:3], 2, np.uint8)
            return labels, labels

        def close(self) -> None:
            pass

    gpu_stand_in.setattr(tensorrt_engine, "open_session", opened)
    gpu_stand_in.setattr(tensorrt_engine, "PyTorchEngine", lambda *_: copy(on_cpu))
    live = tensorrt_engine.TensorRTEngine(EngineRequest(CHECKPOINT, live=True), Cache(folder))
    images = np.random.default_rng(1).integers(0, 256, (1, 80, 96, 3), np.uint8)
    for _ in range(3):
        np.testing.assert_array_equal(live(images)[0], on_cpu(images)[0])
    (note,) = live.notes
    assert note.startswith("PyTorch on cuda:0 runs while TensorRT builds its engine for images of 96x80")
    may_end.set()
    deadline = time.monotonic() + 30
    while (live(images)[0] != 2).any():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert live.notes == ()
    # The first is that of the training's size, before any frame.
    assert [thread is threading.current_thread() for thread in opened_by] == [True, False]
    small = np.zeros((1, 32, 40, 3), np.uint8)
    live(small)
    (opening,) = live._openings.values()
    while not opening.done:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(EngineError, match="gives up"):
        live(small)
    # A node that is shut down meanwhile must not wait for a build.
    may_end.clear()
    other = tensorrt_engine.TensorRTEngine(EngineRequest(CHECKPOINT, live=True), Cache(folder))
    other(images)
    (opening,) = other._openings.values()
    other.close()
    may_end.set()
    with pytest.raises(EngineError, match="was stopped"):
        opening.result()


def test_an_engine_that_was_opened_before_is_opened_at_the_first_frame(
    built: Built, gpu_stand_in: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Loading it takes less time than PyTorch's start; compiling and comparing would take more."""
    _, engine, _ = built
    request = requested(tmp_path)
    cache, checked = request.cache, []
    cache.artifact("tensorrt", request.key, "engine", build=lambda path: dict(size=path.write_bytes(b"plan")))
    for driver in ("driver 1", "driver 2"):
        gpu_stand_in.setattr(session_module, "nvidia_driver", partial(str, driver))
        checked.append(is_checked(request))
        check_once(request, build_engine(request, ignore), PyTorchEngine(EngineRequest(CHECKPOINT, "cpu", "fp32")))
        checked.append(is_checked(request))
    assert checked == [False, True, False, True]
    gpu_stand_in.setattr(tensorrt_engine, "PyTorchEngine", None)
    frames: list[np.ndarray] = []

    class Black:
        notes = ()

        def __call__(self, images: np.ndarray) -> np.ndarray:
            frames.append(images)
            return images

    opened = Opened(Black(), engine, 1.0, ())  # type: ignore[arg-type]
    gpu_stand_in.setattr(tensorrt_engine, "open_session", lambda *_: opened)
    live = tensorrt_engine.TensorRTEngine(EngineRequest(CHECKPOINT, live=True), cache)
    live._sessions.clear()
    live(np.zeros((1, 48, 64, 3), np.uint8))
    assert len(frames) == 1


def test_whatever_the_engine_depends_on_makes_another_key(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {"checkpoint": checkpoint(6)},
        {"checkpoint": replace(CHECKPOINT, mean=(0.1, 0.5, 0.6))},
        {"camera": (80, 48)},
        {"input_size": (128, 96)},
        {"precision": "fp32"},
        {"batch": 2},
        {"backend": replace(BACKEND, version="9")},
        {"backend": replace(BACKEND, name="another")},
    ]
    keys = [requested(tmp_path, **change).key for change in ({}, *changes)]
    assert len({str(sorted(each.items())) for each in keys}) == len(keys)
    # The ranges of a calibration matter in int8 alone.
    again = replace(CHECKPOINT, calibration=Calibration(dict.fromkeys(ACTIVATIONS, 4.0), 0.9))
    for precision, differs in (("fp16", False), ("int8", True)):
        one, other = (requested(tmp_path, checkpoint=c, precision=precision).key for c in (CHECKPOINT, again))
        assert (one != other) == differs


@pytest.mark.parametrize(("name", "matters"), [("tensorrt", True), ("tensorrt_rtx", False)])
def test_the_gpu_matters_to_engines_that_are_timed_on_it(
    tmp_path: Path, name: str, matters: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not to those of TensorRT for RTX, which may come from a machine without one."""
    monkeypatch.setattr(build_module, "gpu_title", str)
    request = requested(tmp_path, backend=replace(BACKEND, name=name))
    assert (replace(request, device=torch.device("cuda", 0)).key != request.key) == matters


def test_an_engine_is_built_on_the_gpu_that_it_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On cuda:1 kernels were timed on GPU 0."""
    current: list[torch.device] = []

    @contextmanager
    def on(device: torch.device) -> Iterator[None]:
        current.append(device)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", on)
    monkeypatch.setattr(build_module, "gpu_title", str)
    second, seen = torch.device("cuda", 1), set()
    build_engine(requested(tmp_path, device=second), lambda _: seen.update(current))
    assert seen == {second}


def test_an_interrupted_build_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: float) -> None:
        if done > 0.1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(requested(tmp_path), interrupt)
    assert [file.name for file in tmp_path.iterdir()] == ["tensorrt.lock"]


def test_a_build_that_tensorrt_gives_up_says_why(tmp_path: Path) -> None:
    """Its compiler has no transposed convolution in bf16, which is why the precision is not offered."""
    expected = r"cannot build the network in bf16 for images of 64x48 on no GPU: .+; set engine"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(export.PRECISIONS, "bf16", torch.bfloat16)
        with pytest.raises(EngineError, match=expected):
            build_engine(requested(tmp_path, precision="bf16"), ignore)
    assert [file.name for file in tmp_path.iterdir()] == ["tensorrt.lock"]


def test_an_engine_is_compared_with_pytorch_before_its_first_use(built: Built, tmp_path: Path) -> None:
    _, engine, _ = built
    pytorch = PyTorchEngine(EngineRequest(CHECKPOINT, "cpu", "fp32"))
    checked = check_once(requested(tmp_path), engine, pytorch)
    assert checked.metadata == {"agreement": 1.0}

    def not_again(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("the engine was run although its agreement is known")

    assert check_once(requested(tmp_path), engine, not_again).metadata == {"agreement": 1.0}


def test_an_engine_that_answers_otherwise_is_refused_and_not_kept(built: Built, tmp_path: Path) -> None:
    _, engine, _ = built
    mine = tmp_path / "bad.engine"
    mine.write_bytes(engine.path.read_bytes())
    bad = replace(engine, path=mine)
    other = PyTorchEngine(EngineRequest(checkpoint(6), "cpu", "fp32"))
    with pytest.raises(EngineError, match=r"Expected TensorRT .*\(fp16, 64x48\) to choose PyTorch's class on .*99.5 %"):
        check_once(requested(tmp_path), bad, other)
    assert not mine.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_engine_says_what_it_needs() -> None:
    with pytest.raises(EngineError, match=r"Engine 'tensorrt' needs an NVIDIA GPU, .*; set engine to auto"):
        open_engine(EngineRequest(CHECKPOINT), "tensorrt")


@needs_gpu
def test_on_a_gpu_the_engine_answers_as_pytorch_does(tmp_path: Path) -> None:
    for batch in (1, 3):
        opened = open_session(requested(tmp_path, batch=batch, device=torch.device("cuda", 0)), ignore)
        assert opened.agreement >= 0.995
        images = np.random.default_rng(batch).integers(0, 256, (batch, 48, 64, 3), np.uint8)
        first = opened.session(images)
        np.testing.assert_array_equal(first[0], opened.session(images)[0])
        expected, _ = PyTorchEngine(EngineRequest(CHECKPOINT, "cpu", "fp32"))(images)
        assert (first[0] == expected).mean() >= 0.98
