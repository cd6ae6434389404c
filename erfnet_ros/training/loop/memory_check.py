"""Whether a batch fits into the GPU's memory, known before the first epoch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from erfnet_ros.core.errors import TrainingError
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.config.recipe import Recipe
from erfnet_ros.training.loop.losses import loss_of

Size = tuple[int, int]

_OUT_OF_MEMORY_MESSAGES = (
    "CUDA error: out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "unable to find an engine to execute this computation",
)
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

    def step(crops: int) -> None:
        loss = memory_probe(recipe, num_classes, (crops, height, width), device, precision)
        loss.backward()  # type: ignore[no-untyped-call]

    check_batch(recipe.batch_size // processes, step, str(device), (width, height), processes)
    torch.cuda.empty_cache()


def memory_probe(
    recipe: Recipe, num_classes: int, shape: tuple[int, int, int], device: torch.device, precision: str
) -> Tensor:
    """Return the loss of a step that takes as much memory as one of the recipe's.

    Every class occurs, as in a large batch: lovasz sorts the pixels once for each.

    Args:
        recipe: Loss and class weights.
        num_classes: Number of classes.
        shape: Crops, height and width.
        device: Where.
        precision: fp32, fp16 or bf16.
    """
    network = ERFNet(num_classes).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    crops, height, width = shape
    images = torch.zeros((crops, 3, height, width), device=device).contiguous(memory_format=torch.channels_last)
    labels = (torch.arange(crops * height * width, device=device) % num_classes).view(shape)
    weights = None if recipe.loss.class_weight_constant is None else torch.ones(num_classes, device=device)
    with torch.autocast(device.type, _DTYPES[precision], enabled=precision != "fp32"):
        logits = network(images)
    return loss_of(recipe.loss, logits.float(), labels, weights)


def check_batch(crops: int, step: Callable[[int], None], device: str, crop: Size, processes: int) -> None:
    """Try a step, and where it runs out of memory, halves of it until one fits.

    Args:
        crops: Crops of a batch that one process takes.
        step: Takes a step with so many crops.
        device: What to call the device in the error.
        crop: (width, height) of the crops, pixels.
        processes: How many processes share a batch.

    Raises:
        TrainingError: It does not fit; it says what does.
    """
    fits = crops
    while fits and (complaint := _out_of_memory_message(step, fits)) is not None:
        fits //= 2
    if fits < crops:
        advice = (
            f"--batch-size {fits * processes} fits"
            if fits
            else f"not even one view fits: free the GPU, or set smaller crops in the recipe ({complaint})"
        )
        raise TrainingError(
            f"Expected {crops} crops of {crop[0]}x{crop[1]} per step to fit into the memory of {device}, "
            f"got too little; {advice}."
        )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether an error is, or near the limit may be, for want of the GPU's memory.

    cuDNN, cuBLAS and the driver say it in words of their own, and cuDNN that there is no engine where it got no
    memory for the engine's work.
    """
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(
        words in str(error) for words in _OUT_OF_MEMORY_MESSAGES
    )


def out_of_memory_in_training(batch_size: int, processes: int, device: str, saved: bool) -> TrainingError:
    """Return what to say where the memory gives out in the midst of training.

    Args:
        batch_size: Crops per step, over all processes.
        processes: How many processes share a batch.
        device: What to call the device.
        saved: Whether there is a state to go on with.
    """
    half = batch_size // 2 // processes * processes
    smaller = f"with --batch-size {half}" if half else "with smaller crops in the recipe"
    # Without a state the folder is free for another run.
    advice = (
        f"free the GPU and go on with --resume, or begin anew in another folder {smaller}"
        if saved
        else f"nothing was saved yet: free the GPU and begin again, or begin {smaller}"
    )
    return TrainingError(
        f"Expected {batch_size} crops per step to fit into the memory of {device}, got too little in the midst of "
        f"training; {advice}."
    )


def _out_of_memory_message(step: Callable[[int], None], crops: int) -> str | None:
    """Return what the GPU says where it has too little memory for a step; None where the step is taken."""
    try:
        step(crops)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        complaint = str(error).split("\n")[0].split(". ")[0]
    else:
        return None
    # Out here the error is forgotten, and with it the step's tensors, which its traceback holds.
    torch.cuda.empty_cache()
    return complaint
