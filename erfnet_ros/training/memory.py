"""Whether a batch fits into the GPU's memory, known before the first epoch."""

from __future__ import annotations

from collections.abc import Callable

import torch

from erfnet_ros.errors import TrainingError
from erfnet_ros.network import ERFNet
from erfnet_ros.training.losses import loss_of
from erfnet_ros.training.recipe import Recipe

Size = tuple[int, int]

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def check_memory(
    recipe: Recipe, frame_size: Size | None, num_classes: int, device: torch.device, precision: str, processes: int
) -> None:
    """Try a step at the recipe's largest crop; on a CPU nothing is tried: its memory is large, and its steps are slow.

    Raises:
        TrainingError: The GPU's memory does not hold it; it says which batch size it does hold.
    """
    if device.type != "cuda":
        return
    crops = [phase.crop for stage in recipe.stages for phase in stage.phases]
    sizes = [frame_size if crop == "frame" else crop for crop in crops]
    width, height = max((size for size in sizes if size is not None), key=lambda size: size[0] * size[1])

    def step(views: int) -> None:
        network = ERFNet(num_classes).to(device)
        images = torch.zeros((views, 3, height, width), device=device)
        labels = torch.zeros((views, height, width), dtype=torch.int64, device=device)
        with torch.autocast(device.type, _DTYPES[precision], enabled=precision != "fp32"):
            logits = network(images)
        loss_of(recipe.loss, logits.float(), labels, None).backward()  # type: ignore[no-untyped-call]

    check_batch(recipe.batch_size // processes, step, str(device), (width, height), processes)
    torch.cuda.empty_cache()


def check_batch(views: int, step: Callable[[int], None], device: str, crop: Size, processes: int) -> None:
    """Try a step, and where it runs out of memory, halves of it until one fits.

    Args:
        views: Views of a batch that one process takes.
        step: Takes a step with so many views.
        device: What to call the device in the error.
        crop: (width, height) of the views, pixels.
        processes: How many processes share a batch.

    Raises:
        TrainingError: It does not fit; it says what does.
    """
    fits = views
    while fits and not _fits(step, fits):
        fits //= 2
    if fits < views:
        advice = (
            f"--batch-size {fits * processes} fits"
            if fits
            else "not even one view fits: free the GPU, or set smaller crops in the recipe"
        )
        raise TrainingError(
            f"Expected {views} views of {crop[0]}x{crop[1]} per step to fit into the memory of {device}, "
            f"got too little; {advice}."
        )


def _fits(step: Callable[[int], None], views: int) -> bool:
    try:
        step(views)
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        return False
    return True
