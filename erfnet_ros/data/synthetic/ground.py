"""Ground of a street: road with markings, curbs and pavements, painted in perspective."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.data.synthetic.layout import PAVEMENT, ROAD, Character
from erfnet_ros.data.synthetic.rasterizer import Canvas
from erfnet_ros.data.synthetic.texture import Texture, asphalt, paving

_SCALE = 36
_LENGTH_M = 32
_SIDE_M = 18
_WHITE, _YELLOW = (200, 200, 192), (176, 150, 70)


class Ground:
    """The street's surface, which repeats every 32 m."""

    def __init__(self, random: np.random.Generator, street: Character):
        self._road_half_m = street.road_half_m
        self._texture = Texture(_plan(random, street))

    def paint(self, canvas: Canvas, traveled_m: float, *, first_row: int, shadows: Pixels, darkness: float) -> None:
        """Paint everything below the horizon.

        Args:
            canvas: The picture.
            traveled_m: Where the camera is along the street.
            first_row: First row below the horizon.
            shadows: (H, W) uint8, 255 where the sun does not reach the ground.
            darkness: What a shadow takes from the brightness, 0..1.
        """
        x, z = canvas.camera.ground(first_row)
        labels = canvas.labels[first_row:]
        labels[:] = np.where(np.abs(x) < self._road_half_m, ROAD, PAVEMENT)
        map_x = (np.clip(x, 0.1 - _SIDE_M, _SIDE_M - 0.1) + _SIDE_M) * _SCALE
        map_z = np.mod(-(z + np.float32(traveled_m)), _LENGTH_M) * _SCALE
        middle = z[:, z.shape[1] // 2]
        focal, height = canvas.camera.focal, canvas.camera.height
        across = _octaves(_SCALE * middle / focal)
        down = _octaves(_SCALE * middle**2 / (focal * height))
        changes = np.flatnonzero((np.diff(across) != 0) | (np.diff(down) != 0)) + 1
        edges = [0, *changes.tolist(), len(middle)]
        for top, bottom in pairwise(edges):
            level = self._texture.level(int(across[top]), int(down[top])).rgb
            scale_x, scale_z = level.shape[1] / (2 * _SIDE_M * _SCALE), level.shape[0] / (_LENGTH_M * _SCALE)
            canvas.rgb[first_row + top : first_row + bottom] = cv2.remap(
                level,
                map_x[top:bottom] * np.float32(scale_x) - np.float32(0.5),
                map_z[top:bottom] * np.float32(scale_z) - np.float32(0.5),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_WRAP,
            )
        below = canvas.rgb[first_row:]
        factor = (255 - shadows[first_row:].astype(np.float32) * darkness).astype(np.uint8)
        below[:] = cv2.multiply(below, cv2.cvtColor(factor, cv2.COLOR_GRAY2RGB), scale=1 / 255)


def _octaves(texels_per_pixel: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    octaves: npt.NDArray[np.int64] = np.clip(np.log2(np.maximum(texels_per_pixel, 1)) + 0.3, 0, 8).astype(np.int64)
    return octaves


def _plan(random: np.random.Generator, street: Character) -> Pixels:
    """Paint the street as seen from above, (1152, 1296, 3); further down is nearer."""
    height, width = _LENGTH_M * _SCALE, 2 * _SIDE_M * _SCALE
    middle, half = width // 2, int(street.road_half_m * _SCALE)
    tone = random.uniform(62, 118)
    warm = random.uniform(-5, 7)
    plan = asphalt(random, height, width, (int(tone + warm), int(tone + warm / 2), int(tone)))
    slab_tone, blush = tone * random.uniform(0.85, 1.45), random.uniform(-6, 14)
    slab = (int(slab_tone + blush), int(slab_tone), int(slab_tone - blush / 2))
    if random.random() < 0.65:
        side = paving(
            random, height, width, slab, slab=(int(random.choice([16, 24, 32])), int(random.choice([18, 24, 32])))
        )
    else:
        side = asphalt(random, height, width, slab)
    columns = np.abs(np.arange(width) - middle)
    plan[:, columns > half] = side[:, columns > half]
    curb = (columns > half) & (columns <= half + 6)
    plan[:, curb] = (plan[:, curb].astype(np.float32) * 0.4 + random.uniform(70, 120)).astype(np.uint8)
    gutter = (columns <= half) & (columns > half - 4)
    plan[:, gutter] = plan[:, gutter] // 2
    _mark(random, plan, middle, half)
    return plan


def _mark(random: np.random.Generator, plan: Pixels, middle: int, half: int) -> None:
    """Draw the lane markings, worn."""
    paint = plan.copy()
    dash = int(random.choice([2, 3, 4])) * _SCALE
    for start in range(0, plan.shape[0], 8 * _SCALE):
        cv2.rectangle(paint, (middle - 2, start), (middle + 2, start + dash), _WHITE, -1)
    edge = random.random()
    if edge < 0.45:
        offsets, color = ((half - 9, half - 16), _YELLOW) if edge < 0.3 else ((half - 12,), _WHITE)
        for offset in offsets:
            for x in (middle - offset, middle + offset):
                cv2.rectangle(paint, (x - 1, 0), (x + 1, plan.shape[0]), color, -1)
    if random.random() < 0.35:
        start = int(random.integers(0, 20)) * _SCALE
        for x in range(middle - half + 14, middle + half - 14, 36):
            cv2.rectangle(paint, (x, start), (x + 18, start + 3 * _SCALE), _WHITE, -1)
    if random.random() < 0.3:
        for offset in range(0, plan.shape[0], 16 * _SCALE):
            arrow = np.array([(-5, 0), (-5, 90), (-18, 90), (0, 140), (18, 90), (5, 90), (5, 0)]) * (1, -1)
            cv2.fillPoly(paint, [np.add(arrow, (middle - half // 2, offset + 200)).astype(np.int32)], _WHITE)
    wear = random.uniform(0.45, 0.95) + random.uniform(-0.25, 0.1, plan.shape[:2])[..., None]
    plan[:] = (plan + (paint.astype(np.float32) - plan) * np.clip(wear, 0, 1)).astype(np.uint8)
