"""Frames of which the network is unsure become training images, within bounds, and never at the masks' expense."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

from sensor_msgs.msg import Image
from std_msgs.msg import Header
from support.live_node import client_of, image_message, running_node

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.data.datasets import open_layout
from erfnet_ros.data.datasets.validate import check_dataset
from erfnet_ros.inference.segmenter import Segmentation, StageTimes
from erfnet_ros.ros.node.parameters import Settings
from erfnet_ros.ros.node.publishers import SegmentedFrame
from erfnet_ros.ros.node.samples import RecorderLimits, UncertainFrameRecorder

SHAPE = (48, 64)
LIMITS = RecorderLimits(below=0.5, most_samples=3, most_mb=1.0)


def frame_of(number: int, confidence: float = 0.3) -> SegmentedFrame:
    """Return a frame of its own noise."""
    rgb = np.random.default_rng(number).integers(0, 256, (*SHAPE, 3), np.uint8)
    labels = (rgb[..., 0] % len(CAMVID)).astype(np.uint8)
    header = Header()
    header.stamp.sec = number
    return SegmentedFrame(
        header=header,
        rgb=rgb,
        segmentation=Segmentation(labels, np.full(SHAPE, round(255 * confidence), np.uint8), StageTimes(0.0, 0.0)),
        mask=labels,
        class_set=CAMVID,
        palette=CAMVID.palette(),
        settings=Settings(),
        camera_info=None,
        start_s=0.0,
        preprocess_ms=0.0,
        inferred_s=0.0,
        processed=number,
        dropped=0,
        rejected=0,
    )


Record = Callable[..., None]


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def record(tmp_path: Path, warnings: list[str]) -> Iterator[Record]:
    """Offer a frame to a recorder of its own and wait until that has ended."""

    def record(frame: SegmentedFrame, limits: RecorderLimits = LIMITS) -> None:
        recorder = UncertainFrameRecorder(tmp_path / "uncertain", limits, {}, warnings.append)
        recorder.offer("", frame, 0.0)
        recorder.close()

    return record


def recorded(folder: Path, part: str = "images") -> list[int]:
    """Return the seconds of the stamps of what is there."""
    return sorted(int(path.name.split("_")[0]) for path in (folder / "uncertain" / part).glob("*_*"))


def test_frames_are_recorded_in_the_background_at_a_bounded_rate(tmp_path: Path, warnings: list[str]) -> None:
    recorder = UncertainFrameRecorder(tmp_path / "uncertain", LIMITS, {}, warnings.append)
    recorder.offer("", frame_of(1, confidence=0.6), 0.0)
    recorder.offer("", frame_of(2), 0.1)
    recorder.offer("", frame_of(3), 5.0)
    recorder.close()
    assert recorded(tmp_path) == [2]
    assert not warnings


@pytest.mark.parametrize("limits", [LIMITS, RecorderLimits(0.5, 100, 0.04)], ids=["count", "disk"])
def test_the_oldest_are_replaced(tmp_path: Path, record: Record, limits: RecorderLimits) -> None:
    for number in range(1, 7):
        record(frame_of(number), limits)
    kept = recorded(tmp_path)
    assert kept[-1] == 6
    assert len(kept) <= 3
    assert all(recorded(tmp_path, part) == kept for part in ("labels", "confidence", "info"))
    assert sum(path.stat().st_size for path in tmp_path.rglob("*_*")) <= 1e6 * limits.most_mb


def test_what_a_killed_writer_has_left_is_removed(tmp_path: Path, record: Record) -> None:
    record(frame_of(1))
    half = ("labels/7_000000000_000007.png", "images/8_000000000_000008.png.99.partial")
    for name in (*half, "images/of_the_user.png"):
        (tmp_path / "uncertain" / name).write_bytes(b"half")
    record(frame_of(2))
    assert recorded(tmp_path, "labels") == [1, 2]
    (tmp_path / "uncertain" / "images" / "of_the_user.png").unlink()
    assert recorded(tmp_path) == [1, 2]


def test_the_data_check_accepts_what_is_recorded(tmp_path: Path, record: Record) -> None:
    for number in (1, 2):
        record(frame_of(number))
    check = check_dataset(open_layout("folder", tmp_path / "uncertain"))
    assert sum(len(split.usable) for split in check.splits) == 2
    assert not check.faults


def test_a_disk_that_is_full_leaves_no_half_sample_and_is_told_once(tmp_path: Path, warnings: list[str]) -> None:
    recorder = UncertainFrameRecorder(tmp_path / "uncertain", LIMITS, {}, warnings.append)
    recorder._folder.mkdir()
    (recorder._folder / "classes.yaml").write_text(CAMVID.to_yaml())
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limit[1]))
    try:
        for number in (1, 2):
            recorder.offer("", frame_of(number), 10.0 * number)
            while recorder._waiting.qsize():
                pass
        recorder.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [path for path in recorder._folder.rglob("*_*") if path.is_file()] == []
    assert len(warnings) == 1
    assert "Uncertain frames are not recorded, the masks go on: Cannot write" in warnings[0]


def test_the_node_records_and_its_masks_go_on_where_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    camera_frame = image_message(frame_of(1).rgb)
    for folder, works in ((tmp_path, True), (tmp_path / "file", False)):
        parameters = {"sample_folder": str(folder), "record_below": 1.0, "device": "cpu", "input_size": "64x48"}
        with running_node(parameters) as node, client_of(node) as client:
            camera, masks = client.camera(), client.listen("mask", Image)
            client.send(camera, camera_frame, masks)
            if works:
                client.wait_for(lambda: list(tmp_path.glob("uncertain/images/*.png")), "a recorded frame")
            else:
                client.wait_for(lambda node=node: "are not recorded, the masks go on" in node.log(), "the reason")
                client.send(camera, camera_frame, masks)
