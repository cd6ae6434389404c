"""The table of the projector's parameters; importable without rclpy, so that launch files can read it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import ParameterError
from erfnet_ros.data.point_cloud import PointFilter
from erfnet_ros.ros.node.parameters import ANY_TIME, AT_START, Parameter

PROJECTOR_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "checkpoint",
        "string",
        "",
        "The segmenter's weights, for the class names in kept_classes; empty means the shipped CamVid weights.",
        may_change=AT_START,
    ),
    Parameter(
        "point_color",
        "string",
        "image",
        "Topic of the points' colors: image is the raw camera image, the others are the segmenter's.",
        choices=("image", "overlay", "color_mask"),
        may_change=AT_START,
    ),
    Parameter(
        "depth_tolerance",
        "double",
        0.02,
        "Largest time between the stamps of mask and depth, seconds; the nearest depth is taken; 0 means equal stamps.",
        minimum=0.0,
        maximum=1.0,
        may_change=ANY_TIME,
    ),
    Parameter(
        "require_same_frame",
        "bool",
        True,
        "Refuse a depth image whose frame_id is not that of the camera image; false where one frame has two names.",
        may_change=ANY_TIME,
    ),
    Parameter(
        "stride",
        "integer",
        1,
        "Keep every Nth row and column of the cloud; 1 for Nav2, which needs a point for each pixel.",
        minimum=1,
        maximum=64,
        may_change=ANY_TIME,
    ),
    Parameter(
        "min_range",
        "double",
        0.0,
        "Points nearer to the sensor than this become NaN, meters.",
        minimum=0.0,
        maximum=1000.0,
        may_change=ANY_TIME,
    ),
    Parameter(
        "max_range",
        "double",
        0.0,
        "Points farther from the sensor than this become NaN, meters; 0 means no limit.",
        minimum=0.0,
        maximum=1000.0,
        may_change=ANY_TIME,
    ),
    Parameter(
        "kept_classes",
        "string_array",
        (),
        "Names of the classes whose points are kept; others and void become NaN; empty means all.",
        may_change=ANY_TIME,
    ),
)

PROJECTOR_BY_NAME = {parameter.name: parameter for parameter in PROJECTOR_PARAMETERS}


def point_filter(values: Mapping[str, Any], class_set: ClassSet) -> PointFilter:
    """Return the filter that the values of stride, min_range, max_range and kept_classes describe.

    Raises:
        ParameterError: A class name is unknown, or no distance is in the range.
    """
    names = values["kept_classes"]
    unknown = [name for name in names if name not in class_set.names]
    if unknown:
        raise ParameterError(
            f"Parameter 'kept_classes': expected names out of {', '.join(class_set.names)}, got '{unknown[0]}'."
        )
    near, far = values["min_range"], values["max_range"] or math.inf
    if near >= far:
        raise ParameterError(f"Parameter 'max_range': expected more than min_range ({near} m) or 0, got {far} m.")
    labels = np.isin(np.arange(256), [class_set.names.index(name) for name in names]) if names else None
    return PointFilter(values["stride"], near, far, labels)
