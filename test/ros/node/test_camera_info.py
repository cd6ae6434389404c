"""camera_info of the mask, scaled to the mask's size."""

from __future__ import annotations

import pytest

sensor_msgs = pytest.importorskip("sensor_msgs.msg", reason="ROS messages are not installed")

from std_msgs.msg import Header  # noqa: E402

from erfnet_ros.ros.node.publishers import scale_camera_info  # noqa: E402

HEADER = Header(frame_id="camera")


def calibration() -> sensor_msgs.CameraInfo:
    info = sensor_msgs.CameraInfo(width=640, height=480, distortion_model="plumb_bob", d=[0.1, 0.0, 0.0, 0.0, 0.0])
    info.k = [500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]
    info.p = [500.0, 0.0, 320.0, -50.0, 0.0, 510.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def test_a_mask_of_the_cameras_size_has_the_cameras_geometry_and_the_images_header() -> None:
    info = scale_camera_info(calibration(), width=640, height=480, header=HEADER)
    assert list(info.k) == list(calibration().k)
    assert info.header == HEADER


def test_a_smaller_image_scales_focal_lengths_and_center_per_axis() -> None:
    info = scale_camera_info(calibration(), width=320, height=160, header=HEADER)
    assert (info.width, info.height) == (320, 160)
    assert list(info.k) == pytest.approx([250, 0, 160, 0, 170, 80, 0, 0, 1])
    assert list(info.p) == pytest.approx([250, 0, 160, -25, 0, 170, 80, 0, 0, 0, 1, 0])
    assert list(info.d) == list(calibration().d)


def test_the_cameras_own_message_is_left_alone() -> None:
    info = calibration()
    scale_camera_info(info, width=320, height=160, header=HEADER)
    assert (info.width, info.k[0]) == (640, 500.0)


def test_an_uncalibrated_camera_stays_uncalibrated() -> None:
    assert scale_camera_info(sensor_msgs.CameraInfo(), width=320, height=160, header=HEADER).width == 0
