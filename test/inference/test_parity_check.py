"""Every engine and precision of this machine compared with PyTorch in fp32, on real streets."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from erfnet_ros.core.errors import EngineError
from erfnet_ros.data.frame_sources import open_source, spread_evenly
from erfnet_ros.inference import onnxruntime as onnx_engine
from erfnet_ros.inference import openvino as openvino_engine
from erfnet_ros.inference.engine import PRECISIONS, EngineRequest
from erfnet_ros.inference.factory import open_engine
from erfnet_ros.inference.parity_check import MIN_AGREEMENT
from erfnet_ros.inference.pytorch import engine as pytorch_engine
from erfnet_ros.inference.tensorrt import engine as tensorrt_engine
from erfnet_ros.inference.tensorrt.api import find_backend
from erfnet_ros.models.checkpoint import load
from erfnet_ros.models.pipeline import Pipeline

CAMVID_TEST = Path(__file__).resolve().parents[3] / "shared" / "camvid" / "test"
WAYS = [
    *(("pytorch", precision) for precision in PRECISIONS[1:]),
    *(("onnxruntime", precision) for precision in ("fp32", "fp16")),
    *(("openvino", precision) for precision in ("fp32", "bf16", "int8")),
    *(("tensorrt", precision) for precision in ("fp32", "fp16", "int8")),
]
"""What some machine can run."""


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    if not CAMVID_TEST.is_dir():
        pytest.skip("CamVid (../shared/camvid) is absent")
    source = open_source(str(CAMVID_TEST), load().class_set)
    return [source[index].rgb for index in spread_evenly(len(source), 20)]


@pytest.fixture(scope="module")
def expected(frames: list[np.ndarray]) -> list[np.ndarray]:
    pipeline = Pipeline(load()).eval()
    with torch.inference_mode():
        return [pipeline(torch.from_numpy(frame)[None])[0].numpy()[0] for frame in frames]


def skip_where_missing(engine: str, precision: str) -> None:
    """Skip for want of a package, a device or a precision; whatever else keeps an engine from opening is a failure."""
    if engine in ("onnxruntime", "openvino"):
        for package in ("onnx", "onnxscript", engine):
            pytest.importorskip(package, reason=f"not available: no {package}")
    try:
        if engine == "pytorch":
            pytorch_engine.pick_precision(precision, pytorch_engine.pick_device("auto"), load().calibration)
        elif engine == "openvino":
            openvino_engine.pick_precision(precision, load().calibration)
        elif engine == "onnxruntime":
            import onnxruntime

            # A build for GPUs lists its providers where there is no GPU, too.
            there = onnxruntime.get_available_providers() if torch.cuda.is_available() else ["CPUExecutionProvider"]
            onnx_engine.pick_precision(precision, onnx_engine.find_devices("auto", there)[0])
        else:
            tensorrt_engine.pick_gpu("auto")
            find_backend()
    except EngineError as error:
        pytest.skip(f"not available: {error}")


@pytest.mark.parametrize(("engine", "precision"), WAYS)
def test_labels_are_those_of_fp32(
    engine: str, precision: str, frames: list[np.ndarray], expected: list[np.ndarray]
) -> None:
    skip_where_missing(engine, precision)
    try:
        runs = open_engine(EngineRequest(load(), precision=precision), engine)
    except EngineError as error:
        # OpenVINO's arithmetic in int8 differs between processors; what disagrees refuses itself.
        if engine != "openvino" or "it is not used" not in str(error):
            raise
        pytest.skip(str(error))
    same = [(runs(frame[None])[0][0] == labels).mean() for frame, labels in zip(frames, expected, strict=True)]
    runs.close()
    assert np.mean(same) >= MIN_AGREEMENT


def test_a_camera_of_another_size_is_answered_alike() -> None:
    """The image is resized in bytes, and labels are enlarged by their borders: neither may cost the labels."""
    if not CAMVID_TEST.is_dir():
        pytest.skip("CamVid (../shared/camvid) is absent")
    source = open_source(str(CAMVID_TEST), load().class_set)
    image = cv2.resize(source[40].rgb, (1280, 960), interpolation=cv2.INTER_CUBIC)
    labels, confidence = open_engine(EngineRequest(load(), "cpu", "fp32"), "pytorch")(image[None])
    with torch.inference_mode():
        plain, plain_confidence = (t.numpy() for t in Pipeline(load()).eval()(torch.from_numpy(image)[None]))
    # The resized image is rounded to bytes, as a camera's is.
    assert (labels == plain).mean() >= 0.99
    assert np.abs(confidence.astype(int) - plain_confidence).mean() < 2
