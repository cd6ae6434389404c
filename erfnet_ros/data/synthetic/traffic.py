"""Moving cars, bicyclists and pedestrians, as functions of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from erfnet_ros.data.synthetic.layout import BICYCLIST, CAR, PEDESTRIAN, Character, upright
from erfnet_ros.data.synthetic.pedestrians import STEPS
from erfnet_ros.data.synthetic.rasterizer import Canvas, Mesh
from erfnet_ros.data.synthetic.texture import Texture

_BEHIND_M = 6.0
_CLEAR_M = 5.0


@dataclass(frozen=True)
class Mover:
    """Somebody who, passed or left behind, comes again from the far end of the view.

    Attributes:
        looks: What it may look like: bodies, or lists of STEPS pictures; the next one at each return.
        class_id: Its label.
        x: Place across the street at time 0, meters.
        x_speed: Speed across the street, m/s; it turns back at +-x_reach.
        x_reach: Largest distance from the middle of its path across, meters.
        speed: Speed along the street, m/s.
        start: Distance ahead of the camera at time 0, meters.
        span: Length of the stretch in which it returns, meters.
        heading: 0 away from the camera, radians.
    """

    looks: tuple[Mesh | list[Texture], ...]
    class_id: int
    x: float
    x_speed: float
    x_reach: float
    speed: float
    start: float
    span: float
    heading: float = 0.0

    def depth(self, time_s: float, traveled_m: float) -> float:
        """Return its distance ahead of the camera, meters."""
        return float(np.mod(self._path(time_s, traveled_m), self.span)) - _BEHIND_M

    def draw(self, canvas: Canvas, time_s: float, traveled_m: float) -> None:
        """Paint it as it is at this moment."""
        z = self.depth(time_s, traveled_m)
        if self.x_reach > 0 and z < _CLEAR_M:
            return
        look = self.looks[int(self._path(time_s, traveled_m) // self.span) % len(self.looks)]
        x, forward = self._across(time_s)
        if isinstance(look, Mesh):
            canvas.mesh(look, (x, z), self.heading, self.class_id)
            return
        picture = look[int(time_s * 9 + self.start * 3) % STEPS]
        width, height = picture.meters
        corners = upright(x, z, width, low=0, high=height)
        canvas.panel(canvas.camera.view(corners if forward else corners[[1, 0, 3, 2]]), picture, self.class_id)

    def _path(self, time_s: float, traveled_m: float) -> float:
        return self.start + self.speed * time_s - traveled_m + _BEHIND_M

    def _across(self, time_s: float) -> tuple[float, bool]:
        """Return x and whether it moves to the right."""
        if self.x_reach == 0:
            return self.x, self.speed >= 0
        turn = np.mod(self.x_speed * time_s / self.x_reach + self.start, 4.0)
        place = turn if turn < 1 else (2 - turn if turn < 3 else turn - 4)
        return self.x + self.x_reach * float(place), bool(turn < 1 or turn >= 3)


def movers(random: np.random.Generator, street: Character, camera_speed: float) -> list[Mover]:
    """Draw at random who shares the street with a camera that drives at `camera_speed` m/s, on the left."""
    half, line = street.road_half_m, street.building_line_m
    bodies, walkers = tuple(street.vehicles), tuple(street.walkers)
    found: list[Mover] = []

    def add(looks: Sequence[Mesh | list[Texture]], class_id: int, x: float, *path: float) -> None:
        found.append(Mover(tuple(looks), class_id, x, *path))

    for _ in range(int(random.integers(1, 5))):
        lane, start = street.lane_m(1.0) + random.uniform(-0.2, 0.4), random.uniform(0, 130)
        add(bodies[int(random.integers(9)) :], CAR, lane, 0, 0, -random.uniform(6, 12), start, 130, np.pi)
    for _ in range(int(random.integers(0, 3))):
        lane, start = street.lane_m(-1.0) + random.uniform(-0.2, 0.2), random.uniform(12, 60)
        add(bodies[int(random.integers(9)) :], CAR, lane, 0, 0, camera_speed, start, 110, random.normal(0, 0.02))
    if random.random() < 0.4:
        start = random.uniform(15, 70)
        add(bodies, CAR, 0, 1.5, half - 1, 0, start, 120, np.pi / 2 + random.normal(0, 0.4))
    for side in (-1, 1):
        for _ in range(int(random.integers(1, 3))):
            lane, start = side * (half - random.uniform(0.5, 1.0)), random.uniform(0, 45)
            add(street.riders_behind, BICYCLIST, lane, 0, 0, -side * random.uniform(4, 7), start, 45)
    for _ in range(int(random.integers(1, 3))):
        start = random.uniform(0, 60)
        add(street.riders_sideways, BICYCLIST, random.uniform(-1, 1), 2.5, line - 2.2, 0, start, 60)
    for _ in range(int(random.integers(8, 24))):
        x = random.choice([-1, 1]) * random.uniform(half + 0.5, line - 0.2)
        start, pace = random.uniform(0, 45), random.choice([-1.3, 1.3, 0.0])
        add(walkers[int(random.integers(5)) :], PEDESTRIAN, x, 0, 0, pace, start, 45)
    for _ in range(int(random.integers(0, 4))):
        start = random.uniform(0, 70)
        add(walkers, PEDESTRIAN, random.uniform(-1, 1), 1.3, line - 1.6, 0, start, 70)
    return found
