"""Random views of a labelled frame: scale, shift, mirror and light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from erfnet_ros.metrics import VOID

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Augmentation:
    """How far a view may differ from its frame.

    Attributes:
        crop: (width, height) of every view, pixels.
        scale: Smallest and largest magnification; drawn log-uniformly.
        rare_share: Share of the views that are centred on a pixel of one of the frame's rarer classes, 0..1.
        light: Largest relative change of brightness, contrast and saturation, 0..1.
    """

    crop: tuple[int, int]
    scale: tuple[float, float]
    rare_share: float = 0.5
    light: float = 0.4

    def view(
        self, rgb: Pixels, labels: Pixels, rarity: npt.NDArray[np.float64], random: np.random.Generator
    ) -> tuple[Pixels, Pixels]:
        """Draw one view.

        Args:
            rgb: (H, W, 3) uint8.
            labels: (H, W) uint8 class ids; 255 is void.
            rarity: Per class, the odds of being the centre of a view, any positive scale.
            random: The only source of chance.

        Returns:
            The view (height, width, 3) and its labels (height, width), void where it reaches beyond the frame.
        """
        width, height = self.crop
        scale = float(np.exp(random.uniform(*np.log(self.scale))))
        stretch = float(np.exp(random.uniform(-0.1, 0.1)))
        scale_x, scale_y = scale * stretch, scale / stretch
        centre_x, centre_y = self._centre(labels, rarity, (width / scale_x, height / scale_y), random)
        mirror = -1.0 if random.random() < 0.5 else 1.0
        matrix = np.array(
            [
                [mirror * scale_x, 0, width / 2 - mirror * scale_x * centre_x],
                [0, scale_y, height / 2 - scale_y * centre_y],
            ]
        )
        if scale < 0.7:
            # A plain bilinear warp skips pixels when it shrinks this far, which looks like no camera's image.
            blur = 0.35 / scale
            rgb = cv2.GaussianBlur(rgb, (0, 0), blur).astype(np.uint8, copy=False)
        view = cv2.warpAffine(rgb, matrix, self.crop, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        truth = cv2.warpAffine(
            labels, matrix, self.crop, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=VOID
        )
        return self._relight(view.astype(np.uint8), random), truth.astype(np.uint8)

    def _centre(
        self,
        labels: Pixels,
        rarity: npt.NDArray[np.float64],
        extent: tuple[float, float],
        random: np.random.Generator,
    ) -> tuple[float, float]:
        """Draw the frame's pixel (x, y) that comes to the middle of the view; `extent` is the view in frame pixels."""
        frame_height, frame_width = labels.shape
        if random.random() < self.rare_share:
            present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256)[: len(rarity)])
            if len(present):
                odds = rarity[present] / rarity[present].sum()
                rows, columns = np.nonzero(labels == random.choice(present, p=odds))
                pick = random.integers(len(rows))
                wanted = (
                    columns[pick] + random.uniform(-0.4, 0.4) * extent[0],
                    rows[pick] + random.uniform(-0.4, 0.4) * extent[1],
                )
                return _inside(wanted[0], extent[0], frame_width), _inside(wanted[1], extent[1], frame_height)
        x = _inside(random.uniform(0, frame_width), extent[0], frame_width)
        y = _inside(random.uniform(0, frame_height), extent[1], frame_height)
        return x, y

    def _relight(self, rgb: Pixels, random: np.random.Generator) -> Pixels:
        brightness, contrast, saturation = 1 + random.uniform(-self.light, self.light, 3)
        gamma = float(np.exp(random.uniform(-self.light, self.light) / 2))
        ramp = (np.arange(256) / 255.0) ** gamma
        curve = ((ramp - 0.5) * contrast + 0.5) * brightness * 255
        rgb = cv2.LUT(rgb, np.clip(curve, 0, 255).astype(np.uint8)).astype(np.uint8)
        grey = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return cv2.addWeighted(rgb, saturation, grey, 1 - saturation, 0).astype(np.uint8)


def _inside(centre: float, extent: float, size: int) -> float:
    """Move a view's centre so that the view lies inside the frame, or covers it evenly where it is larger."""
    if extent >= size:
        return size / 2
    return float(np.clip(centre, extent / 2, size - extent / 2))
