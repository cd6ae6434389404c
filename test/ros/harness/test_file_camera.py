"""File camera: encodings, stamps, calibration and rate, as of a camera driver."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from support.live_node import Client

from erfnet_ros.core.image import to_array
from erfnet_ros.core.image_decoding import compressed_to_array
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.ros.harness.child_process import child_environment

ROOT = Path(__file__).resolve().parents[3]
SIZE = (96, 72)
DOMAIN = 1 + (os.getpid() + 50) % 101
FRAMES = 6


@pytest.fixture
def viewer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    client = Client(DOMAIN)
    yield client
    client.close()


def start_camera(*arguments: str) -> subprocess.Popen[str]:
    own = ["--size", "96x72", "--frames", str(FRAMES), "--wait", "60", "--rate", "10"]
    return subprocess.Popen(
        [sys.executable, "-m", "erfnet_ros.ros.harness.file_camera", *own, *arguments],
        cwd=ROOT,
        env=child_environment() | {"ROS_DOMAIN_ID": str(DOMAIN)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_raw_images_carry_the_sources_pixels_with_fresh_stamps(viewer: Client, encoding: str) -> None:
    images = viewer.listen("/camera/image_raw", Image)
    calibrations = viewer.listen("/camera/camera_info", CameraInfo)
    camera = start_camera("--encoding", encoding, "--frame-id", "front")
    viewer.wait_for(lambda: min(len(images), len(calibrations)) >= FRAMES - 1, "images")
    output = camera.communicate(timeout=60)[0]
    assert camera.returncode == 0, output
    assert f"Published {FRAMES} frames at " in output
    frames = [Street(0, SIZE).frame(index)[0] for index in range(FRAMES)]
    shown = [next(i for i, rgb in enumerate(frames) if np.array_equal(rgb, to_array(image))) for image in images]
    assert shown == list(range(shown[0], shown[0] + len(shown)))
    assert {image.encoding for image in images} == {encoding}
    assert {image.header.frame_id for image in images} == {"front"}
    stamps = [image.header.stamp.sec + image.header.stamp.nanosec / 1e9 for image in images]
    assert abs(stamps[-1] - time.time()) < 60
    assert np.diff(stamps).min() > 0
    assert (calibrations[-1].width, calibrations[-1].height) == SIZE
    assert calibrations[-1].header in [image.header for image in images]


def test_compressed_images_are_jpegs_of_the_source(viewer: Client) -> None:
    images = viewer.listen("/camera/image_raw/compressed", CompressedImage)
    camera = start_camera("--encoding", "jpeg")
    viewer.wait_for(lambda: images, "an image")
    output = camera.communicate(timeout=60)[0]
    assert camera.returncode == 0, output
    assert "jpeg" in images[-1].format
    street = Street(0, SIZE)
    frames = np.stack([street.frame(index)[0] for index in range(FRAMES)]).astype(int)
    assert np.abs(frames - compressed_to_array(images[-1])).mean(axis=(1, 2, 3)).min() < 8


def test_the_streets_depth_is_published_with_its_calibration(viewer: Client) -> None:
    depths = viewer.listen("/camera/depth/image_raw", Image)
    calibrations = viewer.listen("/camera/depth/camera_info", CameraInfo)
    images = viewer.listen("/camera/image_raw", Image)
    camera = start_camera("--depth")
    viewer.wait_for(lambda: min(len(depths), len(calibrations), len(images)) >= FRAMES - 1, "depth")
    assert camera.wait(timeout=60) == 0
    street = Street(0, SIZE)
    known = [street.depth(index) for index in range(FRAMES)]
    found = np.frombuffer(depths[-1].data, np.float32).reshape(depths[-1].height, depths[-1].width)
    (number,) = (i for i, (meters, _) in enumerate(known) if np.array_equal(meters, found, equal_nan=True))
    assert depths[-1].encoding == "32FC1"
    calibration = next(message for message in calibrations if message.header == depths[-1].header)
    assert [calibration.k[i] for i in (0, 4, 2, 5)] == pytest.approx(known[number][1])
    assert depths[-1].header in [image.header for image in images]


def test_a_topic_is_remapped_as_ros_arguments_say(viewer: Client) -> None:
    images = viewer.listen("/robot/front", Image)
    camera = start_camera("--ros-args", "-r", "image_raw:=/robot/front")
    viewer.wait_for(lambda: images, "an image")
    camera.communicate(timeout=60)


def test_a_camera_that_nobody_reads_says_so() -> None:
    camera = start_camera("--wait", "0.5")
    output = camera.communicate(timeout=60)[0]
    assert camera.returncode == 2
    assert "Expected a subscriber of /camera/image_raw within 0.5 s, got none" in output


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--rate", "nan", "got 'nan'"),
        (
            "--size",
            "wide",
            "Expected --size WIDTHxHEIGHT with sides of 16 to 4096 pixels, such as 1280x720; got 'wide'",
        ),
        ("--source", "nowhere", "nowhere"),
        ("--depth", "--source=docs/images", "whose depth is known"),
    ],
)
def test_bad_options_are_refused_with_their_value(option: str, value: str, message: str) -> None:
    camera = start_camera(option, value)
    output = camera.communicate(timeout=60)[0]
    assert camera.returncode == 2
    assert message in output
    assert "Traceback" not in output
