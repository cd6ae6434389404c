"""Parameters and launch arguments: types, ranges, and refusals with name, value and remedy."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.ros.node.launch_arguments import (
    from_text,
    image_remappings,
    image_topics,
    misspelled_arguments,
    split_list,
)
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


@pytest.mark.parametrize("names", [[], ["front"], ["front", "rear_2", "_hidden"]])
def test_names_that_fit_into_topics_are_accepted(names: list[str]) -> None:
    assert BY_NAME["cameras"].check(names) == tuple(names)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([""], "do not begin with a digit, got ''"),
        (["front", "rear left"], "got 'rear left'"),
        (["7up"], "got '7up'"),
        (["front/left"], "got 'front/left'"),
        (["/front"], "got '/front'"),
        (["a" * 65], "1 to 64 letters"),
        (["front", "rear", "front"], "each name once, got 'front' 2 times in front, rear, front"),
    ],
)
def test_names_that_cannot_be_topics_are_refused_with_the_value(names: list[str], message: str) -> None:
    with pytest.raises(ParameterError, match=message) as refusal:
        BY_NAME["cameras"].check(names)
    assert "'cameras'" in str(refusal.value)


@pytest.mark.parametrize("value", ["front", 3, [1, 2], ["front", 3]])
def test_anything_but_a_list_of_strings_is_refused(value: object) -> None:
    with pytest.raises(ParameterError, match="Parameter 'cameras': expected a list of strings, got"):
        BY_NAME["cameras"].check(value)


def test_an_empty_list_without_a_type_means_one_unnamed_camera() -> None:
    """ROS hands `cameras: []` of a parameter file on without a value."""
    assert BY_NAME["cameras"].check(None) == ()


@pytest.mark.parametrize("text", ["[front, rear]", "front,rear", "['front', \"rear\"]", " [ front , rear ] "])
def test_a_launch_argument_may_be_written_as_people_write_lists(text: str) -> None:
    assert from_text(BY_NAME["cameras"], text) == ("front", "rear")


@pytest.mark.parametrize("text", ["", "[]", " "])
def test_nothing_between_the_brackets_is_no_name(text: str) -> None:
    assert split_list(text) == ()


@pytest.mark.parametrize(
    ("cameras", "image", "topics"),
    [
        (["front", "rear"], "/{camera}/image_raw", ("/front/image_raw", "/rear/image_raw")),
        (["front", "rear"], "[/front/rgb, /back/image]", ("/front/rgb", "/back/image")),
        (["front"], "/camera/image_raw", ("/camera/image_raw",)),
        ([], "image", ("image",)),
        (["front", "rear"], "image", ("front/image", "rear/image")),
    ],
)
def test_an_image_argument_gives_each_camera_its_topic(cameras: list[str], image: str, topics: tuple[str, ...]) -> None:
    assert image_topics(cameras, image) == topics


def test_a_misspelled_launch_argument_is_named_with_the_nearest() -> None:
    known = ["image", "image_transport", "max_rate", "namespace"]
    assert misspelled_arguments(["image", "imgae", "map"], known) == [
        "Launch argument 'imgae' is ignored: there is none of that name; did you mean 'image'?"
    ]


@pytest.mark.parametrize(
    ("cameras", "image", "message"),
    [
        (["front", "rear"], "/camera/image_raw", "a list of 2 topics for front, rear, got '/camera/image_raw'"),
        (["front", "rear"], "[/a, /b, /c]", "a list of 2 topics for front, rear"),
        ([], "/{camera}/image_raw", "expected one topic, got '/{camera}/image_raw'.*cameras:="),
        ([], "[/a, /b]", "give their names as well"),
    ],
)
def test_an_image_argument_that_does_not_say_whose_is_refused(cameras: list[str], image: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        image_topics(cameras, image)


def test_raw_and_compressed_images_are_remapped_together() -> None:
    assert image_remappings([], ["/camera/rgb"]) == [
        ("image", "/camera/rgb"),
        ("image/compressed", "/camera/rgb/compressed"),
    ]
    assert image_remappings(["front"], ["/front/rgb"]) == [
        ("front/image", "/front/rgb"),
        ("front/image/compressed", "/front/rgb/compressed"),
    ]
