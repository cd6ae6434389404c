"""What a user types for several cameras becomes topics, or is refused with the reason."""

from __future__ import annotations

import pytest

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.ros.node.parameters import (
    BY_NAME,
    check_camera_names,
    from_text,
    image_remappings,
    image_topics,
    split_list,
)


@pytest.mark.parametrize("names", [[], ["front"], ["front", "rear_2", "_hidden"]])
def test_names_that_fit_into_topics_are_accepted(names: list[str]) -> None:
    check_camera_names(names)
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


def test_one_topic_with_a_placeholder_serves_all_cameras() -> None:
    assert image_topics(["front", "rear"], "/{camera}/image_raw") == ("/front/image_raw", "/rear/image_raw")


def test_a_list_gives_each_camera_its_topic() -> None:
    assert image_topics(["front", "rear"], "[/front/rgb, /back/image]") == ("/front/rgb", "/back/image")
    assert image_topics(["front"], "/camera/image_raw") == ("/camera/image_raw",)


def test_without_an_image_argument_the_topics_stay_in_the_namespace() -> None:
    assert image_topics([], "image") == ("image",)
    assert image_topics(["front", "rear"], "image") == ("front/image", "rear/image")


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
