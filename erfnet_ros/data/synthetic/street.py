"""Moving street views with exact ground truth: the camera of the demo, and the ground truth of end-to-end tests.

A seeded renderer of a drive at 30 to 50 km/h, in the 11 classes of CamVid. Fences and tree crowns are labeled as
CamVid's annotators do it: as whole areas, with what shows between their bars and twigs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.core.errors import SourceError
from erfnet_ros.data.synthetic.exposure import Exposure, Weather
from erfnet_ros.data.synthetic.ground import Ground
from erfnet_ros.data.synthetic.layout import CAR, SKY, STRETCH_M, TREE, Character, Stretch, upright
from erfnet_ros.data.synthetic.rasterizer import Camera, Canvas, Floats
from erfnet_ros.data.synthetic.traffic import movers

RATE_HZ = 15.0
_STRETCHES_AHEAD = 7
_VIEW_M = _STRETCHES_AHEAD * STRETCH_M


class Street:
    """A drive along one street; everything in it follows from the seed."""

    def __init__(self, seed: int = 0, size: tuple[int, int] = (480, 360)):
        """Lay out a street.

        Args:
            seed: Any number from 0 on; each is another street, another light and another camera.
            size: (width, height) of the frames, pixels.
        """
        if seed < 0:
            raise SourceError(f"Expected a seed of 0 or more for the synthetic street, got {seed}.")
        if min(size) < 16:
            raise SourceError(f"Expected synthetic frames of at least 16 x 16 pixels, got {size[0]} x {size[1]}.")
        self.seed, self.size = seed, size
        random = np.random.default_rng([seed, 0])
        self._street = Character(seed)
        self._ground = Ground(random, self._street)
        self._weather = Weather(random, self._street.sunny)
        self._exposure = Exposure(seed, size)
        self._speed = float(random.uniform(30, 50)) / 3.6
        self._movers = movers(random, self._street, self._speed)
        self._focal, self._horizon = float(random.uniform(1.05, 1.4)), float(random.uniform(0.44, 0.57))
        self._height_m = float(random.uniform(1.25, 1.65))
        self._lane_m = self._street.lane_m(-1.0) + float(random.uniform(-0.2, 0.3))
        self._bend = float(random.uniform(0, 0.0012))
        self._waves = random.uniform(0, 2 * np.pi, 4)
        self._bonnet = bool(random.random() < 0.25)
        self._stretches: dict[tuple[int, int], Stretch] = {}

    def frame(self, index: int) -> tuple[Pixels, Pixels]:
        """Render a frame; the same seed, size and index give the same bytes, in any order.

        Args:
            index: Number of the frame, 0 or more, at 15 Hz.

        Returns:
            The image (H, W, 3) uint8 RGB and its CamVid class ids (H, W) uint8: 0..10, 255 on the car's own bonnet.
        """
        return self._render(index, None)

    def depth(self, index: int) -> tuple[npt.NDArray[np.float32], tuple[float, float, float, float]]:
        """Render the depth of a frame.

        Args:
            index: Number of the frame, 0 or more.

        Returns:
            (H, W) meters along the optical axis, NaN in the sky and on the car's own bonnet; and fx, fy, cx, cy in
            pixels, whole numbers at the pixel centers.
        """
        width, height = self.size
        depth = np.full((height, width), np.nan, np.float32)
        _, labels = self._render(index, depth)
        depth[labels == VOID] = np.nan
        camera = self._camera(index / RATE_HZ)
        return depth, (camera.focal, camera.focal, width / 2 - 0.5, camera.horizon - 0.5)

    def _render(self, index: int, depth: npt.NDArray[np.float32] | None) -> tuple[Pixels, Pixels]:
        """Return image and labels, and fill in the depth."""
        if index < 0:
            raise SourceError(f"Expected a frame index of 0 or more, got {index}.")
        time_s = index / RATE_HZ
        traveled_m = self._speed * time_s
        camera = self._camera(time_s)
        width, height = self.size
        labels = np.full((height, width), SKY, np.uint8)
        rgb = self._weather.backdrop(
            self.size, horizon=camera.horizon, focal=camera.focal, yaw=camera.yaw, time_s=time_s
        )
        canvas = Canvas(
            camera, rgb=rgb, labels=labels, haze=self._weather.haze, haze_m=self._weather.haze_m, depth=depth
        )
        self._paint(canvas, time_s, traveled_m)
        if self._bonnet:
            self._paint_bonnet(canvas)
        return self._exposure.develop(canvas.rgb, index, time_s), labels

    def _camera(self, time_s: float) -> Camera:
        """Let the car sway in its lane, nod and follow the street's bends."""
        sway, nod, turn, bend = np.sin(np.array([0.31, 2.3, 0.23, 0.11]) * time_s + self._waves)
        height = self.size[1]
        return Camera(
            self.size,
            self._focal * height,
            height * (self._horizon + 0.004 * float(nod)),
            self._lane_m + 0.25 * float(sway),
            self._height_m,
            0.02 * float(turn),
            self._bend * float(bend),
        )

    def _paint(self, canvas: Canvas, time_s: float, traveled_m: float) -> None:
        first = int(traveled_m // STRETCH_M)
        stretches = [self._stretch(first + n, side) for n in range(_STRETCHES_AHEAD + 1) for side in (-1, 1)]
        camera, here = canvas.camera, np.array([0, 0, traveled_m])
        self._paint_ground(canvas, stretches, time_s, traveled_m)
        for x in (-90.0, -30.0, 30.0, 90.0):
            canvas.panel(camera.view(upright(x, _VIEW_M, 60, low=-1, high=12)), self._street.treeline, TREE)
        corners = np.concatenate([stretch.corners for stretch in stretches]) - here
        views = camera.view(corners.reshape(-1, 3)).reshape(-1, 4, 3)
        panels = [panel for stretch in stretches for panel in stretch.panels]
        strokes: list[tuple[float, Callable[[], None]]] = []
        for i in np.flatnonzero(canvas.in_sight(views)):
            panel = panels[i]
            stroke = partial(canvas.panel, views[i], panel.texture, panel.class_id, panel.light)
            strokes.append((panel.far_m - traveled_m, stroke))
        for stretch in stretches:
            for parked in stretch.parked:
                z = parked.z - traveled_m
                strokes.append((z, partial(canvas.mesh, parked.mesh, (parked.x, z), parked.heading, CAR)))
        for mover in self._movers:
            strokes.append((mover.depth(time_s, traveled_m), partial(mover.draw, canvas, time_s, traveled_m)))
        for depth, paint in sorted(strokes, key=lambda pair: -pair[0]):
            if depth < _VIEW_M:
                paint()

    def _paint_ground(self, canvas: Canvas, stretches: list[Stretch], time_s: float, traveled_m: float) -> None:
        shadows = np.zeros(canvas.labels.shape, np.uint8)
        for stretch in stretches:
            for ring in stretch.shadows:
                canvas.outline(ring - (0, 0, traveled_m), shadows)
            for parked in stretch.parked:
                canvas.outline(_footprint(parked.x, parked.z - traveled_m), shadows)
        for mover in self._movers:
            if mover.class_id == CAR:
                canvas.outline(_footprint(mover.x, mover.depth(time_s, traveled_m)), shadows)
        row = max(0, int(np.ceil(canvas.camera.horizon + 0.5 + 0.004 * self.size[1])))
        self._ground.paint(canvas, traveled_m, first_row=row, shadows=shadows, darkness=self._weather.shadow)
        if canvas.depth is not None:
            down = (np.arange(row, self.size[1]) + 0.5 - canvas.camera.horizon) / canvas.camera.focal
            canvas.depth[row:] = (canvas.camera.height / down)[:, None]

    def _stretch(self, number: int, side: int) -> Stretch:
        key = (number, side)
        if key not in self._stretches:
            if len(self._stretches) > 64:
                self._stretches.clear()
            self._stretches[key] = Stretch(self.seed, number, side, self._street)
        return self._stretches[key]

    def _paint_bonnet(self, canvas: Canvas) -> None:
        width, height = self.size
        turns = np.linspace(np.pi, 2 * np.pi, 40)
        arc = np.column_stack([width * (0.5 + 0.62 * np.cos(turns)), height * (1.02 + 0.09 * np.sin(turns))])
        fixed = np.rint(arc * 16).astype(np.int32)
        cv2.fillPoly(canvas.rgb, [fixed], (52, 56, 60), cv2.LINE_AA, 4)
        cv2.fillPoly(canvas.labels, [fixed], VOID, cv2.LINE_8, 4)


def _footprint(x: float, z: float) -> Floats:
    """Return the ring on the ground that a car at (x, z) keeps dark."""
    return np.array([(x - 1.0, 0, z - 2.1), (x + 1.0, 0, z - 2.1), (x + 1.0, 0, z + 2.1), (x - 1.0, 0, z + 2.1)])
