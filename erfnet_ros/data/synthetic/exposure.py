"""Weather and exposure: sky, haze, shadows, color cast, blur and noise."""

from __future__ import annotations

import cv2
import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.data.synthetic.texture import Color, sky

_NOISE_MARGIN = 64
_SKIES: tuple[tuple[Color, Color, Color], ...] = (
    ((246, 250, 252), (252, 252, 250), (255, 255, 255)),
    ((120, 168, 220), (206, 226, 240), (246, 246, 246)),
    ((160, 200, 236), (236, 244, 250), (252, 252, 252)),
    ((176, 182, 188), (222, 224, 224), (160, 164, 168)),
    ((140, 150, 158), (214, 208, 192), (118, 122, 126)),
)


class Weather:
    """Sky, haze and the depth of shadows."""

    def __init__(self, random: np.random.Generator, sunny: bool):
        kinds = (0.35, 0.3, 0.35, 0.0, 0.0) if sunny else (0.5, 0.05, 0.1, 0.2, 0.15)
        zenith, horizon, cloud = _SKIES[random.choice(5, p=kinds)]
        self._sky = sky(random, zenith=zenith, horizon=horizon, cloud=cloud, cloudiness=float(random.uniform(0.1, 0.9)))
        self._drift = float(random.uniform(0, 4))
        self.haze: Color = horizon
        self.haze_m = float(np.exp(random.uniform(np.log(220), np.log(1500))))
        self.shadow = float(random.uniform(0.35, 0.6)) if sunny else float(random.uniform(0.1, 0.25))

    def backdrop(self, size: tuple[int, int], *, horizon: float, focal: float, yaw: float, time_s: float) -> Pixels:
        """Return a picture (H, W, 3) with the sky down to the horizon and the haze's color below."""
        width, height = size
        rgb = np.empty((height, width, 3), np.uint8)
        rgb[:] = self.haze
        rows = int(np.ceil(horizon)) + 1
        across = 1024 / (4 * focal)
        down = 256 / (0.6 * focal)
        # The sky is mirrored at its sides, so that it has no seam: it repeats after there and back.
        shift = np.mod(self._drift * time_s + yaw * focal * across, 2 * 1023)
        to_sky = np.array([[across, 0, shift], [0, down, 255 - down * horizon]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        rgb[:rows] = cv2.warpAffine(self._sky, to_sky, (width, rows), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        return rgb


class Exposure:
    """A camera's response, which drifts over time, with its blur and noise."""

    def __init__(self, seed: int, size: tuple[int, int]):
        random = np.random.default_rng([seed, 4])
        self._size, self._seed = size, seed
        self._gain = float(np.exp(random.uniform(np.log(0.6), np.log(1.25))))
        self._gamma = float(np.exp(random.uniform(np.log(1.0), np.log(1.9))))
        self._cast = random.normal(0, 0.03, 3)
        self._waves = random.uniform(0, 2 * np.pi, 3)
        self._blur = float(random.uniform(0.3, 0.75))
        strength = float(random.uniform(1.5, 6))
        shape = (size[1] + _NOISE_MARGIN, size[0] + _NOISE_MARGIN, 3)
        grain = random.standard_normal(shape, np.float32) * strength + 128
        self._noise = np.clip(grain, 0, 255).astype(np.uint8)

    def develop(self, rgb: Pixels, index: int, time_s: float) -> Pixels:
        """Return the picture (H, W, 3) as the camera gives it."""
        light, warmth, tint = np.sin(np.array([0.5, 0.21, 0.13]) * time_s + self._waves)
        gains = (
            self._gain * (1 + 0.12 * light) * (1 + self._cast + np.array([0.03 * warmth, 0.015 * tint, -0.03 * warmth]))
        )
        ramp = np.arange(256)[:, None] / 255
        table = np.clip(255 * gains * ramp**self._gamma * (1.25 - 0.25 * ramp), 0, 255).astype(np.uint8)
        seen = cv2.LUT(cv2.GaussianBlur(rgb, (3, 3), self._blur), table[:, None, :])
        width, height = self._size
        left, top = np.random.default_rng([self._seed, 3, index]).integers(0, _NOISE_MARGIN, 2)
        grain = self._noise[top : top + height, left : left + width]
        return cv2.addWeighted(seen, 1, grain, 1, -128).astype(np.uint8, copy=False)
