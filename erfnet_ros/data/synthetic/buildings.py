"""Fronts and side walls of buildings."""

from __future__ import annotations

import cv2
import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.data.synthetic.texture import Texture, colors, noise, tint

_SCALE = 28
_WALLS = colors("946852 7a4a3a b8a480 cec4ac e2e0da 96928a 6c6660 ac9670 56483e 848c74 c4b296 626c68")
_PAINTS = colors("961e22 1c3c78 1e543a 282628 d2c83c e2ded6 5c325a 3c6e8c")


def facade(random: np.random.Generator) -> Texture:
    """Paint a front of two to five floors with windows, doors or a shop, and a cornice."""
    floors = int(random.choice([2, 2, 3, 3, 4, 5]))
    floor_m = float(random.uniform(2.7, 3.6))
    width, height = int(random.uniform(6, 13) * _SCALE), int((floors * floor_m + random.uniform(0.3, 0.9)) * _SCALE)
    rgb = _wall(random, height, width)
    floor = int(floor_m * _SCALE)
    pitch = random.uniform(1.6, 3.4) * _SCALE
    columns = max(1, int(width / pitch))
    share_x, share_y = random.uniform(0.32, 0.75), random.uniform(0.42, 0.66)
    frame = tuple(int(v) for v in random.choice(np.array([(230, 228, 222), (60, 56, 54), (150, 140, 126)])))
    for number in range(1, floors):
        for column in range(columns):
            x = int((column + 0.5) * width / columns - share_x * pitch / 2)
            y = height - (number + 1) * floor + int(floor * 0.18)
            _window(random, rgb, (x, y, int(share_x * pitch), int(floor * share_y)), frame)
        if random.random() < 0.4:
            y = height - number * floor
            cv2.rectangle(rgb, (0, y - 3), (width, y + 2), frame, -1)
    if random.random() < 0.55:
        _shop(random, rgb, floor)
    else:
        _doors(random, rgb, floor=floor, columns=columns, frame=frame)
    cornice = int(random.integers(4, 14))
    rgb[:cornice] = (rgb[:cornice] * random.uniform(0.6, 1.15)).clip(0, 255).astype(np.uint8)
    rgb[cornice : cornice + 3] //= 2
    return Texture(rgb, meters=(width / _SCALE, height / _SCALE))


def side_wall(random: np.random.Generator) -> Texture:
    """Paint a wall of 8 m x 10 m with few windows."""
    height, width = 10 * _SCALE, 8 * _SCALE
    rgb = _wall(random, height, width)
    for _ in range(int(random.integers(0, 5))):
        x, y = int(random.integers(10, width - 40)), int(random.integers(20, height - 60))
        _window(random, rgb, (x, y, 26, 38), (200, 196, 188))
    return Texture(rgb, meters=(8.0, 10.0))


def gable(wall: Texture) -> Texture:
    """Cut the triangle under a roof, 8 m x 2.5 m, out of a wall."""
    height, width = wall.rgb.shape[0] // 4, wall.rgb.shape[1]
    alpha = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(alpha, np.array([(0, height), (width // 2, 0), (width, height)], np.int32), 255)
    return Texture(wall.rgb[-height:], alpha, alpha, (8.0, 2.5))


def _wall(random: np.random.Generator, height: int, width: int) -> Pixels:
    color = _WALLS[random.integers(len(_WALLS))]
    relief = 0.08 * noise(random, height, width, 120, octaves=6) + 0.05 * random.standard_normal(
        (height, width), np.float32
    )
    if random.random() < 0.6:
        bricks = random.uniform(-0.16, 0.12, (height // 4 + 1, width // 9 + 1)).astype(np.float32)
        relief += cv2.resize(bricks, None, fx=9, fy=4, interpolation=cv2.INTER_NEAREST)[:height, :width]
        relief[::4] += 0.12
    relief += np.linspace(0.05, -0.15, height, dtype=np.float32)[:, None]
    return tint(color, relief)


def _window(random: np.random.Generator, rgb: Pixels, box: tuple[int, int, int, int], frame: tuple[int, ...]) -> None:
    x, y, width, height = box
    cv2.rectangle(rgb, (x - 2, y - 2), (x + width + 2, y + height + 2), frame, -1)
    _glass(random, rgb, box)
    cv2.line(rgb, (x + width // 2, y), (x + width // 2, y + height), frame, 2)
    cv2.line(rgb, (x, y + height // 2), (x + width, y + height // 2), frame, 1)
    cv2.line(rgb, (x - 4, y + height + 4), (x + width + 4, y + height + 4), (90, 86, 80), 2)
    cv2.line(rgb, (x - 3, y - 4), (x + width + 3, y - 4), (110, 100, 90), 2)


def _glass(random: np.random.Generator, rgb: Pixels, box: tuple[int, int, int, int]) -> None:
    """Fill a pane: dark rooms, a curtain, or the sky's reflection."""
    x, y, width, height = box
    pane = rgb[max(0, y) : y + height, max(0, x) : x + width]
    if not pane.size:
        return
    tone = np.array(random.choice(np.array([(34, 38, 42), (52, 60, 66), (24, 22, 22), (126, 140, 150), (84, 92, 96)])))
    ramp = np.linspace(random.uniform(0.8, 1.6), random.uniform(0.6, 1.1), pane.shape[0])[:, None, None]
    pane[:] = (tone * ramp * random.uniform(0.85, 1.15, pane.shape[:2])[..., None]).clip(0, 255)
    if random.random() < 0.25:
        pane[: pane.shape[0] // 2] = (206, 198, 180)


def _shop(random: np.random.Generator, rgb: Pixels, floor: int) -> None:
    """Turn the ground floor into a shop: fascia, window bays, a door."""
    height, width = rgb.shape[:2]
    top = height - floor
    paint = _PAINTS[random.integers(len(_PAINTS))]
    cv2.rectangle(rgb, (0, top), (width, height), tuple(int(v * 0.6) for v in paint), -1)
    cv2.rectangle(rgb, (0, top), (width, top + floor // 5), paint, -1)
    ink = (235, 235, 225) if sum(paint) < 380 else (30, 30, 40)
    for x in range(width // 4, width * 3 // 4, 9):
        cv2.rectangle(rgb, (x, top + floor // 15), (x + int(random.integers(3, 8)), top + floor // 7), ink, -1)
    bays = int(random.integers(2, 5))
    for bay in range(bays):
        x = int(bay * width / bays) + 6
        _glass(random, rgb, (x, top + floor // 4, width // bays - 12, int(floor * random.choice([0.55, 0.7]))))
        for _ in range(5):
            item_x = x + int(random.integers(0, max(1, width // bays - 30)))
            item_y = height - int(random.integers(18, floor // 2))
            goods = tuple(int(v) for v in random.integers(30, 220, 3))
            cv2.rectangle(rgb, (item_x, item_y), (item_x + 10, item_y + 12), goods, -1)


def _doors(random: np.random.Generator, rgb: Pixels, *, floor: int, columns: int, frame: tuple[int, ...]) -> None:
    """Give the ground floor windows and a door."""
    height, width = rgb.shape[:2]
    door = int(random.integers(0, columns))
    for column in range(columns):
        x = int((column + 0.5) * width / columns) - 14
        if column == door:
            paint = _PAINTS[random.integers(len(_PAINTS))]
            cv2.rectangle(rgb, (x - 3, height - int(floor * 0.74)), (x + 31, height), frame, -1)
            cv2.rectangle(rgb, (x, height - int(floor * 0.7)), (x + 28, height), paint, -1)
        else:
            _window(random, rgb, (x - 4, height - int(floor * 0.78), 36, int(floor * 0.5)), frame)
    cv2.rectangle(rgb, (0, height - 8), (width, height), (84, 80, 74), -1)
