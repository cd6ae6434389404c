"""Batches: reproducible by seed and step, shared among processes, every frame once an epoch."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("lightning", reason="needs Lightning (the extra 'training')")

import torch
from support.small_datasets import SIZE, make_camvid, make_cityscapes, make_folder, write

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import ParameterError, SourceError, TrainingError
from erfnet_ros.data.datasets import open_dataset
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.training.config.recipe import Phase, Recipe, Stage, Synthetic
from erfnet_ros.training.config.schedule import plans
from erfnet_ros.training.data import frame_store as frames_module
from erfnet_ros.training.data.augmentation import ClassPixelSamples
from erfnet_ros.training.data.batches import Batch, BatchSampler, batches
from erfnet_ros.training.data.frame_store import (
    ClassFrequencies,
    DiskFrames,
    FrameOptions,
    count_classes,
    open_frames,
    read_frame,
)
from erfnet_ros.training.data_setup import load_training_data, open_validation_split

CPU = torch.device("cpu")

PHASE = Phase(steps=30, crop=(32, 24), scale=(0.5, 2), rare_class_fraction=0.5, color_jitter=0.4)


def recipe_of(*phases: Phase) -> Recipe:
    return Recipe((Stage("network", "network", phases),), batch_size=4)


RECIPE = recipe_of(PHASE)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_camvid(tmp_path_factory.mktemp("camvid"), {"train": 6, "val": 2, "test": 2})


def drawn(root: Path, recipe: Recipe = RECIPE, place: str = "memory") -> BatchSampler:
    data, options = open_dataset("camvid", root, "train"), FrameOptions(CPU, place=place)
    training_data = load_training_data(data, None, recipe=recipe, options=options)
    return BatchSampler(plans(recipe, 6)[0], recipe.seed, training_data.parts, np.ones(len(CAMVID)))


def taken(sampler: BatchSampler, first: int, workers: int = 0) -> Iterator[Batch]:
    yield from batches(sampler, lambda: first, workers)


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_batch_holds_bytes_in_the_shapes_that_it_promises(root: Path) -> None:
    images, labels, color_jitter = next(taken(drawn(root), 0))
    assert (images.shape, images.dtype) == ((4, 3, 24, 32), torch.uint8)
    assert (labels.shape, labels.dtype) == ((4, 24, 32), torch.uint8)
    assert (color_jitter.shape, color_jitter.dtype) == ((4, 9), torch.float32)


def test_a_run_that_begins_late_sees_what_the_whole_run_sees_there(root: Path) -> None:
    """A resumed run begins at the step that was saved."""
    whole = list(taken(drawn(root), 0))
    late = list(taken(drawn(root), 27))
    assert len(whole) == 30
    assert len(late) == 3
    assert all(same(a, b) for a, b in zip(whole[27:], late, strict=True))
    assert not same(whole[0], whole[1])


@pytest.mark.parametrize(("crop", "scale"), [((32, 24), (0.5, 2.0)), ((16, 16), (0.6, 2.0))])
def test_frames_on_disk_give_the_batches_of_frames_in_memory(
    root: Path, crop: tuple[int, int], scale: tuple[float, float]
) -> None:
    """Small crops are cut out of a part of the frame, which must be the same part."""
    recipe = recipe_of(replace(PHASE, crop=crop, scale=scale, shift=8))
    in_memory, on_disk = taken(drawn(root, recipe), 0), taken(drawn(root, recipe, "disk"), 0, 1)
    for from_memory, from_disk in zip(in_memory, on_disk, strict=True):
        assert same(from_memory, from_disk)


def test_frames_on_disk_are_searched_for_classes_only_where_a_phase_asks_for_them(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To search a frame of 2048x1024 takes 49 ms, for each view."""
    recipe = recipe_of(*(replace(PHASE, steps=2, rare_class_fraction=share) for share in (0.0, 0.5)))
    in_memory = list(taken(drawn(root, recipe), 0))
    asked = []

    def noted(frames: DiskFrames, index: int, labels: npt.NDArray[np.uint8]) -> ClassPixelSamples:
        asked.append(index)
        return pixel_samples_in(frames, index, labels)

    pixel_samples_in = DiskFrames.pixel_samples_in
    monkeypatch.setattr(DiskFrames, "pixel_samples_in", noted)
    for step, (from_memory, from_disk) in enumerate(zip(in_memory, taken(drawn(root, recipe, "disk"), 0), strict=True)):
        assert same(from_memory, from_disk)
        assert len(asked) == (0 if step < 2 else 4 * (step - 1))


def test_several_processes_share_out_the_batch_of_one(root: Path) -> None:
    """The recipe decides the batch, not the number of GPUs."""
    alone = drawn(root).batch(5)
    parts = [replace(drawn(root), rank=rank, processes=2).batch(5) for rank in (0, 1)]
    for n in range(4):
        assert same(tuple(part[n] for part in alone), tuple(part[n // 2] for part in parts[n % 2]))


def test_every_epoch_shows_every_frame_once_in_another_order(root: Path) -> None:
    sampler = drawn(root)
    shown = [frame for step in range(30) for _, frame, _ in sampler.items(step)]
    epochs = [shown[begin : begin + 6] for begin in range(0, 120, 6)]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 15


def test_synthetic_streets_take_their_share_of_each_batch(root: Path) -> None:
    synthetic = Synthetic(per_batch=1, streets=2, frames=2, every=5)
    sampler = drawn(root, replace(RECIPE, synthetic=synthetic))
    assert [(share, number) for share, _, number in sampler.items(0)] == [(0, 0), (0, 1), (0, 2), (1, 3)]
    streams = {sampler.random(0, number).bit_generator.state["state"]["state"] for _, _, number in sampler.items(0)}
    assert len(streams) == 4, "two crops of a batch are drawn by the same random numbers"
    assert len(sampler.batch(0)[0]) == 4
    streets = sampler.parts[1].frames
    rgb, labels = Street(1001, SIZE).frame(5)
    image, ground_truth = streets.pixels(3)
    assert np.array_equal(image, rgb)
    assert np.array_equal(ground_truth, labels)


def test_synthetic_streets_are_refused_for_other_classes_than_camvids(tmp_path: Path) -> None:
    data = open_dataset("cityscapes", make_cityscapes(tmp_path), "train")
    with pytest.raises(ParameterError, match="Expected the classes of camvid for synthetic frames, got those of citys"):
        load_training_data(data, None, recipe=replace(RECIPE, synthetic=Synthetic()), options=FrameOptions(CPU))


def test_tall_frames_are_shrunk_with_their_labels(root: Path) -> None:
    data = open_dataset("camvid", root, "train")
    rgb, labels = read_frame(data, 0, 24)
    assert (rgb.shape, labels.shape) == ((24, 32, 3), (24, 32))
    assert set(np.unique(labels)) <= set(np.unique(data[0].ground_truth))
    assert read_frame(data, 0, 48)[0].shape == (48, 64, 3)


def test_the_class_frequencies_count_known_pixels_by_class(root: Path) -> None:
    data = open_dataset("camvid", root, "train")
    class_frequencies = count_classes(data, FrameOptions(CPU, workers=2))
    ground_truth = np.stack([frame.ground_truth for frame in data if frame.ground_truth is not None])
    assert class_frequencies.pixels.tolist() == [
        int((ground_truth == class_id).sum()) for class_id in range(len(CAMVID))
    ]
    assert class_frequencies.size == class_frequencies.commonest_size == SIZE
    assert class_frequencies.sizes == {SIZE: 6}
    assert class_frequencies.shares.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("sizes", "commonest"),
    [
        ({(640, 480): 2, (1280, 720): 3, (64, 48): 1}, (1280, 720)),
        ({(1280, 720): 1, (64, 48): 1, (640, 480): 1}, (640, 480)),
        ({(64, 48): 1, (640, 480): 1}, (640, 480)),
    ],
)
def test_of_several_sizes_the_commonest_stands_for_all_and_of_equals_the_middle_one(
    sizes: dict[tuple[int, int], int], commonest: tuple[int, int]
) -> None:
    """The checkpoint names it as what the network was trained on, and every camera's image is brought to it."""
    class_frequencies = ClassFrequencies(np.ones(3, np.int64), sizes)
    assert class_frequencies.size is None
    assert class_frequencies.commonest_size == commonest


def test_frames_that_no_checkpoint_can_name_are_refused_before_training(tmp_path: Path) -> None:
    """Else the night ends with a checkpoint that nothing reads."""
    root = tmp_path / "own"
    write(root / "images" / "train" / "wide.png", np.zeros((16, 4104, 3), np.uint8))
    write(root / "labels" / "train" / "wide.png", np.eye(16, 4104, dtype=np.uint8))
    make_folder(root, {})
    data = open_dataset("folder", root, "train")
    with pytest.raises(ParameterError, match=r"8 to 4096 pixels per side, got 4104x16.* set max_frame_height in"):
        load_training_data(data, None, recipe=RECIPE, options=FrameOptions(CPU, place="auto"))


def test_frames_of_several_sizes_train_from_disk_and_need_a_crop(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "own", {"train": 2})
    make_folder(tmp_path / "larger", {"more": 2}, (80, 64))
    for kind, suffix in (("images", "jpg"), ("labels", "png")):
        (tmp_path / "larger" / kind / "more" / f"frame_0.{suffix}").rename(root / kind / "train" / f"frame_9.{suffix}")
    data = open_dataset("folder", root, "train")
    training_data = load_training_data(data, None, recipe=RECIPE, options=FrameOptions(CPU, place="auto"))
    assert isinstance(training_data.parts[0].frames, DiskFrames)
    sampler = BatchSampler(plans(RECIPE, 3)[0], 1, training_data.parts, np.ones(3))
    assert next(taken(sampler, 0))[0].shape == (4, 3, 24, 32)
    with pytest.raises(ParameterError, match=r"Expected frames of one size .* to keep them in memory, got several"):
        load_training_data(data, None, recipe=RECIPE, options=FrameOptions(CPU, place="memory"))
    whole = recipe_of(replace(PHASE, crop="frame"))
    with pytest.raises(ParameterError, match=r"frames of one size .* for the recipe's crop: frame, got several"):
        load_training_data(data, None, recipe=whole, options=FrameOptions(CPU, place="auto"))


def test_what_is_trained_on_is_not_validated_on(root: Path, tmp_path: Path) -> None:
    """Else the figure would flatter the run."""
    for split, expected in {"train": "val", "train+val": "test", "train+val+test": None}.items():
        data = open_validation_split("camvid", root, trained_on=split, wanted=None)
        assert (data and data.split) == expected
    assert open_validation_split("camvid", root, trained_on="train", wanted="none") is None
    with pytest.raises(ParameterError, match=r"not trained on, got val of train\+val"):
        open_validation_split("camvid", root, trained_on="train+val", wanted="val")
    cityscapes = make_cityscapes(tmp_path / "cityscapes")
    # Its test labels hold nothing.
    assert open_validation_split("cityscapes", cityscapes, trained_on="train+val", wanted=None) is None
    with pytest.raises(SourceError, match="test"):
        open_validation_split("cityscapes", cityscapes, trained_on="train", wanted="test")


def test_a_folder_of_one_frame_trains_without_validation_and_an_empty_split_names_the_way_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    root = make_folder(tmp_path / "one", {"": 1})
    assert len(open_dataset("folder", root, "train")) == 1
    assert open_validation_split("folder", root, trained_on="train", wanted=None) is None
    assert "No split with labels is left to validate on" in caplog.text
    splits = make_folder(tmp_path / "splits", {"train": 1})
    (splits / "images" / "val").mkdir()
    with pytest.raises(SourceError, match=r"found none. '--validate-on none' trains without it"):
        open_validation_split("folder", splits, trained_on="train", wanted=None)


def test_rare_classes_are_those_below_the_median_that_are_present() -> None:
    assert ClassFrequencies(np.array([40, 5, 30, 0, 2, 23]), {}).rare_classes == [1, 4]
    assert ClassFrequencies(np.array([50, 50]), {}).rare_classes == []


def test_frames_are_not_held_twice_while_they_are_read_into_memory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may take half of what is free: twice that is a killed process."""
    decoded: list[weakref.ref[np.ndarray]] = []
    held = []

    class Many:
        class_set = CAMVID

        def __len__(self) -> int:
            return 200

    def read(data: object, index: int, max_height: int | None) -> tuple[np.ndarray, np.ndarray]:
        held.append(sum(image() is not None for image in decoded))
        image = np.full((4, 8, 3), index, np.uint8)
        decoded.append(weakref.ref(image))
        return image, np.full((4, 8), index % 11, np.uint8)

    monkeypatch.setattr(frames_module, "read_frame", read)
    frames = open_frames(Many(), (8, 4), FrameOptions(CPU), sample_pixels=False)  # type: ignore[arg-type]
    assert frames.images[:, 0, 0, 0].tolist() == list(range(200))
    assert max(held) < 50


def test_frames_that_the_memory_does_not_hold_are_one_error_with_the_way_out(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def empty(*shape: object, **options: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "empty", empty)
    with pytest.raises(TrainingError, match=r"Expected 2 frames of 64x48 .* memory of cpu, .* use --frames disk"):
        open_frames(open_dataset("camvid", root, "val"), SIZE, FrameOptions(CPU, place="memory"))
