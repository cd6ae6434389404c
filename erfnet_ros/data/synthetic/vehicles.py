"""Cars, vans and buses: a side profile extruded to a body of flat faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from erfnet_ros.data.synthetic.rasterizer import Floats, Mesh
from erfnet_ros.data.synthetic.texture import Color, colors

_PAINTS = colors("787c80 54585c a8aaac 24262a 8c1e20 1e3060 d2d2ce 34503e 5c1e26 426082 beac3c 181a1e 68645c")
Edge = tuple[float, float, float, float]

_GLASS: Color = (40, 47, 54)
_RUBBER: Color = (20, 20, 22)
_HUB: Color = (128, 130, 132)
_PLATES: tuple[Color, Color] = (206, 186, 70), (222, 222, 216)


@dataclass(frozen=True)
class _Shape:
    """A body in meters: overall sizes, window line, parts before and behind the glass, and the roof's set-in."""

    length: float
    width: float
    height: float
    belt: float
    bonnet: float
    boot: float
    taper: float


_HATCHBACK = _Shape(3.9, 1.68, 1.45, 0.92, 1.0, 0.25, 0.18)
_SALOON = _Shape(4.5, 1.76, 1.42, 0.92, 1.25, 0.75, 0.2)
_ESTATE = _Shape(4.5, 1.76, 1.55, 0.96, 1.2, 0.12, 0.16)
_OFF_ROADER = _Shape(4.4, 1.86, 1.82, 1.1, 1.15, 0.1, 0.13)
_VAN = _Shape(5.2, 1.98, 2.3, 1.25, 0.75, 0.04, 0.06)
_BUS = _Shape(10.0, 2.5, 3.2, 1.4, 0.3, 0.04, 0.04)


class _Builder:
    """Collects faces, each turned so that its outside is seen clockwise."""

    def __init__(self, middle_height: float):
        self._middle = np.array([0, middle_height, 0])
        self._faces: list[Floats] = []
        self._colors: list[npt.NDArray[np.float64]] = []

    def face(self, points: list[tuple[float, float, float]], color: Color, shade: float = 1.0) -> None:
        corners = np.array(points, np.float64)
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[1])
        inside_out = normal @ (corners.mean(axis=0) - self._middle) < 0
        self._faces.append(corners[::-1] if inside_out else corners)
        self._colors.append(np.array(color) * shade)

    def strip(self, low: Edge, high: Edge, color: Color, shade: float = 1.0) -> None:
        """Add the face between two edges that lie across the vehicle, each (left x, right x, y, z)."""
        (left, right, y, z), (high_left, high_right, high_y, high_z) = low, high
        corners = [(left, y, z), (right, y, z), (high_right, high_y, high_z), (high_left, high_y, high_z)]
        self.face(corners, color, shade)

    def mesh(self) -> Mesh:
        ends = np.cumsum([len(face) for face in self._faces])
        starts = np.concatenate([[0], ends[:-1]])
        spans = tuple(zip(starts.tolist(), ends.tolist(), strict=True))
        return Mesh(np.concatenate(self._faces), spans, np.array(self._colors))


def vehicle(random: np.random.Generator, bus_share: float = 0.05) -> Mesh:
    """Build a car, van or bus of some color, its middle at the origin and its front towards +z."""
    shapes = (_HATCHBACK, _SALOON, _ESTATE, _OFF_ROADER, _VAN)
    shape = _BUS if random.random() < bus_share else shapes[random.choice(5, p=(0.34, 0.24, 0.18, 0.12, 0.12))]
    paint = _PAINTS[random.integers(len(_PAINTS))]
    builder = _Builder(shape.height / 2)
    for side in (-1.0, 1.0):
        _side(builder, shape, side, paint)
    _ends(builder, shape, paint)
    return builder.mesh()


def _side(builder: _Builder, shape: _Shape, side: float, paint: Color) -> None:
    front, half, roof = shape.length / 2, shape.width / 2, shape.width / 2 - shape.taper
    windscreen, rear, top_front, top_rear = _glass_line(shape)
    x, low = side * half, 0.26
    tone = 0.9 + 0.06 * side
    body = [(low, -front + 0.06), (shape.belt - 0.16, -front), (shape.belt, rear), (shape.belt, windscreen)]
    body += [(shape.belt - 0.2, front - 0.08), (low, front - 0.04)]
    builder.face([(x, y, z) for y, z in body], paint, tone)
    sill = [(low, -front + 0.08), (0.48, -front + 0.05), (0.48, front - 0.06), (low, front - 0.06)]
    builder.face([(x, y, z) for y, z in sill], paint, 0.62)
    roof_edge = [(side * roof, shape.height, top_front), (side * roof, shape.height, top_rear)]
    builder.face([(x, shape.belt, rear), (x, shape.belt, windscreen), *roof_edge], paint, tone)
    panes = max(2, round((windscreen - rear) / 1.3))
    for pane in range(panes):
        near, far = (pane + 0.08) / panes, (pane + 0.92) / panes
        corners = []
        for up, along in ((0.1, near), (0.1, far), (0.88, far), (0.88, near)):
            bottom, top = rear + along * (windscreen - rear), top_rear + along * (top_front - top_rear)
            y = shape.belt + up * (shape.height - shape.belt)
            corners.append((side * (half + up * (roof - half)), y, bottom + up * (top - bottom)))
        builder.face(corners, _GLASS, 1.0 + 0.2 * side)
    radius = 0.31 if shape.height < 2 else 0.4
    for axle in (-front * 0.62, front * 0.64):
        for reach, color in ((radius, _RUBBER), (radius * 0.6, _HUB)):
            turns = np.linspace(0, 2 * np.pi, 12, endpoint=False)
            rim = [(side * (half + 0.01), radius + reach * np.sin(a), axle + reach * np.cos(a)) for a in turns]
            builder.face(rim, color)


def _ends(builder: _Builder, shape: _Shape, paint: Color) -> None:
    front, half, roof = shape.length / 2, shape.width / 2, shape.width / 2 - shape.taper
    windscreen, rear, top_front, top_rear = _glass_line(shape)
    for end, glass, top, lamp, plate in (
        (-front, rear, top_rear, (150, 24, 26), _PLATES[0]),
        (front, windscreen, top_front, (228, 228, 220), _PLATES[1]),
    ):
        out = np.sign(end)
        edge = end - out * 0.06
        lip = shape.belt - 0.18
        builder.strip((-half, half, 0.12, edge), (-half, half, 0.3, edge), _RUBBER)
        for x in (-half, half - 0.2):
            builder.strip((x, x + 0.2, 0.0, edge), (x, x + 0.2, 0.3, edge), _RUBBER)
        builder.strip((-half, half, 0.26, end), (-half, half, lip, end), paint, 0.82)
        builder.strip((-half, half, 0.26, end), (-half, half, 0.46, end), paint, 0.55)
        for x in (-half + 0.02, half - 0.34):
            builder.strip((x, x + 0.32, lip - 0.24, end), (x, x + 0.32, lip - 0.04, end), lamp)
        builder.strip((-0.26, 0.26, 0.46, end), (-0.26, 0.26, 0.58, end), plate)
        builder.strip((-half, half, lip, end), (-half, half, shape.belt, glass), paint, 1.12)
        builder.strip((-half, half, shape.belt, glass), (-roof, roof, shape.height, top), paint, 0.95)
        corners = []
        for side, up in ((-1, 0.08), (1, 0.08), (1, 0.88), (-1, 0.88)):
            x = side * (half + up * (roof - half)) * 0.87
            corners.append((x, shape.belt + up * (shape.height - shape.belt), glass + up * (top - glass)))
        builder.face(corners, _GLASS, 1.25 if end > 0 else 0.95)
    builder.strip((-roof, roof, shape.height, top_rear), (-roof, roof, shape.height, top_front), paint, 1.2)


def _glass_line(shape: _Shape) -> tuple[float, float, float, float]:
    """Return where, along z, windscreen and rear window meet the body, and where they meet the roof."""
    front, rise = shape.length / 2, shape.height - shape.belt
    windscreen, rear = front - shape.bonnet, -front + shape.boot
    steep = 0.12 if shape.bonnet < 0.5 else 0.95
    return windscreen, rear, windscreen - steep * rise, rear + min(steep, 0.5) * rise
