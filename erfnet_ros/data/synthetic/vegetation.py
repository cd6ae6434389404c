"""Trees and hedges."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.data.synthetic.texture import Texture, colors, cut_out, foliage, noise

_BARK = colors("463a2e 5c5448 322c28 6e6456")
_LEAVES = colors("4a5c2a 60683c 344626 78703e 805c32 3c4c3c")


def leafy_tree(random: np.random.Generator) -> Texture:
    """Paint a tree in leaf with its trunk, 256 x 320 texels."""
    height, width = 320, 256
    rgb = foliage(random, height, width, _LEAVES[random.integers(len(_LEAVES))])
    crown = _crown(random, height, width, share=float(random.uniform(0.62, 0.78)), roughness=0.5)
    trunk = np.zeros_like(crown)
    foot = width // 2
    thickness = int(random.integers(12, 22))
    left, right = [(foot - thickness, height), (foot - thickness // 2, 170)], [(foot + thickness // 2, 170)]
    bole = [*left, *right, (foot + thickness, height)]
    cv2.fillPoly(trunk, [np.array(bole, np.int32)], 255)
    bark = foliage(random, height, width, _BARK[random.integers(len(_BARK))])
    rgb = np.where((trunk > 0)[..., None] & (crown == 0)[..., None], bark, rgb)
    return cut_out(rgb, np.maximum(crown, trunk), (7.0, 8.75), close_px=9)


def bare_tree(random: np.random.Generator) -> Texture:
    """Paint a leafless tree: branches that fork down to twigs, 256 x 320 texels."""
    height, width = 320, 256
    bark = _BARK[random.integers(len(_BARK))]
    alpha = np.zeros((height, width), np.uint8)
    tips = [(width / 2, float(height), -np.pi / 2, random.uniform(70, 95), random.uniform(10, 16))]
    while tips:
        x, y, angle, length, thickness = tips.pop()
        end_x, end_y = x + np.cos(angle) * length, y + np.sin(angle) * length
        cv2.line(alpha, (int(x), int(y)), (int(end_x), int(end_y)), 255, max(1, round(thickness)), cv2.LINE_AA)
        if length < 9:
            continue
        for _ in range(int(random.integers(2, 4))):
            turn = random.normal(0, 0.5)
            tips.append((end_x, end_y, angle + turn, length * random.uniform(0.62, 0.8), thickness * 0.62))
    rgb = foliage(random, height, width, bark)
    return cut_out(rgb, alpha, (7.0, 8.75), close_px=17)


def conifer(random: np.random.Generator) -> Texture:
    """Paint a dark conifer, 160 x 320 texels."""
    height, width = 320, 160
    rgb = foliage(random, height, width, (38, 52, 34))
    rows = np.arange(height, dtype=np.float32)[:, None]
    across = np.abs(np.arange(width, dtype=np.float32) - width / 2)[None, :]
    reach = (rows / height) ** 0.8 * width * 0.46 + 12 * noise(random, height, width, 24, octaves=4)
    alpha = ((across < reach) & (rows > 6)).astype(np.uint8) * 255
    return cut_out(rgb, alpha, (4.4, 8.8), close_px=5)


def hedge(random: np.random.Generator) -> Texture:
    """Paint a hedge or a row of bushes, 8 m x 2 m, with an uneven top."""
    rgb = foliage(random, 96, 384, _LEAVES[random.integers(len(_LEAVES))])
    return _cut_above(rgb, 14 + 12 * noise(random, 1, 384, 60, octaves=4), (8.0, 2.0))


def treeline(random: np.random.Generator) -> Texture:
    """Paint a far row of trees, 60 m x 12 m."""
    rgb = foliage(random, 128, 640, _LEAVES[random.integers(len(_LEAVES))])
    return _cut_above(rgb, 50 + 38 * noise(random, 1, 640, 90, octaves=6), (60.0, 12.0))


def _cut_above(rgb: Pixels, top: npt.NDArray[np.float32], meters: tuple[float, float]) -> Texture:
    """Make a texture of what lies below row `top` (1, W) of each column."""
    rows = np.arange(len(rgb), dtype=np.float32)[:, None]
    return cut_out(rgb, (rows > top).astype(np.uint8) * 255, meters, close_px=3)


def _crown(random: np.random.Generator, height: int, width: int, *, share: float, roughness: float) -> Pixels:
    """Draw a crown over the upper `share` of the picture, its rim frayed and its inside holed."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    middle, radius_y, radius_x = height * share / 2, height * share / 2 * 0.98, width / 2 * 0.96
    radius = np.hypot((columns - width / 2) / radius_x, (rows - middle) / radius_y)
    fringe = roughness * noise(random, height, width, 60, octaves=6)
    leaves = (np.maximum(radius + fringe * (0.35 + radius), 1.2 * radius - 0.22) < 0.9).astype(np.uint8)
    _, parts, sizes, _ = cv2.connectedComponentsWithStats(leaves)
    largest = 1 + int(sizes[1:, cv2.CC_STAT_AREA].argmax())
    crown: Pixels = (parts == largest).astype(np.uint8) * 255
    return crown
