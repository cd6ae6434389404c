"""Scoring protocols: the size at which a frame is scored, which differs between papers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.data.frame_sources import Frame
from erfnet_ros.models.erfnet import STRIDE

PROTOCOLS = ("full", "paper")
"""full: at the ground truth's own size. paper: as the authors of ERFNet score, at a height of 512."""

_PAPER_HEIGHT = 512

Size = tuple[int, int]


@dataclass(frozen=True)
class Protocol:
    """Sizes as (width, height), pixels.

    Attributes:
        scored_size: The size that every frame is scored at; None: each at its own.
        input_size: The size that the network sees; None: it follows image and training, as on the robot.
    """

    name: str
    scored_size: Size | None
    input_size: Size | None

    def __call__(self, frame: Frame) -> Frame:
        """Return a frame as it is scored: the image averaged, the ground truth picked by the nearest neighbor."""
        if self.scored_size is None:
            return frame
        size = (frame.rgb.shape[1], frame.rgb.shape[0])
        if paper_size(size) != self.scored_size:
            raise ParameterError(
                "Expected frames of one size to score by the paper's protocol, got "
                f"{size[0]}x{size[1]} in '{frame.name}', which does not fit {self.scored_size[0]}x"
                f"{self.scored_size[1]}; take --protocol full."
            )
        if size == self.scored_size:
            return frame
        rgb = cv2.resize(frame.rgb, self.scored_size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        if frame.ground_truth is None:
            return replace(frame, rgb=rgb)
        # INTER_NEAREST would pick the upper left of each block; the authors' Pillow picks its middle.
        ground_truth = cv2.resize(frame.ground_truth, self.scored_size, interpolation=cv2.INTER_NEAREST_EXACT)
        return replace(frame, rgb=rgb, ground_truth=ground_truth.astype(np.uint8, copy=False))


def open_protocol(name: str, first: Frame, input_size: Size | None) -> Protocol:
    """Return the protocol of a name.

    Args:
        first: A frame of the data set; the paper's protocol takes its sizes from it.
        input_size: The network's input as the user asked for it; None leaves it to the protocol.
    """
    if name not in PROTOCOLS:
        raise ParameterError(f"Expected a protocol of {', '.join(PROTOCOLS)}, got '{name}'.")
    if name == "full":
        return Protocol(name, None, input_size)
    scored = paper_size((first.rgb.shape[1], first.rgb.shape[0]))
    width, height = (max(STRIDE, round(side / STRIDE) * STRIDE) for side in scored)
    return Protocol(name, scored, input_size or (width, height))


def paper_size(size: Size) -> Size:
    """Return the size at which the authors score an image: 512 high at its aspect ratio; smaller ones are not enlarged.

    Source: github.com/Eromera/erfnet_pytorch, eval/eval_iou.py: images and labels resized to a height of 512, which for
    Cityscapes is 1024 x 512.
    """
    width, height = size
    return size if height <= _PAPER_HEIGHT else (max(1, int(_PAPER_HEIGHT * width / height)), _PAPER_HEIGHT)
