"""Changes of cropped images, compared with values by hand."""

from __future__ import annotations

import pytest
import torch

from erfnet_ros.training.config.recipe import Phase
from erfnet_ros.training.data.pixel_augmentation import apply_color_jitter, paste

EVERYTHING = Phase(steps=1, tint=0.5, blur=2.0, noise=0.1)
NO_JITTER = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0)


def test_light_changes_as_each_of_its_numbers_says() -> None:
    pixel = torch.tensor([51, 102, 204], dtype=torch.uint8).view(1, 3, 1, 1)

    def lit(*color_jitter: float) -> list[float]:
        row = torch.tensor([[*color_jitter, *NO_JITTER[len(color_jitter) :]]], dtype=torch.float32)
        values: list[float] = apply_color_jitter(pixel, row, EVERYTHING).flatten().tolist()
        return values

    assert lit(1, 1, 1, 1) == pytest.approx([0.2, 0.4, 0.8])
    assert lit(1.5, 1, 1, 1) == pytest.approx([0.3, 0.6, 1.0])
    assert lit(1, 0.5, 1, 1) == pytest.approx([0.35, 0.45, 0.65])
    assert lit(1, 1, 0, 1) == pytest.approx([0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.8] * 3)
    assert lit(1, 1, 1, 2) == pytest.approx([0.04, 0.16, 0.64])
    assert lit(1, 1, 1, 1, 1.5, 1, 0.5) == pytest.approx([0.3, 0.4, 0.4])


def test_a_blur_spreads_a_point_by_its_standard_deviation_and_keeps_the_other_crop_sharp() -> None:
    point = torch.zeros((2, 3, 21, 21), dtype=torch.uint8)
    point[:, :, 10, 10] = 255
    sharp, blurred = apply_color_jitter(point, torch.tensor([NO_JITTER, (*NO_JITTER[:7], 1.2, 0.0)]), EVERYTHING)
    assert torch.equal(sharp, point[0].float() / 255)
    assert blurred.sum((1, 2)).tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    offsets = torch.arange(21) - 10.0
    assert float((blurred[0].sum(0) * offsets**2).sum()) == pytest.approx(1.2**2, rel=0.02)
    assert torch.allclose(blurred[0], blurred[0].T)


def test_a_blur_keeps_an_even_area_even_up_to_the_border() -> None:
    even = torch.full((1, 3, 9, 9), 102, dtype=torch.uint8)
    blurred = apply_color_jitter(even, torch.tensor([(*NO_JITTER[:7], 2.0, 0.0)]), EVERYTHING)
    torch.testing.assert_close(blurred, torch.full_like(blurred, 0.4))


def test_noise_has_its_standard_deviation_and_follows_from_the_seed() -> None:
    even = torch.full((1, 3, 100, 100), 102, dtype=torch.uint8)
    color_jitter = torch.tensor([(*NO_JITTER[:8], 0.05)])
    torch.manual_seed(1)
    noisy = apply_color_jitter(even, color_jitter, EVERYTHING)
    assert float(noisy.std()) == pytest.approx(0.05, rel=0.05)
    assert float(noisy.mean()) == pytest.approx(0.4, abs=2e-3)
    torch.manual_seed(1)
    assert torch.equal(apply_color_jitter(even, color_jitter, EVERYTHING), noisy)


def test_pasted_pixels_bring_their_labels_and_nothing_else_changes() -> None:
    labels = torch.randint(0, 5, (4, 12, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = (labels * 50).unsqueeze(1).expand(-1, 3, -1, -1)
    pasted, ground_truth = paste(images, labels, classes=(2, 4), fraction=1.0, random=torch.Generator().manual_seed(0))
    changed = ground_truth != labels
    assert set(ground_truth[changed].tolist()) == {2, 4}
    assert torch.equal(ground_truth[changed], labels.roll(1, 0)[changed])
    assert torch.equal(pasted[:, 0], ground_truth * 50)


@pytest.mark.parametrize("fraction", [0.0, 0.4])
def test_as_many_crops_are_pasted_onto_as_the_recipe_says(fraction: float) -> None:
    labels = torch.arange(2000, dtype=torch.int64).remainder(2).byte().view(-1, 1, 1)
    images = labels.unsqueeze(1).expand(-1, 3, -1, -1)
    _, ground_truth = paste(images, labels, classes=(0, 1), fraction=fraction, random=torch.Generator().manual_seed(0))
    # Half of the classes are pasted, and the crop before is always of the other class.
    assert float((ground_truth != labels).float().mean()) == pytest.approx(fraction / 2, abs=0.03 * bool(fraction))
