"""OpenVINO engine compared with PyTorch, and its cached networks."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from erfnet_ros.core.errors import EngineError
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.inference import openvino as openvino_module
from erfnet_ros.inference import parity_check
from erfnet_ros.inference.build_cache import Cache
from erfnet_ros.inference.device import has_fused_layers
from erfnet_ros.inference.engine import EngineRequest
from erfnet_ros.inference.factory import open_engine
from erfnet_ros.inference.openvino import OpenVinoEngine, pick_precision
from erfnet_ros.inference.pytorch.engine import PyTorchEngine
from erfnet_ros.models.checkpoint import Checkpoint, load

pytest.importorskip("onnxscript", reason="needs onnxscript (pip install '.[openvino]')")

SIZE = (160, 120)


def trained(size: tuple[int, int] = SIZE) -> Checkpoint:
    """Return the shipped weights, as if they had been trained at a small size."""
    return replace(load(), input_size=size)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("openvino", reason="needs OpenVINO (pip install '.[openvino]')")
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def graph_only(folder: Path, tmp_path: Path) -> Path:
    """Return a cache that holds the network as ONNX, and nothing compiled."""
    opened(folder)
    for file in folder.glob("openvino-graph-*"):
        shutil.copy(file, tmp_path)
    return tmp_path


def opened(folder: Path) -> OpenVinoEngine:
    return OpenVinoEngine(EngineRequest(trained(), "cpu", "fp32"), cache=Cache(folder))


@pytest.mark.parametrize("size", [SIZE, (131, 77), (640, 360)])
def test_labels_are_those_of_pytorch_at_any_size(folder: Path, size: tuple[int, int]) -> None:
    """Otherwise the choice of an engine would change what a robot sees."""
    image = Street(3, size).frame(0)[0][None]
    labels, confidence = opened(folder)(image)
    expected, sure = PyTorchEngine(EngineRequest(trained(), "cpu", "fp32"))(image)
    assert labels.shape == confidence.shape == (1, size[1], size[0])
    assert labels.dtype == confidence.dtype == np.uint8
    assert (labels == expected).mean() >= 0.999
    assert np.abs(confidence.astype(int) - sure)[labels == expected].max() <= 2


def test_a_batch_answers_as_its_images_do_alone(folder: Path) -> None:
    """Each image's scores lie where those of the one before lay: read too late, all would get the last one's labels."""
    engine = opened(folder)
    images = np.stack([Street(seed, SIZE).frame(0)[0] for seed in (1, 2, 3)])
    labels, confidences = engine(images)
    for index in range(3):
        alone, sure = engine(images[index : index + 1])
        assert np.array_equal(labels[index], alone[0])
        assert np.array_equal(confidences[index], sure[0])


def test_network_is_compiled_once_for_each_size_and_written_once(graph_only: Path) -> None:
    """Writing it takes seconds, which no robot should wait for at every start."""
    images = [Street(4, size).frame(0)[0][None] for size in (SIZE, (96, 160))]
    first = [opened(graph_only)(image)[0] for image in images]
    files = {file: file.stat().st_mtime_ns for kind in ("*.onnx", "*.blob") for file in graph_only.glob(kind)}
    assert sorted(file.suffix for file in files) == [".blob", ".blob", ".onnx"]
    again = [opened(graph_only)(image)[0] for image in images]
    assert {file: file.stat().st_mtime_ns for file in files} == files
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))


def test_a_network_that_answers_otherwise_is_refused(graph_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity_check, "MIN_AGREEMENT", 1.1)
    with pytest.raises(EngineError, match=r"Expected OpenVINO \(fp32\) to choose PyTorch's class"):
        opened(graph_only)
    assert not list(graph_only.glob("*.blob"))


def test_a_missing_package_is_said_with_the_command_that_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(
        EngineError, match=r"got none called 'openvino'; install .*pip install 'erfnet_ros\[openvino\]'"
    ):
        open_engine(EngineRequest(trained(), "cpu"), "openvino")


def test_int8_is_for_processors_with_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without, two labels in a hundred are wrong; auto must not fail for it."""
    calibration = load().calibration
    monkeypatch.setattr(openvino_module, "has_int8_units", lambda: True)
    assert pick_precision("int8", calibration) == ("int8", ())
    monkeypatch.setattr(openvino_module, "has_int8_units", lambda: False)
    with pytest.raises(EngineError, match=r"without VNNI .* set it to auto, or engine to pytorch"):
        pick_precision("int8", calibration)
    if has_fused_layers():
        picked, (note,) = pick_precision("auto", calibration)
        assert picked in ("bf16", "fp32")
        assert note.startswith(f"The network runs in {picked}: on a processor without VNNI")


def test_a_gpu_is_refused() -> None:
    with pytest.raises(EngineError, match="runs on the CPU here, got device 'cuda'"):
        OpenVinoEngine(EngineRequest(trained(), "cuda"))
