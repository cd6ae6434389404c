"""Check that a batch fits into the GPU's memory, before the first step."""

from __future__ import annotations

from collections.abc import Callable

import torch

from erfnet_ros.core.errors import TrainingError
from erfnet_ros.inference.device import DTYPES
from erfnet_ros.inference.pytorch.cuda import free_cached, is_out_of_memory
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.config.recipe import Recipe
from erfnet_ros.training.loop.losses import loss_of

Size = tuple[int, int]


def check_memory(
    recipe: Recipe, *, frame_size: Size | None, num_classes: int, device: torch.device, precision: str, processes: int
) -> None:
    """Try a step at the recipe's largest crop; nothing on a CPU, whose memory is large and whose steps are slow."""
    if device.type != "cuda":
        return
    crops = [phase.crop for stage in recipe.stages for phase in stage.phases]
    sizes = [frame_size if crop == "frame" else crop for crop in crops]
    width, height = max((size for size in sizes if size is not None), key=lambda size: size[0] * size[1])

    def step(crops: int) -> None:
        network = ERFNet(num_classes).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = torch.zeros((crops, 3, height, width), device=device).contiguous(memory_format=torch.channels_last)
        labels = torch.zeros((crops, height, width), dtype=torch.int64, device=device)
        weights = torch.ones(num_classes, device=device)
        with torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32"):
            logits = network(images)
        loss_of(recipe.loss, logits.float(), labels, weights=weights).backward()  # type: ignore[no-untyped-call]

    where = f"{width}x{height} in the memory of {device}"
    check_batch(recipe.batch_size // processes, step, where=where, processes=processes)
    free_cached()


def check_batch(crops: int, step: Callable[[int], None], *, where: str, processes: int) -> None:
    """Try a step with `crops` crops of one process, and where it runs out of memory, halves of it until one fits.

    Raises:
        TrainingError: It does not fit `where`; the message says what does.
    """
    fits, message = crops, None
    while fits and (failure := _out_of_memory_message(step, fits)) is not None:
        fits, message = fits // 2, failure
    if message is not None:
        advice = (
            f"use --batch-size {fits * processes}, which fits"
            if fits
            else f"not even one crop fits: free the GPU, or set smaller crops in the recipe ({message})"
        )
        raise TrainingError(f"Expected room for {crops} crops per step of {where}, got too little; {advice}.")


def out_of_memory_in_training(batch_size: int, *, processes: int, device: str, saved: bool) -> TrainingError:
    """Return the error of a GPU that runs out of memory during training, with a state to continue from or without."""
    half = batch_size // 2 // processes * processes
    smaller = f"with --batch-size {half}" if half else "with smaller crops in the recipe"
    advice = (
        f"free the GPU and continue with --resume, or start a new run in another folder {smaller}"
        if saved
        else f"nothing was saved yet: free the GPU and start again, or start {smaller}"
    )
    return TrainingError(
        f"Expected room for {batch_size} crops per step in the memory of {device}, got too little during training; "
        f"{advice}."
    )


def _out_of_memory_message(step: Callable[[int], None], crops: int) -> str | None:
    """Return what the GPU says where its memory is too small for a step; None where the step succeeds."""
    try:
        step(crops)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        message = str(error).split("\n")[0].split(". ")[0]
    else:
        return None
    # Only after the error is gone are the step's tensors, which its traceback holds.
    free_cached()
    return message
