"""Layout of a street: every stretch of 24 m is drawn at random from the seed and its number alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from erfnet_ros.data.synthetic import buildings, pedestrians, street_furniture, texture, vegetation, vehicles
from erfnet_ros.data.synthetic.rasterizer import Floats, Mesh
from erfnet_ros.data.synthetic.texture import Texture

SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)
STRETCH_M = 24.0
_BAY_M = 2.1


@dataclass(frozen=True)
class Panel:
    """The surface of a parallelogram that does not move; `far_m` orders what is painted first."""

    texture: Texture
    class_id: int
    light: float
    far_m: float


@dataclass(frozen=True)
class Parked:
    """A vehicle that does not move, by x and z of its middle and its heading."""

    mesh: Mesh
    x: float
    z: float
    heading: float


class Character:
    """What a seed makes of its street: sizes, densities, light, and a stock of textures."""

    def __init__(self, seed: int):
        random = np.random.default_rng([seed, 1])
        self.parked_share = {side: float(random.choice([0.0, 0.0, random.uniform(0.15, 0.7)])) for side in (-1.0, 1.0)}
        self.road_half_m = float(random.uniform(2.7, 4.6)) + (_BAY_M if any(self.parked_share.values()) else 0.0)
        self.pavement_m = float(random.uniform(2.0, 5.0))
        self.sunny = bool(random.random() < 0.55)
        self.sun_side = float(random.choice([-1.0, 1.0]))
        self.sun_slope = float(random.uniform(0.15, 0.9))
        self.gap_share, self.garden_share = float(random.uniform(0.0, 0.3)), float(random.uniform(0, 0.6))
        self.tree_share = float(random.uniform(0.0, 0.7))
        self.fronts = [buildings.facade(random) for _ in range(7)]
        self.sides = [buildings.side_wall(random) for _ in range(3)]
        self.gables = [buildings.gable(wall) for wall in self.sides]
        self.roofs = [texture.tiles(random, color) for color in ((74, 70, 72), (112, 66, 52), (92, 80, 70))]
        bare = random.uniform(0, 1)
        self.trees = [
            (vegetation.bare_tree if random.random() < bare else vegetation.leafy_tree)(random) for _ in range(4)
        ]
        self.trees.append(vegetation.conifer(random))
        self.hedges = [vegetation.hedge(random) for _ in range(2)]
        self.treeline = vegetation.treeline(random)
        self.posts = [street_furniture.post(random) for _ in range(3)]
        self.signs = [street_furniture.traffic_sign(random) for _ in range(5)]
        self.lights = [street_furniture.traffic_light(random) for _ in range(2)]
        self.shop_signs = [street_furniture.shop_sign(random) for _ in range(4)]
        self.fences = [street_furniture.railing(random) for _ in range(2)]
        self.fences += [street_furniture.boards(random) for _ in range(2)]
        self.vehicles = [vehicles.vehicle(random) for _ in range(10)]
        self.walkers = [pedestrians.pedestrian(random) for _ in range(6)]
        self.riders_behind = [pedestrians.bicyclist_behind(random) for _ in range(2)]
        self.riders_sideways = [pedestrians.bicyclist_sideways(random) for _ in range(2)]

    @property
    def building_line_m(self) -> float:
        """Distance of the nearest fronts from the street's middle line."""
        return self.road_half_m + self.pavement_m

    def lane_m(self, side: float) -> float:
        """Return x of the middle of the lane on the left (-1) or right (+1)."""
        return side * (self.road_half_m - (_BAY_M if self.parked_share[side] else 0.0)) / 2

    def light(self, side: float) -> float:
        """Brightness of what faces the street on the left (-1) or right (+1)."""
        return 1.0 + (0.3 if self.sunny else 0.06) * self.sun_side * -side


def upright(x: float, z: float, width: float, *, low: float, high: float) -> Floats:
    """Return the corners of a panel that faces the camera, around x."""
    left, right = x - width / 2, x + width / 2
    return np.array([(left, high, z), (right, high, z), (right, low, z), (left, low, z)])


def along(x: float, near: float, far: float, *, low: float, high: float, side: float) -> Floats:
    """Return the corners of a panel along the street at x, read from left to right by who stands on the road."""
    first, last = (near, far) if side < 0 else (far, near)
    return np.array([(x, high, first), (x, high, last), (x, low, last), (x, low, first)])


class Stretch:
    """24 m of one side (-1 left, 1 right) of the street from number * 24 m on, drawn at random.

    Attributes:
        panels: What stands there.
        corners: (number of panels, 4, 3) street coordinates, meters from the street's beginning.
        parked: Vehicles at the curb.
        shadows: Rings (N, 3) on the ground that the sun does not reach.
    """

    def __init__(self, seed: int, number: int, side: float, street: Character):
        self._random = np.random.default_rng([seed, 2, number + (1 << 20), int(side > 0)])
        self._start, self._side, self._street = number * STRETCH_M, side, street
        self.panels: list[Panel] = []
        self._corners: list[Floats] = []
        self.parked: list[Parked] = []
        self.shadows: list[Floats] = []
        if self._random.random() < street.gap_share:
            self._gap()
        else:
            self._houses()
        self._curbside()
        self.corners = np.array(self._corners).reshape(-1, 4, 3)

    def _houses(self) -> None:
        random, street = self._random, self._street
        cuts = np.sort(random.uniform(5, STRETCH_M - 5, int(random.integers(0, 3))))
        edges = [0.0, *cuts.tolist(), STRETCH_M]
        garden = random.random() < street.garden_share
        for near, far in pairwise(edges):
            if far - near > 2.5:
                setback = random.uniform(2.5, 6) if garden else random.choice([0.0, 0.0, random.uniform(0, 1.2)])
                self._house(self._start + near, self._start + far, street.building_line_m + setback)
                if garden:
                    self._fence(self._start + near, self._start + far, street.building_line_m)
                    if random.random() < 0.5:
                        self._tree(street.building_line_m + 1.5, self._start + random.uniform(near, far))

    def _house(self, near: float, far: float, distance: float) -> None:
        random, street, side = self._random, self._street, self._side
        front = street.fronts[random.integers(len(street.fronts))]
        height = front.meters[1] * random.uniform(0.9, 1.1)
        x, light, deep = side * distance, street.light(side), 9.0
        wall = int(random.integers(len(street.sides)))
        middle = x + side * deep / 2
        if random.random() < 0.7:
            roof = street.roofs[random.integers(len(street.roofs))]
            top = height + random.uniform(1.5, 3.2)
            slope = along(x - side * 0.3, near, far, low=height - 0.1, high=height, side=side)
            slope[:2] = along(middle, near, far, low=height, high=top, side=side)[:2]
            self._add(slope, roof, BUILDING, light * 1.05, far=far)
            for _ in range(int(random.integers(0, 3))):
                chimney = upright(
                    middle, random.uniform(near, far), 0.9, low=top - 0.8, high=top + random.uniform(0.6, 1.3)
                )
                self._add(chimney, street.sides[wall], BUILDING, light * 0.8, far=far)
            self._add(upright(middle, near, deep, low=height, high=top), street.gables[wall], BUILDING, 0.8, far=far)
        self._add(upright(middle, near, deep, low=0, high=height), street.sides[wall], BUILDING, 0.8, far=far)
        self._add(along(x, near, far, low=0, high=height, side=side), front, BUILDING, light, far=far)
        if random.random() < 0.35:
            sign = street.shop_signs[random.integers(len(street.shop_signs))]
            low = random.uniform(2.6, 3.6)
            board = upright(
                x - side * 0.6, random.uniform(near, far), sign.meters[0], low=low, high=low + sign.meters[1]
            )
            self._add(board, sign, SIGN, 1.0)
        if side == street.sun_side and street.sunny:
            reach = x - side * height * street.sun_slope
            self.shadows.append(np.array([(x, 0, near), (reach, 0, near - 2), (reach, 0, far - 2), (x, 0, far)]))

    def _gap(self) -> None:
        """Leave out the houses: a park behind a fence, or a yard with houses further back."""
        random, street, side = self._random, self._street, self._side
        near, far, line, light = self._start, self._start + STRETCH_M, street.building_line_m, street.light(side)
        hedge = street.hedges[random.integers(2)]
        park = random.random() < 0.6
        for part in np.arange(near, far, 8.0):
            depth = line + (9.0 if park else 14.0)
            self._add(
                along(side * depth, part, part + 8, low=0, high=random.uniform(2.5, 5), side=side),
                hedge,
                TREE,
                light,
                far=far + 1,
            )
            if park:
                corners = along(side * (line + 0.4), part, part + 8, low=0, high=random.uniform(0.8, 2.2), side=side)
                self._add(corners, hedge, TREE, light, far=part + 8)
        if park:
            for _ in range(int(random.integers(2, 5))):
                self._tree(line + random.uniform(2, 8), random.uniform(near, far))
        else:
            front = street.fronts[random.integers(len(street.fronts))]
            self._add(
                along(side * (line + 12), near, far, low=0, high=front.meters[1], side=side),
                front,
                BUILDING,
                light,
                far=far,
            )
        self._fence(near, far, line)

    def _fence(self, near: float, far: float, distance: float) -> None:
        random, street, side = self._random, self._street, self._side
        fence = street.fences[random.integers(len(street.fences))]
        height = fence.meters[1] * random.uniform(0.85, 1.2)
        parts = max(1, round((far - near) / 8))
        for part in range(parts):
            begin, end = near + part * (far - near) / parts, near + (part + 1) * (far - near) / parts
            self._add(
                along(side * distance, begin, end, low=0, high=height, side=side), fence, FENCE, street.light(side)
            )

    def _curbside(self) -> None:
        """Set lamps, signs, signals, bollards, guard rails, trees and parked cars at the curb."""
        random, street, side = self._random, self._street, self._side
        curb = street.road_half_m + 0.45
        if random.random() < 0.75:
            self._lamp(side * curb, self._start + random.uniform(0, 8))
        for _ in range(int(random.integers(0, 3))):
            x = side * random.uniform(curb, street.building_line_m - 0.4)
            self._sign(x, self._start + random.uniform(0, STRETCH_M))
        if random.random() < 0.2:
            z = self._start + random.uniform(0, 14)
            for step in range(int(random.integers(3, 7))):
                self._post(side * curb, z + 1.6 * step, 0.16, 1.0)
        elif random.random() < 0.35:
            begin = self._start + random.uniform(0, 16)
            rail = street.fences[random.integers(2)]
            self._add(along(side * curb, begin, begin + 8, low=0, high=1.05, side=side), rail, FENCE, 0.9)
        for z in np.arange(self._start + 3, self._start + STRETCH_M, 10.0):
            if random.random() < street.tree_share * 0.6:
                self._tree(curb + 0.3, z + random.uniform(-2, 2))
        for z in np.arange(self._start + 3, self._start + STRETCH_M - 2, 5.6):
            if random.random() < street.parked_share[side]:
                heading = (0.0 if side < 0 else np.pi) + random.normal(0, 0.04)
                mesh = street.vehicles[random.integers(len(street.vehicles))]
                self.parked.append(Parked(mesh, side * (street.road_half_m - 1.05), z, heading))

    def _lamp(self, x: float, z: float) -> None:
        height = self._random.uniform(5, 8.5)
        self._post(x, z, 0.17, height)
        arm = upright(x - self._side * 0.5, z, 1.1, low=height - 0.1, high=height)
        self._add(arm, self._street.posts[0], POLE, 0.8)

    def _sign(self, x: float, z: float) -> None:
        random, street = self._random, self._street
        if random.random() < 0.25:
            board, low = street.lights[random.integers(2)], 2.3
        elif random.random() < 0.2:
            board, low = street.shop_signs[random.integers(4)], 0.3
        else:
            board, low = street.signs[random.integers(5)], random.uniform(2.0, 2.5)
        width, height = board.meters
        self._post(x, z, 0.11, low + height * 0.9)
        self._add(upright(x, z - 0.06, width, low=low, high=low + height), board, SIGN, random.uniform(0.7, 1.1))

    def _post(self, x: float, z: float, width: float, height: float) -> None:
        self._add(upright(x, z, width, low=0, high=height), self._street.posts[self._random.integers(3)], POLE, 1.0)

    def _tree(self, distance: float, z: float) -> None:
        random, street = self._random, self._street
        tree = street.trees[random.integers(len(street.trees))]
        scale = random.uniform(0.6, 1.25)
        x, width, height = self._side * distance, tree.meters[0] * scale, tree.meters[1] * scale
        corners = upright(x, z, width, low=0, high=height)
        self._add(corners[[1, 0, 3, 2]] if random.random() < 0.5 else corners, tree, TREE, random.uniform(0.8, 1.15))
        if street.sunny:
            turns = np.linspace(0, 2 * np.pi, 14, endpoint=False)
            middle = x - street.sun_side * height * 0.5 * street.sun_slope
            ring = [(middle + 0.4 * width * np.cos(a), 0, z - 1 + 0.4 * width * np.sin(a)) for a in turns]
            self.shadows.append(np.array(ring))

    def _add(self, corners: Floats, surface: Texture, class_id: int, light: float, *, far: float | None = None) -> None:
        self.panels.append(Panel(surface, class_id, light, float(corners[:, 2].max()) if far is None else far))
        self._corners.append(corners)
