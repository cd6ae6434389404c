"""Random crops: image and labels stay aligned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from erfnet_ros.core.array_types import VOID
from erfnet_ros.training.config.recipe import Phase
from erfnet_ros.training.data import augmentation
from erfnet_ros.training.data.augmentation import (
    SAMPLES_PER_CLASS,
    ClassPixelSamples,
    Crop,
    CropBatch,
    draw_crop,
    sample_class_pixels,
    warp,
)
from erfnet_ros.training.data.pixel_augmentation import apply_color_jitter

SIZE = (64, 48)
NO_JITTER = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0)
WILD_CROP = (40, 32)
WILD_PLACE = Phase(steps=1, crop=WILD_CROP, scale=(0.3, 3.0), aspect_jitter=0.3, shift=4, rare_class_fraction=0.5)
WILD = replace(WILD_PLACE, color_jitter=0.5, tint=0.3, blur=2.0, noise=0.1)


def colored_frame(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an image (1, 48, 64, 3) whose color says the class, in areas of 16 pixels, and its labels (1, 48, 64)."""
    ids = np.random.default_rng(seed).integers(0, 5, (3, 4)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    return torch.from_numpy(np.stack([ids * 50] * 3, -1))[None], torch.from_numpy(ids)[None]


def view(scale: float = 1.0, center: tuple[float, float] = (32, 24), horizontal_flip: bool = False) -> Crop:
    return Crop((-scale if horizontal_flip else scale, scale), center, NO_JITTER)


def draw(phase: Phase, samples: ClassPixelSamples | None, random: np.random.Generator) -> Crop:
    """Draw a crop of a frame whose classes are all looked for alike."""
    return draw_crop(phase, SIZE, samples=samples, weights=np.ones(8), random=random)


def cut(
    images: torch.Tensor, labels: torch.Tensor, crops: list[Crop], crop: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut crops that a phase of any scale may have drawn."""
    phase = Phase(steps=1, crop=crop, scale=(0.25, 4.0), aspect_jitter=0.5)
    return warp(images, labels, crops=CropBatch.of(crops, range(len(crops)), images.device), phase=phase)


@pytest.mark.parametrize("flip", [False, True])
def test_the_whole_frame_in_the_middle_is_the_frame_itself_or_its_mirror_image(flip: bool) -> None:
    images, labels = colored_frame()
    view_images, view_labels = cut(images, labels, [view(horizontal_flip=flip)], SIZE)
    assert torch.equal(view_images.permute(0, 2, 3, 1), images.flip(2) if flip else images)
    assert torch.equal(view_labels, labels.flip(2) if flip else labels)


def test_a_shift_by_whole_pixels_moves_them_unmixed_and_leaves_void_behind() -> None:
    images, labels = colored_frame()
    view_images, view_labels = cut(images, labels, [view(center=(34, 23))], SIZE)
    assert torch.equal(view_labels[0, 1:, :-2], labels[0, :-1, 2:])
    assert torch.equal(view_images[0, :, 1:, :-2].permute(1, 2, 0), images[0, :-1, 2:])
    assert (view_labels[0, 0] == VOID).all()
    assert (view_labels[0, :, -2:] == VOID).all()


@pytest.mark.parametrize("scale", [0.25, 0.5, 0.6, 0.7, 1.3, 2.0])
@pytest.mark.parametrize("axis", [0, 1])
def test_image_and_labels_stay_aligned_at_every_scale(scale: float, axis: int) -> None:
    """A shift of a pixel between them costs thin classes most of their IoU."""
    ramp = torch.from_numpy((3 * np.indices((48, 64))[axis]).astype(np.uint8))[None]
    crop = (round(SIZE[0] * scale), round(SIZE[1] * scale))
    view_images, view_labels = cut(ramp[..., None].expand(-1, -1, -1, 3), ramp, [view(scale)], crop)
    differences = view_images[:, 0].float() - view_labels.float()
    # The ramp rises by 3 a pixel; the nearest pixel is half a pixel away at most, and half a gray level is rounding.
    assert float(differences.mean().abs()) <= 2
    assert float(differences.abs().max()) <= 3


def test_a_small_view_averages_pixels_instead_of_skipping_them() -> None:
    """A camera's sensor does; a chessboard of single pixels must turn gray, not into a coarser chessboard."""
    board = torch.from_numpy((np.indices((48, 64)).sum(0) % 2 * 200).astype(np.uint8))
    images = board[None, :, :, None].expand(-1, -1, -1, 3)
    small, _ = cut(images, torch.zeros((1, 48, 64), dtype=torch.uint8), [view(0.4)], (25, 19))
    assert float((small.float() - 100).abs().max()) <= 1


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_whatever_is_drawn_labels_are_the_frames_or_void_and_pixels_in_range(seed: int) -> None:
    images, labels = colored_frame(seed)
    random = np.random.default_rng(seed)
    pixel_samples = sample_class_pixels(labels[0].numpy(), 5, random)
    drawn = draw(WILD, pixel_samples, random)
    view_images, view_labels = cut(images, labels, [drawn], (40, 32))
    assert view_images.shape == (1, 3, 32, 40)
    assert view_labels.shape == (1, 32, 40)
    assert set(view_labels.unique().tolist()) <= {*labels.unique().tolist(), VOID}
    lit = apply_color_jitter(view_images, torch.tensor([drawn.color_jitter]), WILD)
    assert bool(((lit >= 0) & (lit <= 1)).all())


def test_a_batch_is_what_its_views_are_one_by_one() -> None:
    """Frames in memory are cut in batches, frames on disk one by one; both must train the same network."""
    frames = [colored_frame(seed) for seed in range(4)]
    random = np.random.default_rng(0)
    crops = [draw(WILD, sample_class_pixels(labels[0].numpy(), 5, random), random) for _, labels in frames]
    images, labels = (torch.cat(parts) for parts in zip(*frames, strict=True))
    together = cut(images, labels, crops, WILD_CROP)
    for n, one in enumerate(crops):
        alone = cut(*frames[n], [one], WILD_CROP)
        assert torch.equal(together[0][n], alone[0][0])
        assert torch.equal(together[1][n], alone[1][0])


@pytest.mark.parametrize(
    ("scale", "aspect_jitter"),
    # Without aspect_jitter and at one scale the window leaves no room but its margin.
    [((0.25, 0.34), 0.2), ((0.4, 0.69), 0.2), ((0.7, 4), 0.2), ((0.263, 0.263), 0), ((0.517, 0.517), 0), ((1, 1), 0)],
)
def test_a_view_out_of_a_part_of_its_frame_is_the_view_out_of_the_whole(
    scale: tuple[float, float], aspect_jitter: float
) -> None:
    """A large frame is not read whole for a small view; at its borders, too, nothing may change."""
    rows, columns = np.indices((300, 400))
    image = torch.from_numpy(np.stack([rows * 0.8, columns * 0.6, (rows + columns) * 0.3], -1).astype(np.uint8))[None]
    labels = torch.from_numpy((rows // 9 + columns // 7).astype(np.uint8) % 200)[None]
    phase = Phase(steps=1, crop=(20, 16), scale=scale, aspect_jitter=aspect_jitter, shift=8)
    assert max(augmentation._window(phase, 4, (400, 300))) < 150
    random = np.random.default_rng(0)
    for _ in range(50):
        drawn = draw_crop(phase, (400, 300), samples=None, weights=np.ones(1), random=random)
        part = warp(image, labels, crops=CropBatch.of([drawn], [0], image.device), phase=phase)
        whole = cut(image, labels, [drawn], (20, 16))
        # Squares that begin elsewhere see the ramp's steps elsewhere; rounding may turn the nearest of two pixels.
        assert int((part[0].int() - whole[0].int()).abs().max()) <= 2
        assert int((part[1] != whole[1]).sum()) <= 2


def test_views_keep_their_numbers_and_know_which_shrink_alike() -> None:
    """They travel as one table, of which a frame's number and a scale must come back as they were."""
    drawn = [view(scale, horizontal_flip=scale < 0.5) for scale in (0.4, 1.0, 0.2, 0.6, 2.0)]
    crops = CropBatch.of(drawn, [7, 0, 2**31, 3, 3], torch.device("cpu"))
    assert [tuple(row) for row in crops.scale.tolist()] == [view.scale for view in drawn]
    assert [tuple(row) for row in crops.center.tolist()] == [view.center for view in drawn]
    assert crops.frames.tolist() == [7, 0, 2**31, 3, 3]
    assert crops.squares == ((1, 2), (2, 2), (4, 1))
    assert crops.order.tolist() == [1, 4, 0, 3, 2]


def test_rare_classes_are_looked_for() -> None:
    """A pole of one pixel in a frame of 3072 would hardly ever be seen by chance."""
    labels = np.zeros((48, 64), np.uint8)
    labels[10, 50] = 1
    image = torch.zeros((1, 48, 64, 3), dtype=torch.uint8)
    phase = Phase(steps=1, crop=(16, 16), rare_class_fraction=1.0)
    random = np.random.default_rng(0)
    pixel_samples = sample_class_pixels(labels, 2, random)
    crops = [
        draw_crop(phase, SIZE, samples=pixel_samples, weights=np.array([1e-9, 1.0]), random=random) for _ in range(20)
    ]
    crops = cut(image.expand(20, -1, -1, -1), torch.from_numpy(labels)[None].expand(20, -1, -1), crops, (16, 16))[1]
    assert all((crop == 1).any() for crop in crops)


def test_samples_are_pixels_of_their_class_and_an_absent_class_has_none() -> None:
    labels = colored_frame()[1][0].numpy().copy()
    labels[labels == 2] = 3
    labels[:5] = VOID
    pixel_samples = sample_class_pixels(labels, 6, np.random.default_rng(0))
    assert pixel_samples.shape == (6, SAMPLES_PER_CLASS, 2)
    for class_id in range(6):
        rows, columns = pixel_samples[class_id].T
        if (labels == class_id).any():
            assert (labels[rows, columns] == class_id).all()
        else:
            assert (pixel_samples[class_id] == -1).all()


def test_frames_of_void_alone_can_be_drawn_from() -> None:
    pixel_samples = sample_class_pixels(np.full((48, 64), VOID, np.uint8), 3, np.random.default_rng(0))
    draw(replace(WILD, rare_class_fraction=1.0), pixel_samples, np.random.default_rng(0))


def test_without_light_scale_and_shift_only_the_mirror_is_drawn() -> None:
    random = np.random.default_rng(0)
    pixel_samples = sample_class_pixels(np.zeros((48, 64), np.uint8), 1, random)
    drawn = {draw(Phase(steps=1), pixel_samples, random) for _ in range(20)}
    assert {view.scale for view in drawn} == {(1.0, 1.0), (-1.0, 1.0)}
    assert {view.center for view in drawn} == {(32.0, 24.0)}
    assert all(view.color_jitter == pytest.approx(NO_JITTER) for view in drawn)


def test_a_view_larger_than_its_frame_is_centered_on_it() -> None:
    """Elsewhere it would show more of the border's reflection than it must, and less of the frame."""
    random = np.random.default_rng(0)
    wide = Phase(steps=1, crop=(64, 24), scale=(0.9, 0.9))
    centers = [draw(wide, None, random).center for _ in range(20)]
    assert {x for x, _ in centers} == {32.0}
    assert len({y for _, y in centers}) > 5
    assert all(24 / 0.9 / 2 - 1e-9 <= y <= 48 - 24 / 0.9 / 2 + 1e-9 for _, y in centers)


def test_tint_blur_and_noise_do_not_change_what_else_is_drawn() -> None:
    """A recipe that names none of them must draw the crops that it drew before they existed."""
    plain = Phase(steps=1, crop=(16, 16), scale=(0.5, 2.0), color_jitter=0.4)
    phases = (plain, replace(plain, tint=0.2, blur=1.5, noise=0.05))
    first, second = (draw(phase, None, np.random.default_rng(5)) for phase in phases)
    assert (first.scale, first.center, first.color_jitter[:4]) == (second.scale, second.center, second.color_jitter[:4])
    assert first.color_jitter[4:] == NO_JITTER[4:]
    assert second.color_jitter[4:7] != NO_JITTER[4:7]
