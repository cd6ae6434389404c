"""Share of each class in an image, and its mean confidence."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import VOID, Pixels


@dataclass(frozen=True)
class ClassStatistics:
    """Figures of one image.

    Attributes:
        shares: Per class, share of the image's pixels, 0..1.
        mean_confidences: Per class, mean confidence of those pixels, 0..1; 0 where the class does not occur.
        void_share: Share of the pixels without a class, 0..1.
    """

    shares: npt.NDArray[np.float64]
    mean_confidences: npt.NDArray[np.float64]
    void_share: float


def class_statistics(labels: Pixels, confidence: Pixels, num_classes: int) -> ClassStatistics:
    """Count classes and average confidences.

    Args:
        labels: (H, W) uint8 class ids; 255 is void.
        confidence: (H, W) uint8; 0..255 is 0..1.
    """
    # One pass over both images; float32 counts are exact up to 16.7 million pixels, the most that an image may have.
    joint = cv2.calcHist([labels, confidence], [0, 1], None, [256, 256], [0, 256, 0, 256]).astype(np.float64)
    counts = joint.sum(axis=1)
    sums = joint @ (np.arange(256) / 255)
    classes = slice(num_classes)
    means = np.divide(sums[classes], counts[classes], out=np.zeros(num_classes), where=counts[classes] > 0)
    return ClassStatistics(counts[classes] / labels.size, means, float(counts[VOID] / labels.size))
