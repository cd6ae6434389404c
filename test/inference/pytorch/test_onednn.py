"""Fused oneDNN layers compared with the plain network, and the fallback to plain layers."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from erfnet_ros.core.errors import EngineError
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.inference.device import has_bf16_units, pick_precision
from erfnet_ros.inference.engine import EngineRequest
from erfnet_ros.inference.pytorch import border_upsampling, cpu, onednn
from erfnet_ros.inference.pytorch.cpu import CpuPipeline, fused_pipeline, on_single_thread, share_of_plain
from erfnet_ros.inference.pytorch.engine import PyTorchEngine
from erfnet_ros.inference.pytorch.onednn import (
    ByteConvolution,
    ByteDeconvolution,
    OneDnnNetwork,
    four_pixels_each,
    halved,
    has_int8_units,
)
from erfnet_ros.models.checkpoint import Calibration, Checkpoint, load
from erfnet_ros.models.pipeline import LogitsNetwork, Pipeline
from erfnet_ros.models.quantization import activation_ranges

SIZE = (160, 120)
FRAMES = np.stack([Street(seed, SIZE).frame(7)[0] for seed in (3, 4)])


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    plain = load()
    pipeline = Pipeline(plain).eval()
    frames = (torch.from_numpy(Street(seed, SIZE).frame(5)[0])[None] for seed in range(6))
    return replace(plain, calibration=Calibration(activation_ranges(pipeline, frames), 0.996))


def ranges_of(checkpoint: Checkpoint) -> Mapping[str, float]:
    assert checkpoint.calibration is not None
    return checkpoint.calibration.ranges


def in_order(fours: Tensor) -> Tensor:
    """Return (C, 2h, 2w) of (C, 2, 2, h, w)."""
    classes, *_, height, width = fours.shape
    return fours.permute(0, 3, 1, 4, 2).reshape(classes, 2 * height, 2 * width)


@pytest.mark.parametrize("scaling", [{}, {"mean": (0.4, 0.5, 0.3), "std": (0.2, 0.25, 0.3)}], ids=["0..1", "mean, std"])
def test_logits_are_the_plain_networks(checkpoint: Checkpoint, scaling: dict[str, tuple[float, float, float]]) -> None:
    """A checkpoint with another scaling must not be shifted by a byte, least of all at the image's edge."""
    scaled = replace(checkpoint, **scaling)  # type: ignore[arg-type]
    pipeline = Pipeline(scaled, SIZE).eval()
    images = torch.from_numpy(FRAMES)
    with torch.inference_mode():
        expected = pipeline.logits(images.float().permute(0, 3, 1, 2))
        found = torch.stack([in_order(each) for each in OneDnnNetwork(pipeline, torch.float32, None)(images)])
    assert torch.allclose(found, expected, atol=2e-3)


def assert_labels_are_the_plain_pipelines(
    checkpoint: Checkpoint, run: CpuPipeline, *, camera: tuple[int, int], least: float
) -> None:
    images = np.stack([Street(9, camera).frame(index)[0] for index in (0, 50)])
    labels, confidence = run(images)
    with torch.inference_mode():
        expected, expected_confidence = (t.numpy() for t in Pipeline(checkpoint).eval()(torch.from_numpy(images)))
    assert labels.shape == confidence.shape == images.shape[:3]
    assert labels.dtype == confidence.dtype == np.uint8
    assert (labels == expected).mean() >= least
    assert np.abs(confidence.astype(int) - expected_confidence).mean() < 4


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.995), ("bf16", 0.99), ("int8", 0.97)])
@pytest.mark.parametrize("camera", [SIZE, (213, 161), (90, 70)])
def test_every_precision_chooses_the_plain_pipelines_classes(
    checkpoint: Checkpoint, precision: str, least: float, camera: tuple[int, int]
) -> None:
    if precision == "bf16" and not has_bf16_units():
        pytest.skip("this processor has no units for bf16")
    trained = replace(checkpoint, input_size=SIZE)
    ranges = ranges_of(checkpoint) if precision == "int8" else None
    fused, reason = fused_pipeline(Pipeline(trained).eval(), precision, ranges)
    assert fused is not None, reason
    assert_labels_are_the_plain_pipelines(trained, fused, camera=camera, least=least)


def test_int8_works_with_a_scaling_by_mean_and_deviation(checkpoint: Checkpoint) -> None:
    """Zero padding is the mean's byte there; a wrong one shows at the edges first."""
    scaled = replace(checkpoint, mean=(0.05, 0.02, 0.08), std=(0.9, 1.1, 1.0), input_size=SIZE)
    pipeline = Pipeline(scaled).eval()
    ranges = activation_ranges(pipeline, [torch.from_numpy(FRAMES)])
    labels, _ = CpuPipeline(OneDnnNetwork(pipeline, torch.float32, ranges), SIZE, None)(FRAMES)
    with torch.inference_mode():
        expected = pipeline(torch.from_numpy(FRAMES))[0].numpy()
    assert (labels == expected).mean() > 0.97
    edge = np.s_[:, :4, :]
    assert (labels[edge] == expected[edge]).mean() > 0.95


def test_a_deconvolution_is_a_convolution_to_four_pixels_each() -> None:
    torch.manual_seed(0)
    deconvolution = nn.ConvTranspose2d(5, 3, 3, stride=2, padding=1, output_padding=1)
    x = torch.randn(2, 5, 6, 7)
    weight, bias = four_pixels_each(deconvolution)
    fours = nn.functional.conv2d(nn.functional.pad(x, (0, 1, 0, 1)), weight, bias)
    found = torch.stack([in_order(each) for each in fours.view(2, 2, 2, 3, 6, 7).permute(0, 3, 1, 2, 4, 5)])
    assert torch.allclose(found, deconvolution(x), atol=1e-5)


def test_bytes_are_convolved_to_within_a_step() -> None:
    torch.manual_seed(1)
    convolution = nn.Conv2d(16, 16, (3, 1), padding=(2, 0), dilation=(2, 1))
    with torch.no_grad():
        convolution.weight[3] = 0
    x = torch.randint(0, 256, (1, 16, 12, 10), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    found = ByteConvolution.of(convolution, 0.01, 0.02)(x).float() * 0.02
    expected = convolution(0.01 * x.float()).relu().clamp(max=255 * 0.02)
    # Without units for int8 the weights have fewer steps.
    assert (found - expected).abs().max() < (0.03 if has_int8_units() else 0.05)
    up = nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, output_padding=1)
    wide = ByteDeconvolution(up, 0.01, torch.float32)(x)
    assert torch.allclose(wide, up(0.01 * x.float()).relu(), atol=0.05)


@pytest.mark.parametrize("units", [True, False])
def test_sums_of_bytes_do_not_overflow(units: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without VNNI two products are added in 16 bits; the largest bytes on neighbors of the largest weights would."""
    if units and not has_int8_units():
        pytest.skip("this processor has no units for int8")
    monkeypatch.setattr(onednn, "has_int8_units", lambda: units)
    random = torch.Generator().manual_seed(2)
    for channels in (3, 16, 64):
        convolution = nn.Conv2d(channels, 16, (1, 3), padding=(0, 1))
        with torch.no_grad():
            # All weights of a channel are of one sign and near the largest.
            signs = torch.tensor([1.0, -1.0]).repeat(8)[:, None, None, None]
            convolution.weight.copy_(signs * (0.9 + 0.1 * torch.rand(convolution.weight.shape, generator=random)))
        x = torch.full((1, channels, 6, 5), 255, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
        found = ByteConvolution.of(convolution, 0.01, torch.float32)(x)
        assert torch.allclose(found, convolution(2.55 * torch.ones(x.shape)).relu(), rtol=0.01, atol=0.01)


def test_pooling_takes_the_largest_of_four() -> None:
    x = torch.randint(0, 256, (2, 6, 8, 3), dtype=torch.uint8)
    expected = nn.functional.max_pool2d(x.permute(0, 3, 1, 2).float(), 2)
    assert torch.equal(halved(x).permute(0, 3, 1, 2).float(), expected)


def test_a_processor_without_fused_layers_is_served_by_plain_ones(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu.platform, "machine", lambda: "aarch64")
    trained = replace(checkpoint, input_size=SIZE)
    engine = PyTorchEngine(EngineRequest(trained, "cpu", "fp32"))
    assert "slower than it could: oneDNN's fused layers are for x86 processors, and this is aarch64" in engine.notes[-1]
    labels, _ = engine(FRAMES)
    with torch.inference_mode():
        assert (labels == Pipeline(trained).eval()(torch.from_numpy(FRAMES))[0].numpy()).mean() > 0.999
    with pytest.raises(EngineError, match=r"'int8' cannot be used here: oneDNN's .* set precision to auto"):
        PyTorchEngine(EngineRequest(checkpoint, "cpu", "int8"))


@pytest.mark.parametrize(("dtype", "least"), [(torch.float32, 0.995), (torch.bfloat16, 0.98)])
@pytest.mark.parametrize("camera", [SIZE, (157, 119), (213, 161), (330, 250), (90, 70)])
def test_plain_layers_are_enlarged_by_their_borders_and_keep_their_labels(
    checkpoint: Checkpoint, dtype: torch.dtype, least: float, camera: tuple[int, int]
) -> None:
    """A Raspberry Pi must not pay more for labels at its camera's size than for the network, nor get others."""
    trained = replace(checkpoint, input_size=SIZE)
    plain = CpuPipeline(LogitsNetwork(Pipeline(trained).eval().to(dtype)), SIZE, None)
    assert_labels_are_the_plain_pipelines(trained, plain, camera=camera, least=least)


def test_plain_layers_make_no_scores_at_the_cameras_size(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 1920x1080 they took longer than the network."""
    monkeypatch.setattr(cpu.platform, "machine", lambda: "aarch64")
    engine = PyTorchEngine(EngineRequest(replace(checkpoint, input_size=SIZE), "cpu", "fp32"))
    monkeypatch.setattr(border_upsampling, "upsample", lambda *_: pytest.fail("all scores were interpolated"))
    assert engine(Street(9, (640, 480)).frame(0)[0][None])[0].shape == (1, 480, 640)


def test_fused_layers_that_answer_otherwise_or_are_gone_are_not_used(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are no public part of PyTorch: a version may change what they compute."""
    pipeline = Pipeline(checkpoint).eval()
    monkeypatch.setattr(cpu, "share_of_plain", lambda *_: 0.5)
    fused, reason = fused_pipeline(pipeline, "fp32", None)
    assert fused is None
    assert "choose the class of the plain ones on 50.00 % of the pixels only" in reason
    monkeypatch.setattr(cpu, "OneDnnNetwork", lambda *_: torch.ops.mkldnn.gone)
    fused, reason = fused_pipeline(pipeline, "fp32", None)
    assert fused is None
    assert "has other fused layers (AttributeError" in reason


def test_auto_is_int8_only_where_it_answers_as_fp32_does(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, ranges = torch.device("cpu"), ranges_of(checkpoint)
    floats = "bf16" if has_bf16_units() else "fp32"
    assert pick_precision("auto", here, Calibration(ranges, 0.996)) == ("int8", ())
    picked, (note,) = pick_precision("auto", here, Calibration(ranges, 0.95))
    assert picked == floats
    assert note == f"The network runs in {floats}: int8 chooses the class of fp32 on 95.00 % of the pixels only."
    picked, (note,) = pick_precision("auto", here, None)
    assert picked == floats
    assert "erfnet calibrate" in note
    monkeypatch.setattr(cpu.platform, "machine", lambda: "aarch64")
    assert pick_precision("auto", here, Calibration(ranges, 0.996))[0] != "int8"


def test_one_thread_computes_for_all_callers(checkpoint: Checkpoint) -> None:
    """Each computing thread would start OpenMP threads of its own, and all of them would compete."""
    engine = PyTorchEngine(EngineRequest(checkpoint, "cpu", "fp32"))
    expected = engine(FRAMES)[0]
    before = threading.active_count()
    with ThreadPoolExecutor(3) as callers:
        answers = list(callers.map(lambda _: engine(FRAMES)[0], range(6)))
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith("erfnet_engine")]
    assert names == ["erfnet_engine_0"]
    assert threading.active_count() == before
    assert all(np.array_equal(labels, expected) for labels in answers)


def test_work_on_the_single_thread_keeps_the_callers_number_of_threads_and_may_nest_and_fail() -> None:
    threads = torch.get_num_threads()
    for count in (1, threads):
        torch.set_num_threads(count)
        assert on_single_thread(torch.get_num_threads) == count
    assert on_single_thread(lambda: on_single_thread(lambda: 3)) == 3
    with pytest.raises(ZeroDivisionError):
        on_single_thread(lambda: 1 // 0)


def test_a_forked_process_has_a_thread_of_its_own() -> None:
    """It inherits what stands for the thread, and would wait for it for ever."""
    on_single_thread(int)
    child = os.fork()
    if child == 0:
        os._exit(on_single_thread(lambda: 7))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_auto_gives_up_int8_where_it_does_not_answer_as_it_should(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums that overflow leave labels that look like labels."""
    monkeypatch.setattr(cpu, "share_of_plain", lambda *arguments: min(share_of_plain(*arguments), 0.985))
    monkeypatch.setitem(cpu._MIN_AGREEMENT, "int8", 0.99)
    engine = PyTorchEngine(EngineRequest(checkpoint, "cpu", "auto"))
    assert engine.precision in ("bf16", "fp32")
    assert "since int8 cannot be used here: its fused layers choose the class" in engine.notes[0]
    with pytest.raises(EngineError, match="'int8' cannot be used here"):
        PyTorchEngine(EngineRequest(checkpoint, "cpu", "int8"))
