"""Changes of cropped images, compared with values by hand."""

from __future__ import annotations

import pytest
import torch

from erfnet_ros.training.data.pixel_augmentation import apply_color_jitter


def test_light_changes_as_each_of_its_numbers_says() -> None:
    pixel = torch.tensor([51, 102, 204], dtype=torch.uint8).view(1, 3, 1, 1)

    def lit(*color_jitter: float) -> list[float]:
        values: list[float] = (
            apply_color_jitter(pixel, torch.tensor([color_jitter], dtype=torch.float32)).flatten().tolist()
        )
        return values

    assert lit(1, 1, 1, 1) == pytest.approx([0.2, 0.4, 0.8])
    assert lit(1.5, 1, 1, 1) == pytest.approx([0.3, 0.6, 1.0])
    assert lit(1, 0.5, 1, 1) == pytest.approx([0.35, 0.45, 0.65])
    assert lit(1, 1, 0, 1) == pytest.approx([0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.8] * 3)
    assert lit(1, 1, 1, 2) == pytest.approx([0.04, 0.16, 0.64])
