"""The synthetic street: reproducible, moving, with every class, and not solvable by color alone."""

from __future__ import annotations

import numpy as np
import pytest

from erfnet_ros.core.array_types import VOID
from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import SourceError
from erfnet_ros.data.synthetic.layout import BUILDING, CAR, ROAD, SKY, upright
from erfnet_ros.data.synthetic.rasterizer import Camera, Canvas
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.data.synthetic.texture import Texture
from erfnet_ros.data.synthetic.vehicles import vehicle
from erfnet_ros.evaluation.metrics.confusion_matrix import confusion_matrix, mean_iou
from erfnet_ros.inference.parity_check import check_images

SIZE = (320, 240)


def canvas(haze_m: float = 1e9) -> Canvas:
    camera = Camera(size=(200, 100), focal=100, horizon=50, x=0, height=1.5, yaw=0, bend=0)
    return Canvas(
        camera,
        rgb=np.zeros((100, 200, 3), np.uint8),
        labels=np.full((100, 200), SKY, np.uint8),
        haze=(0, 0, 0),
        haze_m=haze_m,
    )


def plain(color: tuple[int, int, int]) -> Texture:
    return Texture(np.full((64, 64, 3), color, np.uint8))


def test_a_frame_is_the_same_in_any_order_and_in_another_street_object() -> None:
    street = Street(seed=5, size=SIZE)
    forwards = [street.frame(index) for index in (0, 40, 400)]
    again = Street(seed=5, size=SIZE)
    backwards = [again.frame(index) for index in (400, 40, 0)][::-1]
    for (rgb, labels), (rgb_again, labels_again) in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(rgb, rgb_again)
        np.testing.assert_array_equal(labels, labels_again)


@pytest.mark.parametrize("size", [(480, 360), (1280, 720), (333, 201), (16, 16)])
def test_frames_and_labels_have_the_asked_size_and_only_camvids_ids(size: tuple[int, int]) -> None:
    rgb, labels = Street(seed=1, size=size).frame(7)
    assert rgb.shape == (size[1], size[0], 3)
    assert labels.shape == (size[1], size[0])
    assert rgb.dtype == labels.dtype == np.uint8
    assert rgb.flags.c_contiguous
    assert labels.flags.c_contiguous
    assert set(np.unique(labels)) <= {*range(len(CAMVID)), VOID}


def test_the_same_view_has_the_same_classes_at_any_resolution() -> None:
    small = Street(seed=2, size=(240, 180)).frame(30)[1]
    large = Street(seed=2, size=(720, 540)).frame(30)[1]
    assert (large[1::3, 1::3] == small).mean() > 0.95


def test_all_classes_appear_in_nearly_every_drive() -> None:
    complete = 0
    for seed in range(5):
        street = Street(seed=seed, size=SIZE)
        counts = sum(np.bincount(street.frame(index)[1].ravel(), minlength=256) for index in range(0, 240, 20))
        complete += int((np.asarray(counts)[: len(CAMVID)] > 0).all())
    assert complete >= 4


def test_the_street_moves_but_slowly_enough_to_follow() -> None:
    street = Street(seed=3, size=SIZE)
    for index in (0, 100):
        (rgb, labels), (next_rgb, next_labels) = street.frame(index), street.frame(index + 1)
        assert (rgb != next_rgb).mean() > 0.3
        assert 0.75 < (labels == next_labels).mean() < 0.9999


def test_color_alone_does_not_tell_the_classes() -> None:
    means = np.zeros((len(CAMVID), 3))
    counts = np.zeros(len(CAMVID))
    for seed in (10, 11, 12):
        for rgb, labels in map(Street(seed=seed, size=SIZE).frame, (0, 60, 120)):
            for class_id in range(len(CAMVID)):
                means[class_id] += rgb[labels == class_id].sum(axis=0)
                counts[class_id] += (labels == class_id).sum()
    means /= np.maximum(counts, 1)[:, None]
    matrix = np.zeros((len(CAMVID), len(CAMVID) + 1), np.int64)
    for rgb, labels in map(Street(seed=13, size=SIZE).frame, (0, 60, 120)):
        distance = ((rgb[:, :, None].astype(np.float64) - means) ** 2).sum(axis=-1)
        matrix += confusion_matrix(labels, distance.argmin(axis=-1).astype(np.uint8), len(CAMVID))
    score = mean_iou(matrix)
    assert score is not None
    assert score < 0.5


def test_label_boundaries_lie_on_image_edges() -> None:
    def contrast(shift: int) -> float:
        steps = []
        for seed in (0, 4, 8):
            rgb, labels = Street(seed=seed, size=(480, 360)).frame(20)
            step = np.abs(np.diff(rgb.astype(np.float64).mean(axis=2), axis=1))
            boundary = np.roll(np.diff(labels.astype(np.int16), axis=1) != 0, shift, axis=1)
            steps.append(step[boundary].mean())
        return float(np.mean(steps))

    there = contrast(0)
    assert there > 1.5 * max(contrast(-4), contrast(4))


def test_a_panel_is_labeled_where_the_pinhole_camera_sees_it() -> None:
    picture = canvas()
    # At 10 m and a focal length of 100 pixels a meter is 10 pixels; the eye is 1.5 m up, at row 50.
    picture.panel(picture.camera.view(upright(0, 10, 2, low=0, high=2)), plain((200, 100, 50)), BUILDING)
    expected = np.full((100, 200), SKY, np.uint8)
    expected[45:65, 90:110] = BUILDING
    np.testing.assert_array_equal(picture.labels, expected)
    np.testing.assert_array_equal(picture.rgb[46:64, 91:109], np.full((18, 18, 3), (200, 100, 50), np.uint8))
    assert not picture.rgb[:43].any()
    assert not picture.rgb[:, :88].any()


def test_a_cut_out_is_painted_by_its_alpha_and_labeled_by_its_cover() -> None:
    picture = canvas()
    alpha, cover = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    alpha[:, :16], cover[:, :32] = 255, 255
    fence = Texture(np.full((64, 64, 3), 250, np.uint8), alpha, cover)
    picture.panel(picture.camera.view(upright(0, 10, 8, low=0, high=3)), fence, BUILDING)
    assert picture.rgb[55, 62:78].min() > 240
    assert picture.rgb[55, 82:].max() == 0
    assert (picture.labels[55, 62:98] == BUILDING).all()
    assert (picture.labels[55, 102:] == SKY).all()


def test_a_panel_that_reaches_behind_the_camera_is_cut_there() -> None:
    picture = canvas()
    wall = np.array([(-2.0, 9, -5), (-2, 9, 20), (-2, 0, 20), (-2, 0, -5)])
    picture.panel(picture.camera.view(wall), plain((9, 9, 9)), BUILDING)
    assert (picture.labels[30:60, :80] == BUILDING).all()
    assert (picture.labels[:, 100:] == SKY).all()


def test_what_is_behind_the_camera_is_not_painted() -> None:
    picture = canvas()
    picture.panel(picture.camera.view(upright(0, -10, 2, low=0, high=2)), plain((9, 9, 9)), BUILDING)
    picture.mesh(vehicle(np.random.default_rng(0)), (0, -10), 0, CAR)
    assert (picture.labels == SKY).all()


def test_a_car_stands_on_the_road_at_its_distance() -> None:
    picture = canvas()
    picture.mesh(vehicle(np.random.default_rng(1), bus_share=0), (0, 12), 0, CAR)
    rows, columns = np.nonzero(picture.labels == CAR)
    # Its rear, about 2 m nearer than its middle, stands on the ground: 1.5 m below the eye at 10 m.
    assert abs(int(rows.max()) - 65) <= 2
    assert abs(columns.mean() - 100) < 1.5
    assert 14 <= np.ptp(columns) <= 24


def test_the_ground_is_where_the_pinhole_camera_sees_it() -> None:
    x, z = canvas().camera.ground(first_row=60)
    # The middle of row 60 is 10.5 pixels below the horizon: 1.5 m * 100 / 10.5.
    assert z[0, 100] == pytest.approx(1.5 * 100 / 10.5)
    assert x[0, 100] == pytest.approx(0.5 / 100 * z[0, 100])


def test_road_lies_below_the_horizon_and_sky_above() -> None:
    for seed in range(3):
        labels = Street(seed=seed, size=SIZE).frame(0)[1]
        assert not (labels[: SIZE[1] * 2 // 5] == ROAD).any()
        assert not (labels[SIZE[1] * 2 // 3 :] == SKY).any()


@pytest.mark.parametrize(
    ("seed", "size", "index", "message"),
    [
        (-1, SIZE, 0, "seed of 0 or more for the synthetic street, got -1"),
        (0, (15, 240), 0, "at least 16 x 16 pixels, got 15 x 240"),
        (0, SIZE, -3, "frame index of 0 or more, got -3"),
    ],
)
def test_bad_input_is_refused_with_its_value(seed: int, size: tuple[int, int], index: int, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        Street(seed=seed, size=size).frame(index)


def test_the_streets_that_are_kept_are_those_that_are_drawn() -> None:
    """Engines are held against PyTorch on them at every start: pictures of something else would tell less."""
    street = Street(1, (160, 120))
    drawn = np.stack([street.frame(index)[0] for index in (0, 40)])
    # Another version of OpenCV may round otherwise.
    assert np.abs(check_images().astype(int) - drawn).mean() < 1


def test_depth_puts_the_road_on_the_ground_and_other_things_where_they_are() -> None:
    """The ground truth of point clouds: with the depth, each pixel is where the street says that it is."""
    for seed in (0, 3):
        street = Street(seed, (160, 120))
        rgb, labels = street.frame(20)
        depth, (_, fy, _, cy) = street.depth(20)
        np.testing.assert_array_equal(street.frame(20)[0], rgb)
        down = (np.arange(120)[:, None] - cy) / fy * depth
        road = labels == ROAD
        assert np.ptp(down[road]) < 0.01
        assert 1.25 <= down[road].mean() <= 1.65
        assert np.isnan(depth[(labels == SKY) | (labels == VOID)]).all()
        seen = np.isfinite(depth)
        assert seen.mean() > 0.5
        assert depth[seen].min() > 0.5
        # The trees at the end of the street reach 1 m below its ground.
        assert down[seen].max() < down[road].mean() + 1.01
