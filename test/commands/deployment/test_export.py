"""`erfnet export`: ONNX files compared with PyTorch, and refused exports."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from erfnet_ros.commands.cli import main as erfnet
from erfnet_ros.commands.deployment.export import main
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import ExportError, ParameterError
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.models.checkpoint import Checkpoint, load, save
from erfnet_ros.models.erfnet import ERFNet

THREE = ClassSet("three", ("floor", "wall", "thing"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small checkpoint's file."""
    torch.manual_seed(3)
    state = ERFNet(3).state_dict()
    state["decoder.output_conv.weight"] *= 30
    path = tmp_path_factory.mktemp("trained") / "three.safetensors"
    save(Checkpoint(THREE, state, (64, 48), "", None, ""), path)
    return path


def run(path: Path, size: tuple[int, int]) -> tuple[onnxruntime.InferenceSession, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    labels, confidence = session.run(["labels", "confidence"], {"image": Street(1, size).frame(0)[0][None]})
    assert labels.shape == confidence.shape == (1, size[1], size[0])
    return session, labels


def test_by_default_the_file_takes_images_of_any_size(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At sides that 8 does not divide as well: the network pads them."""
    path = tmp_path / "any.onnx"
    assert erfnet(["export", str(trained), "-o", str(path), "--input-size", "60x44"]) == 0
    output = capsys.readouterr().out
    assert "images of any size, seen by the network at 60x44, fp32" in output
    assert "3 classes (three): floor, wall, thing" in output
    for size in ("64x48", "1280x720", "333x251"):
        assert re.search(rf"\d % at {size}", output)
    for size in ((64, 48), (90, 130)):
        session, labels = run(path, size)
        assert labels.max() < 3
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == list(THREE.names)
    assert [file.name for file in tmp_path.iterdir()] == ["any.onnx"]


def test_a_size_and_an_input_size_are_kept_to(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fixed.onnx"
    assert main([str(trained), "-o", str(path), "--size", "80x56", "--input-size", "40x32"]) == 0
    assert "images of 80x56, seen by the network at 40x32, fp32" in capsys.readouterr().out
    session, _ = run(path, (80, 56))
    metadata = json.loads(session.get_modelmeta().custom_metadata_map["erfnet_ros"])
    assert (metadata["camera_size"], metadata["input_size"]) == ([80, 56], [40, 32])


def test_a_graph_that_answers_otherwise_is_refused_and_the_old_file_kept(trained: Path, tmp_path: Path) -> None:
    """Logits near 100 that differ by hundredths: half precision cannot tell them apart."""
    made = load(trained)
    state = dict(made.state_dict)
    state["decoder.output_conv.weight"] = state["decoder.output_conv.weight"] / 3000
    state["decoder.output_conv.bias"] = torch.full((3,), 100.0)
    save(replace(made, state_dict=state), tmp_path / "close.safetensors")
    path = tmp_path / "close.onnx"
    path.write_bytes(b"old")
    with pytest.raises(
        ExportError, match=r"99\.9 % .* or more, got \d\d\.\d{4} % at 80x56; .*close\.onnx' was not written.*fp32"
    ):
        main([str(tmp_path / "close.safetensors"), "-o", str(path), "--size", "80x56", "--precision", "fp16"])
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("size", ["80", "80x", "0x0", "8x8", "5000x100", "80x56x3"])
def test_a_size_out_of_range_is_refused(trained: Path, tmp_path: Path, size: str) -> None:
    with pytest.raises(ParameterError, match=rf"--size WIDTHxHEIGHT with sides of 16 to 4096 .*'{size}'"):
        main([str(trained), "-o", str(tmp_path / "a.onnx"), "--size", size])


def test_a_place_that_is_not_there_is_refused_before_the_work(trained: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "nowhere" / "a.onnx", tmp_path):
        with pytest.raises(ExportError, match=r"Expected a file in a folder that exists for -o, got"):
            main([str(trained), "-o", str(out)])


def test_one_size_and_any_size_exclude_each_other(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(trained), "-o", str(tmp_path / "a.onnx"), "--size", "80x56", "--dynamic"])
    assert stopped.value.code == 2
