"""A camera's calibration, fitted to the mask.

Source of fields: sensor_msgs/CameraInfo; of scaling: image_proc's resize, pixel centres at half-integers ignored as
it does.
"""

from __future__ import annotations

from copy import copy

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header


def fitted(info: CameraInfo, width: int, height: int, header: Header) -> CameraInfo:
    """Return the calibration of a (width, height) mask of the image that `info` describes.

    Args:
        info: Calibration as the camera publishes it; left unchanged.
        width: Mask's columns.
        height: Mask's rows.
        header: Stamp and frame of the image.
    """
    result = copy(info)
    result.header = header
    if (info.width, info.height) == (width, height) or info.width == 0 or info.height == 0:
        return result
    scale_x, scale_y = width / info.width, height / info.height
    result.width, result.height = width, height
    # A tuple: the setter takes any sequence of the right length, but array types differ between distributions.
    result.k = tuple(
        value * scale for value, scale in zip(info.k, (*[scale_x] * 3, *[scale_y] * 3, 1, 1, 1), strict=True)
    )
    result.p = tuple(
        value * scale for value, scale in zip(info.p, (*[scale_x] * 4, *[scale_y] * 4, 1, 1, 1, 1), strict=True)
    )
    return result
