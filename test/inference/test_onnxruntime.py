"""ONNX Runtime engine compared with PyTorch, and its cached graphs."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from erfnet_ros.core.errors import EngineError
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.inference import onnxruntime as onnxruntime_module
from erfnet_ros.inference import parity_check
from erfnet_ros.inference.build_cache import Cache
from erfnet_ros.inference.engine import EngineRequest
from erfnet_ros.inference.onnxruntime import OnnxRuntimeEngine, argmax_notes, find_devices, pick_precision
from erfnet_ros.inference.parity_check import check_parity, fingerprint
from erfnet_ros.inference.pytorch.cpu import CpuPipeline
from erfnet_ros.models import checkpoint as checkpoints
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.models.pipeline import LogitsNetwork, Pipeline

pytest.importorskip("onnxruntime", reason="needs ONNX Runtime (pip install '.[onnx]')")
pytest.importorskip("onnxscript", reason="needs onnxscript (pip install '.[onnx]')")

SIZE = (96, 64)


def trained(size: tuple[int, int] = SIZE) -> Checkpoint:
    """Return the shipped weights, as if they had been trained at a small size."""
    return replace(checkpoints.load(), input_size=size)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def engine(folder: Path) -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(EngineRequest(trained(), "cpu"), cache=Cache(folder))


@pytest.mark.parametrize("size", [(96, 64), (131, 77), (320, 240)])
def test_labels_are_those_of_pytorch_at_any_size(engine: OnnxRuntimeEngine, size: tuple[int, int]) -> None:
    """Otherwise the choice of an engine would change what a robot sees."""
    image = Street(3, size).frame(0)[0][None]
    labels, confidence = engine(image)
    expected, sure = CpuPipeline(LogitsNetwork(Pipeline(trained()).eval()), SIZE, None)(image)
    assert labels.shape == confidence.shape == (1, size[1], size[0])
    assert labels.dtype == confidence.dtype == np.uint8
    assert (labels == expected).mean() >= 0.999
    assert np.abs(confidence.astype(int) - sure)[labels == expected].max() <= 2


def test_resizing_in_bytes_and_enlarging_by_borders_keep_the_pipelines_labels(tmp_path: Path) -> None:
    """The graph leaves both to the frame around it, which must not cost a camera its labels."""
    engine = OnnxRuntimeEngine(EngineRequest(checkpoints.load(), "cpu"), cache=Cache(tmp_path))
    pipeline = Pipeline(checkpoints.load()).eval()
    for size in ((640, 480), (1280, 720)):
        image = Street(3, size).frame(0)[0][None]
        with torch.inference_mode():
            expected = pipeline(torch.from_numpy(image))[0].numpy()
        assert (engine(image)[0] == expected).mean() >= 0.995


def test_a_gpu_gives_labels_by_the_whole_pipelines_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits would take longer to copy than to enlarge there. Sizes off the network's steps take a graph each."""
    monkeypatch.setattr(onnxruntime_module, "is_whole", lambda _: True)
    images = np.stack([Street(seed, (131, 77)).frame(0)[0] for seed in (1, 2)])
    for size, graphs in ((SIZE, 1), ((90, 60), 3)):
        labels, confidence = OnnxRuntimeEngine(EngineRequest(trained(size), "cpu"), cache=Cache(tmp_path))(images)
        with torch.inference_mode():
            expected, sure = (tensor.numpy() for tensor in Pipeline(trained(size)).eval()(torch.from_numpy(images)))
        assert (labels == expected).mean() >= 0.999
        assert np.abs(confidence.astype(int) - sure)[labels == expected].max() <= 2
        assert len(list(tmp_path.glob("*.onnx"))) == graphs


def test_a_batch_answers_as_its_images_do_alone(engine: OnnxRuntimeEngine) -> None:
    images = np.stack([Street(seed, SIZE).frame(0)[0] for seed in (1, 2, 3)])
    labels, confidences = engine(images)
    # Later calls do not write into the arrays either.
    alone, sure = zip(*(engine(image[None]) for image in images), strict=True)
    assert np.array_equal(labels, np.concatenate(alone))
    assert np.array_equal(confidences, np.concatenate(sure))


def test_the_graph_is_written_once_and_taken_from_the_cache_then(engine: OnnxRuntimeEngine, folder: Path) -> None:
    """Writing it takes seconds, which no robot should wait for at every start."""
    files = {file: file.stat().st_mtime_ns for file in folder.glob("*.onnx")}
    (description,) = folder.glob("*.json")
    assert 0.995 <= json.loads(description.read_text())["metadata"]["agreement"] <= 1
    again = OnnxRuntimeEngine(EngineRequest(trained(), "cpu"), cache=Cache(folder))
    assert {file: file.stat().st_mtime_ns for file in folder.glob("*.onnx")} == files
    image = Street(4, SIZE).frame(0)[0][None]
    assert np.array_equal(again(image)[0], engine(image)[0])


def test_other_weights_get_a_graph_of_their_own(engine: OnnxRuntimeEngine, folder: Path) -> None:
    """A graph of the weights before these would answer without anybody noticing."""
    state = {name: tensor.clone() for name, tensor in trained().state_dict.items()}
    state["decoder.output_conv.bias"][0] += 50
    other = OnnxRuntimeEngine(EngineRequest(replace(trained(), state_dict=state), "cpu"), cache=Cache(folder))
    assert (other(np.zeros((1, 64, 96, 3), np.uint8))[0] == 0).all()
    assert len(list(folder.glob("*.onnx"))) == 2


def test_one_graph_serves_a_network_trained_at_an_odd_size(tmp_path: Path) -> None:
    """Writing one for each camera takes seconds."""
    engine = OnnxRuntimeEngine(EngineRequest(trained((90, 60)), "cpu"), cache=Cache(tmp_path))
    for size in ((90, 60), (96, 64)):
        assert engine(Street(1, size).frame(0)[0][None])[0].shape == (1, size[1], size[0])
    assert len(list(tmp_path.glob("*.onnx"))) == 1


@pytest.mark.parametrize("seen", [(64, 96), (90, 62)])
def test_the_network_sees_what_the_user_asked_for(
    engine: OnnxRuntimeEngine, folder: Path, seen: tuple[int, int]
) -> None:
    """And nobody waits for another graph because of it."""
    graphs = set(folder.glob("*.onnx"))
    image = Street(3, seen).frame(0)[0][None]
    labels, _ = OnnxRuntimeEngine(EngineRequest(trained(), "cpu", input_size=seen), cache=Cache(folder))(image)
    assert set(folder.glob("*.onnx")) == graphs
    with torch.inference_mode():
        assert (labels == Pipeline(trained(), seen).eval()(torch.from_numpy(image))[0].numpy()).mean() >= 0.999


def test_a_network_that_answers_otherwise_is_refused() -> None:
    def all_sky(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(images.shape[:3], np.uint8), np.zeros(images.shape[:3], np.uint8)

    with pytest.raises(EngineError, match=r"at least 99\.5 % of the pixels, got \d+\.\d\d %; it is not used"):
        check_parity(all_sky, Pipeline(trained()).eval(), name="The engine", sizes=[SIZE])


def test_a_refused_graph_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity_check, "MIN_AGREEMENT", 1.1)
    with pytest.raises(EngineError, match=r"ONNX Runtime \(CPUExecutionProvider, fp32\)"):
        OnnxRuntimeEngine(EngineRequest(trained(), "cpu"), cache=Cache(tmp_path))
    assert not list(tmp_path.glob("*.onnx"))


def test_the_fingerprint_follows_weights_and_scaling() -> None:
    plain = trained()
    state = dict(plain.state_dict)
    state["decoder.output_conv.bias"] = state["decoder.output_conv.bias"] + 1e-3
    prints = {fingerprint(c) for c in (plain, replace(plain, state_dict=state), replace(plain, mean=(0.1, 0, 0)))}
    assert len(prints) == 3
    assert fingerprint(trained()) == fingerprint(plain)


def test_a_missing_package_is_said_with_the_command_that_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError, match=r"got none called 'onnxruntime'; install .*pip install 'erfnet_ros\[onnx\]'"):
        OnnxRuntimeEngine(EngineRequest(trained(), "cpu"))


def test_a_gpu_that_this_build_cannot_use_is_an_error() -> None:
    with pytest.raises(EngineError, match=r"Device 'cuda:1' .* CPUExecutionProvider only; install onnxruntime-gpu"):
        find_devices("cuda:1", ["CPUExecutionProvider"])
    with pytest.raises(EngineError, match="Expected device to be auto, cpu, cuda or cuda:N, got 'tpu'"):
        find_devices("tpu", ["CPUExecutionProvider"])


def test_a_gpu_comes_before_the_cpu() -> None:
    providers = ["CPUExecutionProvider", "CUDAExecutionProvider"]
    found = {word: [str(device) for device in find_devices(word, providers)] for word in ("auto", "cuda:2", "cpu")}
    assert found == {"auto": ["cuda:0", "cpu"], "cuda:2": ["cuda:2"], "cpu": ["cpu"]}


def test_a_precision_that_a_provider_lacks_is_an_error() -> None:
    assert pick_precision("auto", torch.device("cpu")) == "fp32"
    assert pick_precision("auto", torch.device("cuda", 0)) == "fp16"
    with pytest.raises(EngineError, match=r"Precision 'bf16' .* computes in fp32 on cpu; set precision to auto"):
        pick_precision("bf16", torch.device("cpu"))


def test_a_version_without_argmax_on_gpus_is_noted_with_the_remedy() -> None:
    """The labels of every frame would be computed on the CPU, for no visible reason."""
    assert "update onnxruntime-gpu to 1.21 or later" in argmax_notes("1.20.1")[0]
    assert argmax_notes("1.21.0") == argmax_notes("1.23.0.dev20250101001") == argmax_notes("2.0") == ()
