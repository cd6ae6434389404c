"""Array types that every layer shares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

VOID = 255
"""Id of a pixel without a class, in every label array inside this package."""

Pixels = npt.NDArray[np.uint8]
ConfusionMatrix = npt.NDArray[np.int64]
