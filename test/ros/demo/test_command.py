"""The demo with real processes over real DDS, on few frames."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

from sensor_msgs.msg import Image
from support.erfnet_process import ROOT, ErfnetProcess
from support.live_node import Client, free_domain

from erfnet_ros.core.array_types import VOID
from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.output_files import locked_output_folder
from erfnet_ros.data.label_map import LabelMap
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.evaluation.metrics.confusion_matrix import confusion_matrix, mean_iou
from erfnet_ros.inference.segmenter import Segmenter

Start = Callable[..., ErfnetProcess]

SIZE = (96, 72)
CAMVID_TEST = ROOT.parent / "shared" / "camvid" / "test"


@pytest.fixture
def start(start_erfnet: Start) -> Start:
    return partial(start_erfnet, "demo")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Fill a folder with images/ and labels/ as data sets have them."""
    street = Street(seed=3, size=SIZE)
    for name in ("images", "labels"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for index in range(24):
        rgb, labels = street.frame(10 * index)
        cv2.imwrite(str(tmp_path / f"data/images/{index:03d}.png"), np.ascontiguousarray(rgb[..., ::-1]))
        cv2.imwrite(str(tmp_path / f"data/labels/{index:03d}.png"), np.where(labels == VOID, CAMVID.void, labels))
    return tmp_path / "data"


def read_summary(out: Path) -> dict[str, object]:
    content = json.loads((out / "summary.json").read_text())
    assert isinstance(content, dict)
    return content


def test_demo_shows_figures_and_pictures_and_leaves_nothing_running(
    start: Start, fast_checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    domain = free_domain()
    options = ("--checkpoint", str(fast_checkpoint), "--frames", "8", "--rate", "2", "--depth", "--out", str(out))
    demo = start(*options, environment={"ROS_DOMAIN_ID": str(domain)})
    with Client(domain) as client:
        depths = client.listen("/camera/depth/image_raw", Image)
        client.wait_for(lambda: depths, "the street's depth", deadline_s=120)
    status, output = demo.finish()
    assert status == 0, output
    demo.assert_nothing_is_left()
    summary = read_summary(out)
    # A busy machine drops frames of the street, which are not played again.
    assert 1 <= (answered := summary["frames_out"]) <= 8, output
    assert (summary["frames_in"], summary["dropped"], summary["lost"]) == (8, 8 - answered, 0), output
    assert summary["outputs"] == dict.fromkeys(("mask", "confidence", "overlay", "statistics"), answered)
    assert summary["stamps_mismatched"] == summary["rejected"] == 0
    assert (summary["engine"], summary["device"].split(":")[0] in ("cpu", "cuda")) == ("pytorch", True)
    latency = summary["latency_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"]
    assert len(summary["latency_quarters_ms"]) == 4
    assert 0 <= summary["miou"] <= 1
    assert set(summary["iou"]) == set(CAMVID.names)
    assert len(list(out.glob("overlay_*.png"))) == answered
    assert cv2.imread(str(out / "contact_sheet.png")) is not None
    assert cv2.VideoCapture(str(out / "video.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == answered
    assert "mIoU" in output
    assert f"frames in {summary['frames_in']:>5}" in output
    assert [path for path in out.iterdir() if path.name.startswith(".")] == []


def test_every_frame_of_a_folder_is_scored_although_the_camera_is_too_fast(
    start: Start, fast_checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    """A score over the frames that happened not to be dropped would be another number each time."""
    out = tmp_path / "out"
    demo = start("--source", str(folder), "--checkpoint", str(fast_checkpoint), "--rate", "500", "--out", str(out))
    status, output = demo.finish()
    assert status == 0, output
    summary = read_summary(out)
    assert summary["scored"] == summary["frames_out"] == 24
    assert summary["passes"] > 1
    assert summary["dropped"] > 0
    assert summary["frames_in"] == 24 + summary["dropped"] + summary["lost"]
    assert summary["stamps_mismatched"] == 0
    assert "note: " in output
    assert summary["miou"] == pytest.approx(offline_miou(fast_checkpoint, folder), abs=0.001)


@pytest.mark.skipif(not CAMVID_TEST.is_dir(), reason="CamVid (../shared/camvid) is absent")
def test_real_camera_frames_get_the_labels_of_the_library_through_the_node(start: Start, tmp_path: Path) -> None:
    """The figure that the weights promise must be what a robot gets, not what a script computed next to it."""
    folder, out = tmp_path / "camvid", tmp_path / "out"
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
        for path in sorted((CAMVID_TEST / name).iterdir())[::12]:
            (folder / name / path.name).symlink_to(path)
    demo = start("--source", str(folder), "--out", str(out))
    status, output = demo.finish()
    assert status == 0, output
    summary = read_summary(out)
    assert summary["scored"] == 20
    assert summary["stamps_mismatched"] == 0
    assert summary["miou"] > 0.4
    assert summary["miou"] == pytest.approx(offline_miou(None, folder), abs=0.001)


def offline_miou(checkpoint: Path | None, folder: Path) -> float:
    segmenter = Segmenter(checkpoint)
    matrix = 0
    for path in sorted((folder / "images").iterdir()):
        labels = (folder / "labels" / path.name).with_suffix(".png")
        rgb, ground_truth = cv2.imread(str(path)), cv2.imread(str(labels), cv2.IMREAD_GRAYSCALE)
        assert rgb is not None
        assert ground_truth is not None
        predicted = segmenter(rgb[..., ::-1]).labels
        matrix = matrix + confusion_matrix(LabelMap.of(CAMVID).from_ids(ground_truth), predicted, len(CAMVID))
    miou = mean_iou(matrix)
    assert miou is not None
    return miou


def test_folder_without_labels_has_no_score_and_is_played_once(
    start: Start, fast_checkpoint: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    demo = start(
        "--source", str(folder / "images"), "--checkpoint", str(fast_checkpoint), "--rate", "20", "--out", str(out)
    )
    status, output = demo.finish()
    assert status == 0, output
    summary = read_summary(out)
    assert (summary["miou"], summary["iou"], summary["scored"], summary["passes"]) == (None, None, 0, 1)
    assert (out / "contact_sheet.png").is_file()


def test_a_device_that_is_not_there_is_said_in_one_message(start: Start, fast_checkpoint: Path, tmp_path: Path) -> None:
    demo = start("--checkpoint", str(fast_checkpoint), "--device", "cuda:77", "--out", str(tmp_path))
    status, output = demo.finish()
    assert status == 2
    assert "erfnet: error: The node is up, but: Not configured: Device 'cuda:77'" in output
    assert "Traceback" not in output
    demo.assert_nothing_is_left()


def test_a_missing_source_is_refused_before_anything_is_started_or_replaced(
    start: Start, fast_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "summary.json").write_text("of the last run")
    demo = start("--source", str(tmp_path / "nowhere"), "--checkpoint", str(fast_checkpoint), "--out", str(tmp_path))
    status, output = demo.finish()
    assert status == 2
    assert output.startswith("erfnet: error: Expected 'synthetic', 'synthetic:SEED', a folder of images or a video")
    assert len(output.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
    demo.assert_nothing_is_left()


def test_the_depth_of_images_is_refused(start: Start, folder: Path, tmp_path: Path) -> None:
    status, output = start("--source", str(folder), "--depth", "--out", str(tmp_path / "out")).finish()
    assert status == 2
    assert "Expected a source whose depth is known" in output
    assert not (tmp_path / "out").exists()


def test_a_folder_that_another_run_writes_to_is_refused(start: Start, fast_checkpoint: Path, tmp_path: Path) -> None:
    """Two runs would mix their results, and both end with 0."""
    with locked_output_folder(tmp_path):
        status, output = start("--checkpoint", str(fast_checkpoint), "--out", str(tmp_path)).finish()
    assert status == 2
    assert output.startswith("erfnet: error: Expected an output folder that no other run uses")
    assert len(output.splitlines()) == 1


@pytest.mark.parametrize("moment", ["Starting the node", "Playing"])
def test_ctrl_c_stops_node_and_camera_and_keeps_the_last_results(
    start: Start, fast_checkpoint: Path, tmp_path: Path, moment: str
) -> None:
    (tmp_path / "summary.json").write_text("of the last run")
    demo = start("--checkpoint", str(fast_checkpoint), "--frames", "60", "--rate", "2", "--out", str(tmp_path))
    demo.wait_for(moment)
    begin_s = time.monotonic()
    demo.process.send_signal(signal.SIGINT)
    status, output = demo.finish()
    assert time.monotonic() - begin_s < 3
    assert status == 130, output
    assert output.endswith("erfnet demo: interrupted; run the same command again to start over.\n")
    assert "Traceback" not in output
    demo.assert_nothing_is_left()
    assert {path.name for path in tmp_path.iterdir()} <= {"summary.json", "node.log"}
    assert (tmp_path / "summary.json").read_text() == "of the last run"


def test_a_node_that_dies_ends_the_demo_with_its_last_lines(
    start: Start, fast_checkpoint: Path, tmp_path: Path
) -> None:
    demo = start("--checkpoint", str(fast_checkpoint), "--frames", "60", "--rate", "2", "--out", str(tmp_path))
    demo.wait_for("Playing")
    os.kill(demo.node(), signal.SIGKILL)
    status, output = demo.finish()
    assert status == 2
    assert "The node ended by itself (signal SIGKILL). Its last lines:" in output
    assert "Active: subscribes to /camera/image_raw" in output
    demo.assert_nothing_is_left()


def test_nothing_survives_a_demo_that_is_killed(start: Start, fast_checkpoint: Path, tmp_path: Path) -> None:
    demo = start("--checkpoint", str(fast_checkpoint), "--frames", "60", "--rate", "2", "--out", str(tmp_path))
    demo.wait_for("Playing")
    demo.process.kill()
    demo.process.wait()
    demo.assert_nothing_is_left()
