"""Thresholds of --require: comparisons, units, verdicts and refused requirements."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.evaluation_samples import live_result

from erfnet_ros.core.class_set import CITYSCAPES
from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.evaluation.results.result import OFFLINE, Result
from erfnet_ros.evaluation.thresholds import STATISTICS, check, check_classes, parse

LIVE_RESULT = live_result()


def verdict(requirement: str, result: Result = LIVE_RESULT) -> tuple[bool, str]:
    (found,) = check(parse(requirement), result)
    return found.passed, found.text


def test_the_example_of_the_documentation_is_read() -> None:
    found = parse("miou>=0.60 latency_p99<=0.100 dropped<=0.02")
    assert [(entry.name, entry.comparison, entry.bound) for entry in found] == [
        ("miou", ">=", 0.6),
        ("latency_p99", "<=", 0.1),
        ("dropped", "<=", 0.02),
    ]


def test_blanks_commas_and_newlines_separate_requirements() -> None:
    assert parse(" miou >= 0.6,dropped<=0.02,\n fps>10 ") == parse("miou>=0.6 dropped<=0.02 fps>10")


@pytest.mark.parametrize(
    ("requirement", "passed"),
    [
        ("latency_p99<=0.090", True),
        ("latency_p99<0.090", False),
        ("latency_p99>=0.09", True),
        ("latency_p99>0.09", False),
        ("latency_p99==0.09", True),
        ("latency_p99<=90", True),
        ("latency_p50<=0.0399", False),
        ("jitter<=0.005", True),
        ("dropped<=0.25", True),
        ("dropped<0.25", False),
        ("rejected==.25", True),
        ("fps>=9.5", True),
        ("temporal_consistency<=2.5e-1", True),
        ("memory_mb<=699", False),
        ("unmatched_images==3", True),
        ("inference_max<=0.033", True),
        ("streaming_miou==0", True),
        ("iou.sky>=0.87", True),
        ("iou.sky>=0.88", False),
    ],
)
def test_figures_are_compared_in_shares_and_seconds(requirement: str, passed: bool) -> None:
    assert verdict(requirement)[0] is passed


def test_every_figure_is_what_the_run_measured_in_shares_and_seconds() -> None:
    """Bounds from one side let a figure pass that is off by a factor."""
    measured = {name: value for name, value_of in STATISTICS.items() if (value := value_of(LIVE_RESULT)) is not None}
    miou = (7 / 8 + 8 / 9) / 2
    scores = ("miou", "miou_with_false_classes", "frequency_weighted_iou", "category_miou")
    latency = {"p50": 0.04, "p90": 0.06, "p99": 0.09, "max": 0.1, "mean": 0.045}
    inference = {"p50": 0.03, "p90": 0.031, "p99": 0.032, "max": 0.033, "mean": 0.0305}
    expected = {
        **dict.fromkeys(scores, miou),
        "streaming_miou": 0,
        "pixel_accuracy": 15 / 16,
        "calibration_error": 15 / 16 - 200 / 255,
        "temporal_consistency": 0.25,
        "fps": 9.5,
        **{f"latency_{part}": seconds for part, seconds in latency.items()},
        **{f"inference_{part}": seconds for part, seconds in inference.items()},
        **{"jitter": 0.005, "dropped": 0.25, "rejected": 0.25, "images": 4, "answered": 2, "scored": 1},
        **{"unmatched_ground_truths": 0, "unmatched_images": 3, "refused_ground_truths": 0},
        **{"cpu_percent": 150, "memory_mb": 700},
    }
    assert measured == pytest.approx(expected)


def test_a_verdict_names_figure_bound_and_value() -> None:
    assert verdict("latency_max<=0.05") == (False, "latency_max<=0.05: failed, got 0.1")
    assert verdict("latency_max<=0.1") == (True, "latency_max<=0.1: passed, got 0.1")


def test_a_value_is_never_rounded_past_its_bound() -> None:
    """'dropped<=0.3333: failed, got 0.3333' would make a riddle."""
    third = replace(LIVE_RESULT, frames=replace(LIVE_RESULT.frames, images=3))
    assert verdict("dropped<=0.3333", third) == (False, "dropped<=0.3333: failed, got 0.3333333333333333")


OFFLINE_RESULT = replace(LIVE_RESULT, mode=OFFLINE, latency_ms=None, jitter_ms=None, streaming_score=None)
BLIND_RESULT = replace(LIVE_RESULT, score=None)


@pytest.mark.parametrize(
    ("result", "names", "reason"),
    [
        (OFFLINE_RESULT, ("latency_p99", "jitter", "dropped", "streaming_miou"), "in offline mode; run with --live"),
        (BLIND_RESULT, ("miou", "iou.road", "pixel_accuracy"), "scored without ground truth; name it with --ground-tr"),
        (LIVE_RESULT, ("iou.car",), "the class has no ground truth in the bags; leave it out"),
        (LIVE_RESULT, ("gpu_percent",), "this run did not measure it; leave it"),
    ],
    ids=["offline", "no ground truth", "absent class", "no GPU"],
)
def test_what_was_not_measured_fails_with_the_reason(result: Result, names: tuple[str, ...], reason: str) -> None:
    """A threshold on latency that passes because nothing was measured is worse than none."""
    for name in names:
        passed, text = verdict(f"{name}>=0", result)
        assert not passed
        assert text.startswith(f"{name}>=0: failed, ")
        assert reason in text


def test_an_unknown_figure_is_refused_with_the_known_ones() -> None:
    with pytest.raises(EvaluationError, match=r"a figure out of miou, streaming_miou.* or iou.CLASS .* got 'mIoU'"):
        parse("mIoU>=0.6")


def test_an_unknown_class_is_refused_with_the_known_ones() -> None:
    with pytest.raises(EvaluationError, match=r"class of 'camvid' .*iou.sky, iou.building.* got 'iou.truck'"):
        check(parse("iou.truck>=0.6"), LIVE_RESULT)


def test_blanks_in_class_names_are_written_as_underscores() -> None:
    check_classes(parse("iou.traffic_light>=0.6"), CITYSCAPES)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "got nothing"),
        (" , ", "got nothing"),
        ("miou", "got 'miou'"),
        ("miou>=", "got 'miou>='"),
        ("miou=0.6", "got 'miou=0.6'"),
        ("miou=>0.6", "got 'miou=>0.6'"),
        ("miou>=0.6dropped<=1", "got 'miou>=0.6dropped<=1'"),
        (">=0.6", "got '>=0.6'"),
        ("miou>=60%", "shares from 0 to 1.*got '60%'"),
        ("latency_p99<=100ms", "durations in seconds.*got '100ms'"),
        ("miou>=nan", "got 'nan'"),
        ("miou>=inf", "got 'inf'"),
        ("miou>=0.6 dropped", "got 'dropped'"),
        ("iou.>=0.6", "got 'iou.'"),
    ],
)
def test_what_does_not_follow_the_grammar_is_refused(text: str, problem: str) -> None:
    with pytest.raises(EvaluationError, match=problem):
        parse(text)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(STATISTICS)),
            st.sampled_from([">=", "<=", ">", "<", "=="]),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_written_is_what_is_read(entries: list[tuple[str, str, float]]) -> None:
    found = parse(" ".join(f"{name}{comparison}{bound!r}" for name, comparison, bound in entries))
    assert [(entry.name, entry.comparison, entry.bound) for entry in found] == entries


@given(st.text(alphabet="miou dropped<>=.,0123456789e+-_", max_size=30))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        found = parse(text)
    except EvaluationError:
        return
    assert found
    check(found, LIVE_RESULT)


@given(st.floats(0, 1), st.sampled_from([">=", "<=", ">", "<", "=="]))
def test_a_requirement_and_its_opposite_never_hold_both(bound: float, comparison: str) -> None:
    opposite = {">=": "<", "<=": ">", ">": "<=", "<": ">="}.get(comparison)
    if opposite is None:
        return
    assert verdict(f"dropped{comparison}{bound!r}")[0] is not verdict(f"dropped{opposite}{bound!r}")[0]
