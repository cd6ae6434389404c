"""Pedestrians and bicyclists, with a picture for each step or turn of the pedals."""

from __future__ import annotations

import cv2
import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.data.synthetic.texture import Color, Texture, colors, cut_out

STEPS = 8
_CLOTHES = colors("1e1e22 2c303c 46423e 6e2828 343e30 78746e 1c284a b4aa96 5a4a36 96283c c8c4be 3a2c42")
_SKINS = colors("c49c84 966c54 624434 d6b29c")


class _Figure:
    """A drawing of round limbs, color and shape at once."""

    def __init__(self, random: np.random.Generator, height: int, width: int):
        self.rgb: Pixels = np.zeros((height, width, 3), np.uint8)
        self.alpha: Pixels = np.zeros((height, width), np.uint8)
        self._grain = random.uniform(0.8, 1.15, (height, width, 1))

    def limb(self, points: list[tuple[float, float]], color: Color, thickness: float) -> None:
        """Draw a line through points (x, y)."""
        path = [np.rint(np.array(points) * 8).astype(np.int32)]
        for picture, ink in ((self.rgb, color), (self.alpha, (255,))):
            cv2.polylines(picture, path, False, ink, max(1, round(thickness)), cv2.LINE_AA, 3)

    def blob(self, center: tuple[float, float], radii: tuple[float, float], color: Color) -> None:
        """Draw a filled ellipse."""
        middle = (round(center[0]), round(center[1]))
        axes = (round(radii[0]), round(radii[1]))
        for picture, ink in ((self.rgb, color), (self.alpha, (255,))):
            cv2.ellipse(picture, middle, axes, 0, 0, 360, ink, -1, cv2.LINE_AA)

    def wheel(self, center: tuple[float, float], radius: float, spin: float) -> None:
        """Draw a tire with spokes."""
        middle = (round(center[0]), round(center[1]))
        for picture, ink in ((self.rgb, (24, 24, 26)), (self.alpha, (255,))):
            cv2.circle(picture, middle, round(radius), ink, 5, cv2.LINE_AA)
        for turn in np.arange(4) * np.pi / 4 + spin:
            x, y = radius * np.array([np.cos(turn), np.sin(turn)])
            self.limb([(center[0] - x, center[1] - y), (center[0] + x, center[1] + y)], (120, 120, 120), 1)

    def texture(self, meters: tuple[float, float], close_px: int) -> Texture:
        """Finish with cloth-like grain and light from above."""
        light = np.linspace(1.12, 0.85, len(self.rgb))[:, None, None]
        grained = (self.rgb * self._grain * light).clip(0, 255).astype(np.uint8)
        return cut_out(grained, self.alpha, meters, close_px)


def pedestrian(random: np.random.Generator) -> list[Texture]:
    """Paint a walker in STEPS pictures of 96 x 192 texels, about 0.9 m x 1.8 m."""
    coat, trousers, shoes = _pick(random), _pick(random), _pick(random)
    skin, hair = _SKINS[random.integers(len(_SKINS))], _CLOTHES[random.integers(0, 4)]
    stout, skirt, bag = random.uniform(0.85, 1.25), random.random() < 0.25, random.random() < 0.4
    bag_color = _pick(random)
    tall = random.uniform(1.55, 1.9)
    grain = int(random.integers(1 << 30))
    steps = []
    for step in range(STEPS):
        swing = 15 * np.sin(2 * np.pi * step / STEPS)
        figure = _Figure(np.random.default_rng(grain), 192, 96)
        figure.limb([(48, 66), (48 - swing * 0.5, 84), (50 - swing, 104)], _darker(coat), 10 * stout)
        for side, shade in ((-1, _darker(trousers)), (1, trousers)):
            knee, foot = 48 + side * swing * 0.6, 48 + side * swing * 1.3
            figure.limb([(48, 102), (knee, 140), (foot, 180)], shade, 15 * stout)
            figure.limb([(foot - 3, 185), (foot + 8, 186)], shoes, 9)
        figure.limb([(48, 52), (48, 100)], coat, 32 * stout)
        figure.limb([(48 - 9 * stout, 50), (48 + 9 * stout, 50)], coat, 20)
        if skirt:
            figure.limb([(48, 100), (48, 136)], coat, 30 * stout)
        figure.limb([(48, 54), (48 + swing * 0.5, 80), (50 + swing, 102)], _brighter(coat), 10 * stout)
        if bag:
            figure.blob((50 + swing, 118), (11, 15), bag_color)
        figure.limb([(48, 28), (48, 38)], skin, 10)
        figure.blob((48, 20), (11, 14), skin)
        figure.blob((46, 15), (12, 11), hair)
        steps.append(figure.texture((tall / 2, tall), 5))
    return steps


def bicyclist_behind(random: np.random.Generator) -> list[Texture]:
    """Paint a rider seen along the road in STEPS pictures of 112 x 208 texels, about 0.95 m x 1.8 m."""
    coat, trousers, helmet = _pick(random), _pick(random), _pick(random)
    skin, bare = _SKINS[random.integers(len(_SKINS))], random.random() < 0.5
    grain = int(random.integers(1 << 30))
    pictures = []
    for step in range(STEPS):
        lift = 12 * np.sin(2 * np.pi * step / STEPS)
        figure = _Figure(np.random.default_rng(grain), 208, 112)
        figure.limb([(56, 126), (56, 204)], (22, 22, 24), 8)
        figure.limb([(56, 104), (56, 140)], (90, 90, 96), 9)
        figure.limb([(30, 96), (82, 96)], (50, 50, 54), 4)
        for side in (-1, 1):
            hip, foot = 56 + side * 9, 56 + side * 13
            figure.limb([(hip, 104), (hip + side * 7, 134 - side * lift), (foot, 172 - side * lift)], trousers, 15)
            figure.limb([(foot, 176 - side * lift), (foot, 182 - side * lift)], (26, 24, 24), 10)
            figure.limb([(56 + side * 16, 52), (56 + side * 27, 76), (56 + side * 23, 94)], _darker(coat), 11)
        figure.limb([(56, 56), (56, 102)], coat, 36)
        figure.limb([(44, 48), (68, 48)], coat, 16)
        figure.blob((56, 22), (11, 14), skin)
        figure.blob((56, 16), (13, 12), _darker(skin) if bare else helmet)
        figure.blob((56, 122), (4, 4), (190, 20, 20))
        pictures.append(figure.texture((0.97, 1.8), 7))
    return pictures


def bicyclist_sideways(random: np.random.Generator) -> list[Texture]:
    """Paint a rider seen from the side in STEPS pictures of 216 x 208 texels, about 1.85 m x 1.8 m."""
    coat, trousers, paint = _pick(random), _pick(random), _pick(random)
    skin, hair = _SKINS[random.integers(len(_SKINS))], _pick(random)
    grain = int(random.integers(1 << 30))
    pictures = []
    for step in range(STEPS):
        turn = 2 * np.pi * step / STEPS
        figure = _Figure(np.random.default_rng(grain), 208, 216)
        rear, front, crank, seat, bar = (46, 164), (168, 164), (98, 166), (84, 108), (150, 98)
        figure.wheel(rear, 38, turn)
        figure.wheel(front, 38, turn)
        figure.limb([rear, seat, crank, rear], paint, 5)
        figure.limb([seat, (148, 114), crank], paint, 5)
        figure.limb([front, bar, (160, 94)], paint, 5)
        for side, shade in ((-1, _darker(trousers)), (1, trousers)):
            pedal = (98 + side * 15 * np.cos(turn), 168 + side * 15 * np.sin(turn))
            knee = (118 + side * 8 * np.cos(turn), 134 + side * 8 * np.sin(turn))
            figure.limb([(86, 104), knee, pedal], shade, 14)
            figure.limb([pedal, (pedal[0] + 10, pedal[1] + 2)], (26, 24, 24), 8)
        figure.limb([(88, 98), (116, 56)], coat, 30)
        figure.limb([(118, 56), (132, 80), (154, 94)], _brighter(coat), 11)
        figure.blob((130, 28), (12, 14), skin)
        figure.blob((127, 22), (13, 11), hair)
        pictures.append(figure.texture((1.87, 1.8), 9))
    return pictures


def _pick(random: np.random.Generator) -> Color:
    return _CLOTHES[random.integers(len(_CLOTHES))]


def _darker(color: Color) -> Color:
    return color[0] * 3 // 4, color[1] * 3 // 4, color[2] * 3 // 4


def _brighter(color: Color) -> Color:
    return min(255, color[0] * 5 // 4), min(255, color[1] * 5 // 4), min(255, color[2] * 5 // 4)
