"""Textures with their smaller versions, and the surfaces of a street: asphalt, masonry, roofs, foliage, sky."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import Pixels

Color = tuple[int, int, int]


def colors(hexadecimal: str) -> tuple[Color, ...]:
    """Return the colors of a text such as "946852 7a4a3a", each 0..255."""
    parts = [bytes.fromhex(word) for word in hexadecimal.split()]
    return tuple((red, green, blue) for red, green, blue in parts)


@dataclass(frozen=True)
class Texture:
    """A picture to be put on a panel.

    Attributes:
        rgb: (H, W, 3) uint8; goes on beyond the outline, so that interpolation draws no halo.
        alpha: (H, W) uint8, what is painted; None where all is.
        cover: (H, W) uint8, what bears the label: the outline as CamVid's annotators draw it, without the gaps
            between bars or twigs; None where all does.
        meters: (width, height) of the whole picture in the street.
    """

    rgb: Pixels
    alpha: Pixels | None = None
    cover: Pixels | None = None
    meters: tuple[float, float] = (1.0, 1.0)
    _levels: dict[tuple[int, int], Texture] = field(default_factory=dict, repr=False, compare=False)

    def level(self, across: int, down: int) -> Texture:
        """Return the texture shrunk by 2**across and 2**down, made once."""
        if (across, down) == (0, 0):
            return self
        if (across, down) not in self._levels:
            self._levels[across, down] = Texture(
                _shrink(self.rgb, across, down),
                None if self.alpha is None else _shrink(self.alpha, across, down),
                None if self.cover is None else _shrink(self.cover, across, down),
                self.meters,
            )
        return self._levels[across, down]


def _shrink(pixels: Pixels, across: int, down: int) -> Pixels:
    size = (max(1, pixels.shape[1] >> across), max(1, pixels.shape[0] >> down))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def noise(
    random: np.random.Generator, height: int, width: int, cell: float, *, octaves: int = 4
) -> npt.NDArray[np.float32]:
    """Return smooth noise (height, width) of about -1..1, its largest blobs `cell` pixels wide."""
    total = np.zeros((height, width), np.float32)
    weight = 0.6
    for _ in range(octaves):
        grid = random.uniform(-1, 1, (int(height / cell) + 2, int(width / cell) + 2)).astype(np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight, cell = weight * 0.65, max(1.0, cell / 2)
    return total


def tint(color: Color, relief: npt.NDArray[np.float32]) -> Pixels:
    """Return a surface (H, W, 3) of one color with brightness 1 + relief (H, W)."""
    surface: Pixels = np.clip(np.array(color, np.float32) * (1 + relief[..., None]), 0, 255).astype(np.uint8)
    return surface


def cut_out(rgb: Pixels, alpha: Pixels, meters: tuple[float, float], close_px: int = 1) -> Texture:
    """Make a texture from a drawing (H, W, 3) and its shape (H, W); gaps up to `close_px` still bear the label."""
    weight = (alpha > 127).astype(np.float32)
    reach = (0, 0)
    spread = cv2.GaussianBlur(rgb.astype(np.float32) * weight[..., None], reach, 3.0)
    amount = cv2.GaussianBlur(weight, reach, 3.0)[..., None]
    bled = np.where(weight[..., None] > 0, rgb, spread / np.maximum(amount, 1e-3))
    cover = alpha
    if close_px > 1:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (close_px, close_px))
        cover = cv2.morphologyEx(alpha, cv2.MORPH_CLOSE, kernel, borderValue=0).astype(np.uint8)
    return Texture(np.clip(bled, 0, 255).astype(np.uint8), alpha, cover, meters)


def sky(random: np.random.Generator, *, zenith: Color, horizon: Color, cloud: Color, cloudiness: float) -> Pixels:
    """Paint a sky (256, 1024, 3): a gradient from zenith to horizon under clouds; 0..1 cloudiness."""
    down = np.linspace(0, 1, 256, dtype=np.float32)[:, None, None]
    clear = np.array(zenith, np.float32) * (1 - down) + np.array(horizon, np.float32) * down
    puffs = noise(random, 256, 1024, 110, octaves=6)
    share = np.clip((puffs + cloudiness * 2 - 1) * 1.6, 0, 1)[..., None]
    shaded = np.array(cloud, np.float32) * (1 + 0.12 * noise(random, 256, 1024, 60, octaves=4)[..., None])
    painted: Pixels = np.clip(clear * (1 - share) + shaded * share, 0, 255).astype(np.uint8)
    return painted


def asphalt(random: np.random.Generator, height: int, width: int, color: Color) -> Pixels:
    """Paint a road surface (height, width, 3) with grain, stains, repairs and seams; repeats downwards."""
    relief = 0.10 * random.standard_normal((height, width), np.float32) + 0.13 * noise(
        random, height, width, 200, octaves=5
    )
    for _ in range(int(random.integers(2, 8))):
        x, y = int(random.integers(0, width)), int(random.integers(0, height * 3 // 4))
        across, down = int(random.integers(20, 110)), int(random.integers(30, height // 4))
        relief[y : y + down, x : x + across] += random.uniform(-0.25, 0.15)
    for _ in range(int(random.integers(3, 10))):
        steps = np.cumsum(random.integers(-9, 10, (24, 2)), axis=0)
        steps[:, 0] += random.integers(0, width)
        steps[:, 1] = np.linspace(0, height, 24)
        cv2.polylines(relief, [steps.astype(np.int32)], False, -0.3, 1)
    return tint(color, relief)


def paving(random: np.random.Generator, height: int, width: int, color: Color, *, slab: tuple[int, int]) -> Pixels:
    """Paint a pavement (height, width, 3) of slabs (width, height in texels) with joints."""
    across, down = slab
    tones = random.uniform(-0.09, 0.09, (height // down + 1, width // across + 1)).astype(np.float32)
    slabs = cv2.resize(tones, None, fx=across, fy=down, interpolation=cv2.INTER_NEAREST)[:height, :width]
    grain = 0.06 * random.standard_normal((height, width), np.float32) + 0.1 * noise(
        random, height, width, 150, octaves=4
    )
    relief = (slabs + grain).astype(np.float32)
    relief[::down] -= 0.22
    relief[:, ::across] -= 0.22
    return tint(color, relief)


def tiles(random: np.random.Generator, color: Color) -> Texture:
    """Paint roof tiles, 8 m x 5 m."""
    relief = 0.10 * noise(random, 120, 192, 40, octaves=5) + 0.05 * random.standard_normal((120, 192), np.float32)
    relief[::6] -= 0.22
    relief[:, ::8] -= 0.06
    return Texture(tint(color, relief), meters=(8.0, 5.0))


def foliage(random: np.random.Generator, height: int, width: int, color: Color) -> Pixels:
    """Paint leaves (height, width, 3) with deep shadows between them."""
    relief = 0.55 * noise(random, height, width, 30, octaves=5) + 0.22 * random.standard_normal(
        (height, width), np.float32
    )
    relief += np.linspace(0.2, -0.3, height, dtype=np.float32)[:, None]
    leaves = tint(color, relief).astype(np.float32)
    leaves[..., 0] *= 1 + 0.2 * noise(random, height, width, 50, octaves=3)
    return np.clip(leaves, 0, 255).astype(np.uint8)
