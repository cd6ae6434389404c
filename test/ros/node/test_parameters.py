"""A parameter out of range is refused with its name, its value and what would be right."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.ros.node.parameters import ANY_TIME, BY_NAME, PARAMETERS, Settings


def test_every_default_is_accepted_by_its_own_row() -> None:
    for parameter in PARAMETERS:
        assert parameter.check(parameter.default) == parameter.default
        assert parameter.description.endswith(".")


def test_the_settings_are_the_parameters_that_may_change_at_any_time() -> None:
    assert [field.name for field in fields(Settings)] == [p.name for p in PARAMETERS if p.may_change == ANY_TIME]


def test_a_whole_number_passes_for_a_double() -> None:
    assert BY_NAME["overlay_alpha"].check(1) == 1.0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("overlay_alpha", math.nan, r"'overlay_alpha': expected a number from 0.0 to 1.0, got nan"),
        ("overlay_alpha", 1.5, "got 1.5"),
        ("overlay_alpha", True, "got True"),
        ("jpeg_quality", 0, "'jpeg_quality': expected a whole number from 1 to 100, got 0"),
        ("jpeg_quality", 80.0, "got 80.0"),
        ("jpeg_quality", True, "got True"),
        ("max_rate", math.inf, "got inf"),
        ("max_rate", -1, "got -1"),
        ("confidence_threshold", "high", "got 'high'"),
        ("engine", "caffe", "'engine': expected one of auto, .*pytorch.*, got 'caffe'"),
        ("engine", 3, "expected one of auto, .*pytorch.*, got 3"),
        ("checkpoint", 3, "expected a string, got 3"),
        ("input_size", "0", "got '0'"),
        ("input_size", "0x0", "0x0"),
        ("image_transport", "theora", "expected one of raw, compressed, got 'theora'"),
        ("autostart", "yes", "expected true or false, got 'yes'"),
    ],
)
def test_a_bad_value_is_refused_with_name_value_and_remedy(name: str, value: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        BY_NAME[name].check(value)
