"""Bad input to the node: named, counted, and without effect on the next image."""

from __future__ import annotations

import math
import pickle
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import torch
from erfnet_ros.msg import SegmentationStatistics
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Log
from safetensors.torch import save_file
from sensor_msgs.msg import CompressedImage, Image
from support.live_node import Client, NodeProcess, client_of, compressed_message, image_message, running_node

from erfnet_ros.models.checkpoint import DEFAULT

GOOD = np.full((64, 96, 3), 90, np.uint8)


def changed(**fields: Any) -> Image:
    message = image_message(GOOD)
    for name, value in fields.items():
        setattr(message, name, value)
    return message


BAD_FRAMES: dict[str, tuple[Callable[[], Image], str]] = {
    "unknown encoding": (lambda: changed(encoding="32FC1"), "got '32FC1'"),
    "forged encoding": (
        lambda: changed(encoding="rgb8\n[ERROR] " + "x" * 5000),
        r"got 'rgb8\\n\[ERROR\] x{20,60}…",
    ),
    "empty encoding": (lambda: changed(encoding=""), "got ''"),
    "step too small": (lambda: changed(step=100), "step of at least 288 bytes for 96 pixels of rgb8, got 100"),
    "data too short": (
        lambda: changed(data=image_message(GOOD).data[:1000]),
        "Expected 18432 bytes of data .*got 1000",
    ),
    "0x0": (lambda: Image(encoding="rgb8"), "at least 8x8 pixels, got 0x0"),
    "1x1": (lambda: image_message(GOOD[:1, :1]), "at least 8x8 pixels, got 1x1"),
    "8000x6000": (lambda: changed(width=8000, height=6000, step=24000), "at most 16.8 megapixels, got 8000x6000"),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_bad_frame_is_counted_and_explained_and_the_next_one_is_segmented(
    client: Client, node: NodeProcess, name: str
) -> None:
    make, reason = BAD_FRAMES[name]
    camera, received = client.camera(), client.listen("statistics", SegmentationStatistics)
    before = client.send(camera, image_message(GOOD), received)
    camera.publish(client.stamped(make()))
    status = client.diagnosis(lambda s: _matches(reason, s.message), f"a diagnosis of {name}")
    assert status.level != b"\x00"
    after = client.send(camera, image_message(GOOD), received)
    assert after.frames_rejected == before.frames_rejected + 1
    assert "Frame rejected" in node.log()


def test_broken_compressed_frames_are_counted_and_explained() -> None:
    encoded = cv2.imencode(".jpg", GOOD)[1].tobytes()
    with running_node({"image_transport": "compressed"}) as node, client_of(node) as client:
        client.reach("active")
        camera = client.camera("/camera/image_raw/compressed", message_type=CompressedImage)
        received = client.listen("statistics", SegmentationStatistics)
        client.send(camera, compressed_message(encoded), received)
        for broken in (b"", encoded[:20], b"no picture"):
            camera.publish(client.stamped(compressed_message(broken)))
            wanted = f"got {len(broken)} bytes"
            client.diagnosis(lambda status, wanted=wanted: wanted in status.message, "the diagnosis")
            client.send(camera, compressed_message(encoded), received)
        assert received[-1].frames_rejected == 3
        assert "that cannot be decoded" in node.log()


def test_one_kind_of_fault_is_logged_once_in_five_seconds() -> None:
    """Messages of which each tells another length would fill the log, and the network with it."""
    encoded = cv2.imencode(".jpg", GOOD)[1].tobytes()
    with running_node({"image_transport": "compressed"}) as node, client_of(node) as client:
        client.reach("active")
        camera = client.camera("/camera/image_raw/compressed", message_type=CompressedImage)
        told = client.listen("/rosout", Log, 100)
        client.send(camera, compressed_message(encoded), client.listen("mask", Image))
        start_s = time.monotonic()
        for length in range(20, 120):
            camera.publish(client.stamped(compressed_message(encoded[:length])))
            client.spin_for(0.02)
        client.diagnosis(lambda s: "got 119 bytes" in s.message, "the last one's diagnosis")
        periods = (time.monotonic() - start_s) // 5 + 1
        assert 1 <= node.log().count(" rejected (") <= periods
        assert 1 <= len([entry for entry in told if " rejected (" in entry.msg]) <= periods


def test_a_camera_of_another_message_type_is_named(client: Client) -> None:
    client.camera(message_type=CompressedImage)
    client.diagnosis(
        lambda s: (
            "Expected sensor_msgs/msg/Image on /camera/image_raw, got sensor_msgs/msg/CompressedImage" in s.message
        ),
        "the refused type",
    )


def _truncated(folder: Path) -> Path:
    path = folder / "truncated.safetensors"
    path.write_bytes(DEFAULT.read_bytes()[:100_000])
    return path


def _foreign(folder: Path) -> Path:
    save_file({"weight": torch.zeros(3)}, folder / "foreign.safetensors")
    return folder / "foreign.safetensors"


def _pickled(folder: Path) -> Path:
    path = folder / "pickled.pth"
    path.write_bytes(pickle.dumps({"state_dict": {}}))
    return path


BAD_PARAMETERS: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "missing checkpoint": ("checkpoint", lambda folder: str(folder / "none.safetensors"), "none.safetensors"),
    "truncated checkpoint": ("checkpoint", lambda folder: str(_truncated(folder)), "truncated.safetensors"),
    "foreign checkpoint": ("checkpoint", lambda folder: str(_foreign(folder)), "foreign.safetensors"),
    "pickled checkpoint": ("checkpoint", lambda folder: str(_pickled(folder)), "import-weights"),
    "unknown device": ("device", lambda folder: "tpu", "auto, cpu, cuda or cuda:N, got 'tpu'"),
    "no such GPU": ("device", lambda folder: "cuda:7", "Device 'cuda:7' was asked for, but"),
    "fp16 on a CPU": ("precision", lambda folder: "fp16", "Precision 'fp16' was asked for on a CPU"),
}


def test_a_configuration_that_cannot_load_leaves_the_node_unconfigured_and_answering(tmp_path: Path) -> None:
    """One process for all of them: after each refusal the node must still be there for the next try."""
    with running_node({"autostart": False, "device": "cpu"}) as node, client_of(node) as client:
        for name, (parameter, make, reason) in BAD_PARAMETERS.items():
            assert client.set(parameter, make(tmp_path)).successful, name
            assert not client.change(Transition.TRANSITION_CONFIGURE), name
            assert client.state() == "unconfigured", name
            status = client.diagnosis(lambda s, reason=reason: reason in s.message, f"a diagnosis of {name}")
            assert status.level == b"\x02", name
            assert reason in node.log(), name
            default = {"checkpoint": "", "device": "cpu", "precision": "auto"}[parameter]
            assert client.set(parameter, default).successful, name
        assert client.change(Transition.TRANSITION_CONFIGURE)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("input_size", "0", "got '0'"),
        ("input_size", "640x0", "640x0"),
        ("engine", "caffe", "got 'caffe'"),
        ("overlay_alpha", math.nan, "nan"),
        ("confidence_threshold", math.nan, "nan"),
        ("max_rate", math.inf, "inf"),
        ("overlay_alpha", 1.5, "1.5"),
        ("image_transport", "theora", "got 'theora'"),
    ],
)
def test_a_parameter_out_of_range_is_refused_with_the_reason(
    unconfigured: Client, name: str, value: object, reason: str
) -> None:
    result = unconfigured.set(name, value)
    assert not result.successful
    assert name in result.reason
    assert reason in result.reason


@pytest.fixture(scope="module")
def waiting_node() -> Iterator[NodeProcess]:
    with running_node({"autostart": False}) as process:
        yield process


@pytest.fixture
def unconfigured(waiting_node: NodeProcess) -> Iterator[Client]:
    with client_of(waiting_node) as client:
        yield client


def test_bad_values_at_start_are_told_and_can_be_mended_without_a_restart() -> None:
    """A typo in a launch file needs no debugger: the node is up, says what is wrong, and takes the right value."""
    qos = "qos_overrides./camera/image_raw.subscription.depth"
    wrong = {"input_size": 0, "engine": "caffe", "overlay_alpha": math.nan, "overlay_alhpa": 0.3, qos: 5}
    with running_node(wrong) as node, client_of(node) as client:
        status = client.diagnosis(lambda s: "'input_size'" in s.message, "the refusal at start")
        assert "'caffe'" in status.message
        assert "nan" in status.message
        assert client.state() == "unconfigured"
        for name, value in {"input_size": "auto", "engine": "pytorch", "overlay_alpha": 0.5}.items():
            assert client.set(name, value).successful
        assert client.change(Transition.TRANSITION_CONFIGURE)
        for name in ("overlay_alhpa", qos):
            assert f"Parameter '{name}' was set but this node has none of that name" in node.log()


def _matches(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None
