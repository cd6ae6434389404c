"""Labeled point clouds, compared with a calculation pixel by pixel."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from erfnet_ros.core.errors import ImageError
from erfnet_ros.data.point_cloud import PointFilter, depth_to_meters, intrinsics_of, label_cloud, project

FX, FY, CX, CY = 110.0, 95.0, 18.5, 11.25
INTRINSICS = (FX, FY, CX, CY)
SIZE = (24, 32)


def depth_message(pixels: np.ndarray, encoding: str, padding: int = 0, big: bool = False) -> Any:
    rows = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))).view(np.uint8)
    data = np.pad(rows, ((0, 0), (0, padding))).tobytes()
    height, width = pixels.shape
    step = rows.shape[1] + padding
    return SimpleNamespace(encoding=encoding, height=height, width=width, step=step, is_bigendian=int(big), data=data)


def random_images(seed: int, size: tuple[int, int] = SIZE) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "rgb": random.integers(0, 256, (*size, 3), np.uint8),
        "labels": random.choice([0, 3, 7, 255], size).astype(np.uint8),
        "confidence": random.integers(0, 256, size, np.uint8),
    }


def assert_equals_reference(points: np.ndarray, depth: np.ndarray, images: dict[str, np.ndarray], kept: PointFilter):
    """Compare with the pinhole equations, pixel by pixel in double precision."""
    for row in range(points.shape[0]):
        for column in range(points.shape[1]):
            v, u = row * kept.stride, column * kept.stride
            point, z = points[row, column], float(depth[v, u])
            x, y = (u - CX) * z / FX, (v - CY) * z / FY
            distance, label = math.hypot(x, y, z), int(images["labels"][v, u])
            hidden = not kept.min_range <= distance <= kept.max_range or (
                kept.labels is not None and not kept.labels[label]
            )
            if math.isnan(z) or hidden:
                assert all(math.isnan(point[axis]) for axis in "xyz")
            else:
                assert (point["x"], point["y"], point["z"]) == pytest.approx((x, y, z), rel=1e-5, abs=1e-6)
            red, green, blue = images["rgb"][v, u].tolist()
            assert point["rgb"] == red << 16 | green << 8 | blue
            assert (point["label"], point["confidence"]) == (label, pytest.approx(images["confidence"][v, u] / 255))


@given(
    seed=st.integers(0, 999),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    stride=st.integers(1, 4),
    limits=st.sampled_from([(0.0, math.inf), (0.5, math.inf), (0.0, 4.0), (1.0, 3.0)]),
    labels=st.sampled_from([None, np.arange(256) == 3]),
)
def test_projection_equals_the_pinhole_equations(
    seed: int, height: int, width: int, stride: int, limits: tuple[float, float], labels: np.ndarray | None
) -> None:
    images, kept = random_images(seed, (height, width)), PointFilter(stride, *limits, labels)
    raw = np.random.default_rng(seed).integers(0, 6000, (height, width)).astype(np.uint16)
    raw[raw < 600] = 0
    depth = depth_to_meters(depth_message(raw, "16UC1"))
    assert_equals_reference(project(depth, INTRINSICS, **images, kept=kept), depth, images, kept)


@pytest.mark.parametrize("big", [False, True], ids=["little endian", "big endian"])
@pytest.mark.parametrize("padding", [0, 6])
def test_depth_in_millimeters_and_meters_is_the_same(padding: int, big: bool) -> None:
    raw = np.random.default_rng(5).integers(1, 9000, SIZE).astype(np.uint16)
    raw[3, 4] = 0
    meters = raw.astype(np.float32) / 1000
    wanted = np.where(raw == 0, np.nan, meters)
    np.testing.assert_allclose(depth_to_meters(depth_message(raw, "16UC1", padding, big)), wanted, rtol=1e-6)
    np.testing.assert_allclose(depth_to_meters(depth_message(meters, "32FC1", padding, big)), wanted, rtol=1e-6)


def test_missing_depth_is_nan() -> None:
    """REP 118: NaN is no measurement, -inf too close, +inf beyond the range."""
    depth = np.array([[np.nan, np.inf, -np.inf, 0.0, -1.0, 2.0]], np.float32)
    assert np.isnan(depth_to_meters(depth_message(depth, "32FC1"))).tolist() == [[True] * 5 + [False]]


def info(k: tuple[float, ...], p: tuple[float, ...], width: int = 32, height: int = 24) -> Any:
    k = (k[0], 0, k[2], 0, k[1], k[3], 0, 0, 1)
    p = (p[0], 0, p[2], 0, 0, p[1], p[3], 0, 0, 0, 1, 0)
    return SimpleNamespace(width=width, height=height, k=k, p=p)


def test_the_projection_matrix_counts_and_k_stands_in_for_it() -> None:
    """A rectified image is described by P (image_geometry, depth_image_proc)."""
    assert intrinsics_of(info((1, 2, 3, 4), INTRINSICS), 32, 24) == INTRINSICS
    assert intrinsics_of(info(INTRINSICS, (0, 0, 0, 0)), 32, 24) == INTRINSICS


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (info((0, 0, 0, 0), (0, 0, 0, 0)), "got zeros; calibrate the camera"),
        (info(INTRINSICS, INTRINSICS, 64), "of the 32x24 depth image, got that of 64x24"),
    ],
)
def test_an_unusable_calibration_is_refused(message: Any, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        intrinsics_of(message, 32, 24)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (depth_message(np.zeros(SIZE, np.uint8), "mono8"), "got encoding 'mono8'"),
        (SimpleNamespace(**{**vars(depth_message(np.zeros(SIZE, "u2"), "16UC1")), "data": b"\0" * 9}), "truncated"),
        (SimpleNamespace(**{**vars(depth_message(np.zeros(SIZE, "u2"), "16UC1")), "step": 9}), "truncated"),
    ],
)
def test_an_unusable_depth_image_is_refused(message: Any, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        depth_to_meters(message)


def test_depth_of_another_size_is_refused_with_the_remedy() -> None:
    with pytest.raises(ImageError, match=r"depth image of the mask's 32x24 pixels, got 16x12; .*align_depth"):
        project(np.ones((12, 16), np.float32), INTRINSICS, **random_images(1), kept=PointFilter())


def cloud_message(xyz: np.ndarray, padding: int = 0, **changes: Any) -> Any:
    """A cloud with a field before z, and one that is not float32."""
    height, width = xyz.shape[:2]
    points = np.zeros((height, width), [("x", "<f4"), ("y", "<f4"), ("ring", "<u2"), ("_", "<u2"), ("z", "<f4")])
    points["x"], points["y"], points["z"] = np.moveaxis(xyz, 2, 0)
    points["ring"] = np.arange(height)[:, None]
    data = np.pad(points.view(np.uint8), ((0, 0), (0, padding))).tobytes()
    layout = (("x", 0, 7), ("y", 4, 7), ("ring", 8, 4), ("z", 12, 7))
    fields = [SimpleNamespace(name=name, offset=offset, datatype=kind, count=1) for name, offset, kind in layout]
    content = {"fields": fields, "height": height, "width": width, "point_step": 16, "row_step": 16 * width + padding}
    return SimpleNamespace(**{**content, "is_bigendian": False, "data": data, **changes})


@pytest.mark.parametrize("padding", [0, 8])
def test_a_cloud_keeps_its_own_bytes_and_gets_label_and_confidence(padding: int) -> None:
    images, xyz = random_images(3), np.random.default_rng(3).normal(0, 2, (*SIZE, 3)).astype(np.float32)
    points = label_cloud(cloud_message(xyz, padding), images["labels"], images["confidence"], PointFilter())
    np.testing.assert_array_equal(np.stack([points[axis] for axis in "xyz"], -1), xyz)
    np.testing.assert_array_equal(points["label"], images["labels"])
    np.testing.assert_allclose(points["confidence"], images["confidence"] / 255, rtol=1e-6)
    ring = points.view(np.uint8).reshape(*SIZE, -1)[..., 8:10].copy().view("<u2")[..., 0]
    np.testing.assert_array_equal(ring, np.broadcast_to(np.arange(SIZE[0])[:, None], SIZE))


def test_a_cloud_is_filtered_by_distance_and_class() -> None:
    images, xyz = random_images(4), np.random.default_rng(4).normal(0, 2, (*SIZE, 3)).astype(np.float32)
    kept = PointFilter(2, 1.0, 3.0, np.arange(256) == 7)
    points = label_cloud(cloud_message(xyz), images["labels"], images["confidence"], kept)
    distances, labels = np.linalg.norm(xyz, axis=2)[::2, ::2], images["labels"][::2, ::2]
    np.testing.assert_array_equal(np.isnan(points["z"]), (distances < 1) | (distances > 3) | (labels != 7))
    np.testing.assert_array_equal(np.isnan(points["x"]), np.isnan(points["z"]))
    np.testing.assert_array_equal(points["label"], labels)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"height": 1, "width": 24 * 32}, "an organized point cloud, got 768 points in one row"),
        ({"height": 12}, "point cloud of the mask's 32x24 pixels, got 32x12"),
        ({"fields": []}, "x, y and z as FLOAT32, got no fields"),
        ({"is_bigendian": True}, "little-endian"),
        ({"data": b""}, "truncated"),
    ],
)
def test_an_unusable_cloud_is_refused_with_the_remedy(changes: dict[str, Any], reason: str) -> None:
    images = random_images(1)
    cloud = cloud_message(np.zeros((*SIZE, 3), np.float32), **changes)
    with pytest.raises(ImageError, match=reason):
        label_cloud(cloud, images["labels"], images["confidence"], PointFilter())
