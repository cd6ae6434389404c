"""A pinhole camera on a street and the canvas it exposes: textured panels and flat faces, painted far to near.

Street coordinates are (x, y, z) in meters: x to the right of the street's middle line, y above the ground, z ahead of
the camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.data.synthetic.texture import Texture

Floats = npt.NDArray[np.float64]

_NEAR_M = 0.6
_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Camera:
    """Where the camera is and how it looks.

    Attributes:
        size: (width, height), pixels.
        focal: Focal length, pixels.
        horizon: Row of the horizon for a straight view, pixels.
        x: Distance from the street's middle line, meters.
        height: Height over the ground, meters.
        yaw: Turn to the right, radians.
        bend: Curvature of the street: a point z meters ahead is moved bend * z * z meters to the right.
    """

    size: tuple[int, int]
    focal: float
    horizon: float
    x: float
    height: float
    yaw: float
    bend: float

    @cached_property
    def intrinsics(self) -> Floats:
        """The 3 x 3 matrix from camera coordinates to homogeneous pixels; a shifted horizon stands for the pitch."""
        return np.array([[self.focal, 0, self.size[0] / 2], [0, self.focal, self.horizon], [0, 0, 1]])

    @cached_property
    def rotation(self) -> Floats:
        """The 3 x 3 matrix that turns the street into the camera's axes."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])

    def view(self, points: Floats) -> Floats:
        """Turn street coordinates (N, 3) into camera coordinates (N, 3): right, down, ahead; meters."""
        moved = np.empty_like(points, dtype=np.float64)
        moved[:, 0] = points[:, 0] + self.bend * points[:, 2] ** 2 - self.x
        moved[:, 1] = self.height - points[:, 1]
        moved[:, 2] = points[:, 2]
        turned: Floats = moved @ self.rotation.T
        return turned

    def ground(self, first_row: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return x and z (rows, width) of the ground seen by each pixel from `first_row`, below the horizon, down."""
        width, height = self.size
        across = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) / self.focal)[None, :]
        down = ((np.arange(first_row, height, dtype=np.float32) + 0.5 - self.horizon) / self.focal)[:, None]
        cos, sin = np.float32(np.cos(self.yaw)), np.float32(np.sin(self.yaw))
        distance = np.float32(self.height) / down
        z = distance * (cos - sin * across)
        x = distance * (cos * across + sin) + np.float32(self.x) - np.float32(self.bend) * z * z
        return x, z


@dataclass(frozen=True)
class Mesh:
    """A body of flat convex faces, seen only from outside.

    Attributes:
        points: (M, 3) corners of all faces, meters around the body's origin, clockwise as seen from outside.
        spans: First and one past the last corner of each face.
        colors: (F, 3) RGB, 0..255.
    """

    points: Floats
    spans: tuple[tuple[int, int], ...]
    colors: Floats


class _Extent(NamedTuple):
    """The smallest upright rectangle around a polygon, pixels."""

    left: float
    top: float
    width: float
    height: float

    @classmethod
    def of(cls, polygon: Floats) -> _Extent:
        columns, rows = zip(*polygon.tolist(), strict=True)
        left, top = min(columns), min(rows)
        return cls(left, top, max(columns) - left, max(rows) - top)

    def box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return left, top, right, bottom of the whole pixels around it that lie in a picture (width, height)."""
        right, bottom = math.ceil(self.left + self.width) + 1, math.ceil(self.top + self.height) + 1
        return max(0, math.floor(self.left)), max(0, math.floor(self.top)), min(size[0], right), min(size[1], bottom)

    def inset(self, polygon: Floats) -> Floats:
        """Take half a pixel off each side of the polygon, by which OpenCV's smooth filling exceeds it."""
        scale = (max(0.0, 1 - 1 / max(self.width, 1e-6)), max(0.0, 1 - 1 / max(self.height, 1e-6)))
        middle = (self.left + self.width / 2, self.top + self.height / 2)
        inset: Floats = middle + (polygon - middle) * scale
        return inset


class Canvas:
    """The picture (H, W, 3) RGB and its class ids (H, W) while they are painted."""

    def __init__(
        self,
        camera: Camera,
        *,
        rgb: Pixels,
        labels: Pixels,
        haze: tuple[float, float, float],
        haze_m: float,
        depth: npt.NDArray[np.float32] | None = None,
    ):
        """Start with a background.

        Args:
            camera: Through which everything is seen.
            rgb: (H, W, 3) uint8, painted over in place.
            labels: (H, W) uint8, painted over in place.
            haze: Color (R, G, B) that far things fade to, 0..255.
            haze_m: Distance at which 63 % of a thing's color is haze, meters.
            depth: (H, W) meters along the optical axis, painted over in place like the labels; None where nobody asks.
        """
        self.depth = depth
        self.camera = camera
        self.rgb = rgb
        self.labels = labels
        self._haze = np.array(haze)
        self._haze_m = haze_m
        self._to_pixel_centers = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]]) @ camera.intrinsics

    def in_sight(self, views: Floats) -> npt.NDArray[np.bool_]:
        """Tell which of many panels (N, 4, 3), camera coordinates, reach into the picture by a pixel or more."""
        width, height = self.camera.size
        ahead = (views[..., 2] >= _NEAR_M).any(axis=1)
        depth = np.maximum(views[..., 2], _NEAR_M)
        columns = views[..., 0] / depth * self.camera.focal + width / 2
        rows = views[..., 1] / depth * self.camera.focal + self.camera.horizon
        sideways = (columns.max(axis=1) <= 0) | (columns.min(axis=1) >= width)
        outside = sideways | (rows.max(axis=1) <= 0) | (rows.min(axis=1) >= height)
        large = (np.ptp(columns, axis=1) > 0.5) & (np.ptp(rows, axis=1) > 1)
        sight: npt.NDArray[np.bool_] = ahead & ~outside & large
        return sight

    def panel(self, view: Floats, texture: Texture, class_id: int, light: float = 1.0) -> None:
        """Paint a texture on a parallelogram.

        Args:
            view: (4, 3) camera coordinates of the texture's top left, top right, bottom right and bottom left.
            texture: Seen from both sides.
            class_id: Label of the pixels that the texture covers.
            light: Factor on the texture's colors.
        """
        polygon = self._project(_in_front(view))
        if len(polygon) < 3:
            return
        extent = _Extent.of(polygon)
        left, top, right, bottom = extent.box(self.camera.size)
        if left >= right or top >= bottom or min(extent.width, extent.height) < 0.5:
            return
        mask = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillConvexPoly(mask, _fixed_point(extent.inset(polygon) - (left, top)), 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        texels_across, texels_down = _texels_per_pixel(view, texture, extent)
        level = texture.level(_octave(texels_across), _octave(texels_down))
        matrix = self._texels_to_box(view, level, left, top)
        covered = mask
        painted = self._shade(_warp(level.rgb, matrix, mask.shape), float(view[0, 2] + view[1, 2]) / 2, light)
        if level.alpha is not None and level.cover is not None:
            # Magnified outlines would be soft over many pixels: steepen them to about one.
            steepness = max(1.0, 1.0 / max(1e-3, min(texels_across, texels_down)))
            alpha = _steepen(_warp(level.alpha, matrix, mask.shape), steepness)
            if level.cover is not level.alpha:
                covered = cv2.min(mask, _steepen(_warp(level.cover, matrix, mask.shape), steepness)).astype(np.uint8)
                mask = cv2.min(mask, alpha).astype(np.uint8)
            else:
                covered = mask = cv2.min(mask, alpha).astype(np.uint8)
        patch = self.rgb[top:bottom, left:right]
        weight = mask * np.float32(1 / 255)
        patch[:] = cv2.blendLinear(painted, patch, weight, 1 - weight)
        self.labels[top:bottom, left:right][covered >= 128] = class_id
        self._paint_depth(view, (left, top), covered >= 128)

    def mesh(self, mesh: Mesh, place: tuple[float, float], heading: float, class_id: int) -> None:
        """Paint a body.

        Args:
            mesh: Its faces, in the order in which they are painted.
            place: x and z of its origin, meters.
            heading: Where its +z points: 0 is along the street, away from the camera; radians, to the right.
            class_id: Its label.
        """
        cos, sin = np.cos(heading), np.sin(heading)
        turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
        view = self.camera.view(mesh.points @ turn + (place[0], 0, place[1]))
        if not self.in_sight(view[None])[0]:
            return
        painted = self._shade(mesh.colors[None].clip(0, 255).astype(np.uint8), float(view[0, 2]), 1.0)[0]
        for (start, end), color in zip(mesh.spans, painted.tolist(), strict=True):
            self._face(view[start:end], color, class_id)

    def _face(self, view: Floats, color: list[int], class_id: int) -> None:
        """Paint a face, camera coordinates (N, 3), unless its inside is seen."""
        (a, b, c), (d, e, f), (g, h, i) = view[:3].tolist()
        # The sign of the determinant tells on which side of the face's plane the camera is.
        if a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) >= 0:
            return
        polygon = self._project(_in_front(view))
        if len(polygon) >= 3:
            fixed = _fixed_point(polygon)
            cv2.fillConvexPoly(self.rgb, fixed, color, cv2.LINE_AA, _SUBPIXEL_BITS)
            cv2.fillConvexPoly(self.labels, fixed, class_id, cv2.LINE_8, _SUBPIXEL_BITS)
            if self.depth is not None:
                covered = np.zeros(self.labels.shape, np.uint8)
                cv2.fillConvexPoly(covered, fixed, 1, cv2.LINE_8, _SUBPIXEL_BITS)
                self._paint_depth(view, (0, 0), covered > 0)

    def _paint_depth(self, view: Floats, corner: tuple[int, int], covered: npt.NDArray[np.bool_]) -> None:
        """Set the depth of a plane, camera coordinates (N, 3), where a box at (left, top) is covered."""
        if self.depth is None:
            return
        rows, columns = np.nonzero(covered)
        rows, columns = rows + corner[1], columns + corner[0]
        centers = np.column_stack([columns + 0.5, rows + 0.5, np.ones(len(rows))])
        rays = centers @ np.linalg.inv(self.camera.intrinsics).T
        normal = np.cross(view[1] - view[0], view[2] - view[0])
        # A pixel of a border may look past a plane that is seen edge-on.
        nearest, farthest = max(_NEAR_M, view[:, 2].min()), max(_NEAR_M, view[:, 2].max())
        with np.errstate(divide="ignore"):
            self.depth[rows, columns] = ((normal @ view[0]) / (rays @ normal)).clip(nearest, farthest)

    def outline(self, points: Floats, mask: Pixels) -> None:
        """Fill the convex polygon, street coordinates (N, 3), with 255 in a mask (H, W) of the canvas's size."""
        polygon = self._project(_in_front(self.camera.view(points)))
        if len(polygon) >= 3:
            cv2.fillConvexPoly(mask, _fixed_point(polygon), 255, cv2.LINE_AA, _SUBPIXEL_BITS)

    def _project(self, view: Floats) -> Floats:
        """Turn camera coordinates (N, 3) in front of the camera into pixels (N, 2), the origin at a corner."""
        pixels = view @ self.camera.intrinsics.T
        projected: Floats = pixels[:, :2] / pixels[:, 2:]
        return projected

    def _texels_to_box(self, view: Floats, texture: Texture, left: int, top: int) -> Floats:
        """Return the 3 x 3 matrix from texel centers to pixel centers of a box at (left, top)."""
        height, width = texture.rgb.shape[:2]
        edges = np.empty((3, 3))
        edges[:, 0] = (view[1] - view[0]) / width
        edges[:, 1] = (view[3] - view[0]) / height
        edges[:, 2] = view[0]
        matrix: Floats = self._to_pixel_centers @ edges
        matrix[0] -= left * matrix[2]
        matrix[1] -= top * matrix[2]
        matrix[:, 2] += 0.5 * (matrix[:, 0] + matrix[:, 1])
        return matrix

    def _shade(self, rgb: Pixels, distance_m: float, light: float) -> Pixels:
        kept = math.exp(-max(0.0, distance_m) / self._haze_m)
        matrix = np.zeros((3, 4))
        matrix[0, 0] = matrix[1, 1] = matrix[2, 2] = kept * light
        matrix[:, 3] = self._haze * (1 - kept)
        return cv2.transform(rgb, matrix).astype(np.uint8, copy=False)


def _in_front(view: Floats) -> Floats:
    """Cut a polygon (N, 3) in camera coordinates at the near plane."""
    ahead = [depth >= _NEAR_M for depth in view[:, 2].tolist()]
    if all(ahead):
        return view
    kept = []
    for i in range(len(view)):
        previous, point = view[i - 1], view[i]
        if ahead[i - 1] != ahead[i]:
            share = (_NEAR_M - previous[2]) / (point[2] - previous[2])
            kept.append(previous + share * (point - previous))
        if ahead[i]:
            kept.append(point)
    return np.array(kept).reshape(-1, 3)


def _texels_per_pixel(view: Floats, texture: Texture, extent: _Extent) -> tuple[float, float]:
    """Return how many texels, across and down the texture, fall on a pixel in the middle of the panel."""
    height, width = texture.rgb.shape[:2]
    visible = max(1, sum(depth >= _NEAR_M for depth in view[:, 2].tolist())) / 4
    return visible * width / max(0.5, extent.width), visible * height / max(0.5, extent.height)


def _octave(texels: float) -> int:
    return min(8, int(math.log2(max(texels, 1.0)) + 0.4))


def _warp(source: Pixels, matrix: Floats, shape: tuple[int, ...]) -> Pixels:
    size = (shape[1], shape[0])
    if source.shape[:2] == (1, 1):
        # OpenCV 4.5.4 (Ubuntu 22.04) refuses an image of one pixel.
        source = np.repeat(source, 2, axis=1)
    return cv2.warpPerspective(source, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(
        np.uint8, copy=False
    )


def _steepen(alpha: Pixels, factor: float) -> Pixels:
    return cv2.addWeighted(alpha, factor, alpha, 0, -127.5 * (factor - 1)).astype(np.uint8, copy=False)


def _fixed_point(polygon: Floats) -> npt.NDArray[np.int32]:
    """Turn corner-based pixels into OpenCV's fixed point, whose integers are pixel centers."""
    return np.rint((polygon - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
