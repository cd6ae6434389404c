"""Train ERFNet on CamVid and synthetic street scenes, from scratch, on a CPU or one GPU.

    python -m erfnet_ros.training.train --camvid DIR --out RUN

Interrupt it at any point; the same command goes on from the last saved step. With `--initial CHECKPOINT --steps N` it
trains those weights further: at a constant rate, and down to zero over the last `--decay-steps`. A larger `--steps`
than before only moves that end, as long as the decay has not begun.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from erfnet_ros.checkpoint import build_network, load
from erfnet_ros.metrics import VOID, class_iou, confusion_matrix, mean_iou
from erfnet_ros.network import ERFNet
from erfnet_ros.training import camvid
from erfnet_ros.training.augmentation import Augmentation

log = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Phase:
    """Some steps at one crop size; early phases are small and cheap."""

    steps: int
    augmentation: Augmentation
    dropout: float


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result, besides the data."""

    phases: tuple[Phase, ...] = (
        Phase(1500, Augmentation(crop=(240, 176), scale=(0.4, 0.8)), dropout=0.02),
        Phase(1900, Augmentation(crop=(352, 272), scale=(0.6, 1.5)), dropout=0.05),
        Phase(400, Augmentation(crop=(480, 360), scale=(0.8, 1.5), light=0.25), dropout=0.05),
    )
    batch_size: int = 8
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.01
    warmup_steps: int = 200
    average_decay: float = 0.998
    class_weight_constant: float = 1.10
    overlap_weight: float = 0.5
    seed: int = 1
    decay_steps: int | None = None

    @classmethod
    def further(cls, steps: int, decay_steps: int, learning_rate: float) -> Recipe:
        """Return the recipe that trains a finished network further: constant rate, then down to zero."""
        main = Augmentation(crop=(352, 272), scale=(0.6, 1.5))
        last = Augmentation(crop=(480, 360), scale=(0.75, 1.5), light=0.3)
        phases = (Phase(steps - decay_steps, main, dropout=0.05), Phase(decay_steps, last, dropout=0.05))
        return cls(phases, learning_rate=learning_rate, decay_steps=decay_steps, seed=2)

    @property
    def steps(self) -> int:
        """Total number of optimisation steps."""
        return sum(phase.steps for phase in self.phases)

    def phase(self, step: int) -> Phase:
        """Return the phase that `step` (0-based) belongs to."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        raise IndexError("step is past the recipe's end")

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, then a cosine to zero: at once, or over the last `decay_steps`."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.decay_steps is not None:
            share = max(0, step - (self.steps - self.decay_steps)) / self.decay_steps
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
        share = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


@dataclass(frozen=True)
class Frames:
    """Labelled frames in memory: images (N, H, W, 3) and labels (N, H, W), uint8, void 255."""

    images: Pixels
    labels: Pixels

    def class_shares(self, num_classes: int) -> npt.NDArray[np.float64]:
        """Share of the non-void pixels per class, summing to 1."""
        counts = np.bincount(self.labels.ravel(), minlength=256)[:num_classes].astype(np.float64)
        shares: npt.NDArray[np.float64] = counts / counts.sum()
        return shares


def loss_of(logits: Tensor, labels: Tensor, class_weights: Tensor, overlap_weight: float) -> Tensor:
    """Weighted cross-entropy plus one minus the batch's soft IoU over the classes that occur.

    Source: ERFNet paper, section IV-A (class weights); Rahman and Wang 2016 (soft IoU).

    Args:
        logits: (N, C, H, W) float.
        labels: (N, H, W) int64, void 255.
    """
    cross_entropy = F.cross_entropy(logits, labels, class_weights, ignore_index=VOID)
    known = (labels != VOID).unsqueeze(1)
    probability = logits.softmax(1) * known
    truth = torch.zeros_like(probability).scatter_(1, labels.clamp(max=logits.shape[1] - 1).unsqueeze(1), 1.0) * known
    both = (probability * truth).sum((0, 2, 3))
    either = (probability + truth - probability * truth).sum((0, 2, 3))
    present = truth.sum((0, 2, 3)) > 0
    overlap = (both[present] / either[present].clamp(min=1.0)).mean()
    return cross_entropy + overlap_weight * (1 - overlap)


def _channels_last(network: ERFNet) -> ERFNet:
    converted: ERFNet = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return converted


class Trainer:
    """Network, optimiser and running average, and where they stand."""

    def __init__(
        self, recipe: Recipe, class_weights: Tensor, device: torch.device, initial: Path | None, compiled: bool
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.device = device
        network = ERFNet(len(class_weights)) if initial is None else build_network(load(initial))
        self.network = _channels_last(network.to(device))
        self._forward = torch.compile(self.network) if compiled else self.network
        self.average = {name: t.detach().clone() for name, t in self.network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(self._parameter_groups(), recipe.learning_rate)
        self.class_weights = class_weights.to(device)
        self.step = 0

    def _parameter_groups(self) -> list[dict[str, object]]:
        kernels = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        return [{"params": kernels, "weight_decay": self.recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]

    def train_step(self, images: Tensor, labels: Tensor) -> float:
        """Take one step on images (N, 3, H, W) uint8 and labels (N, H, W) uint8; return the loss."""
        phase = self.recipe.phase(self.step)
        self.network.train()
        for layer in self.network.encoder.layers:
            for module in layer.modules():
                if isinstance(module, nn.Dropout2d):
                    module.p = phase.dropout
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate_at(self.step)
        x = images.to(self.device, torch.float32).div_(255).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self._forward(x)
        loss = loss_of(
            logits.float(), labels.to(self.device, torch.int64), self.class_weights, self.recipe.overlap_weight
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return float(loss.detach())

    @torch.no_grad()
    def _update_average(self) -> None:
        # The average starts as a short one, so that the random first weights are forgotten.
        decay = min(self.recipe.average_decay, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def averaged_network(self) -> ERFNet:
        """Return a copy for inference that holds the averaged weights."""
        network = _channels_last(ERFNet(self.network.num_classes).to(self.device))
        network.load_state_dict(self.average)
        return network.eval()

    def save(self, path: Path) -> None:
        """Write the whole state; the file is complete or the old one stays."""
        partial = path.with_suffix(".partial")
        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        torch.save(state, partial)
        os.replace(partial, path)

    def restore(self, path: Path) -> None:
        """Go on from a file that `save` wrote."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"].cpu())
        self.step = state["step"]


def make_batch(
    step: int, recipe: Recipe, sets: list[tuple[Frames, int]], rarity: npt.NDArray[np.float64]
) -> tuple[Tensor, Tensor]:
    """Draw the batch of one step; the step and the seed alone decide it, so that a resumed run sees the same."""
    random = np.random.default_rng((recipe.seed, step))
    augmentation = recipe.phase(step).augmentation
    images, labels = [], []
    for frames, count in sets:
        for index in random.integers(len(frames.images), size=count):
            image, label = augmentation.view(frames.images[index], frames.labels[index], rarity, random)
            images.append(image)
            labels.append(label)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.from_numpy(np.stack(labels))


def prefetch(
    make: Callable[[int], tuple[Tensor, Tensor]], steps: range, ahead: int = 4
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `make(step)` for each step, made in a thread so that the network never waits."""
    ready: queue.Queue[tuple[Tensor, Tensor]] = queue.Queue(ahead)

    def fill() -> None:
        for step in steps:
            ready.put(make(step))

    threading.Thread(target=fill, daemon=True).start()
    for _ in steps:
        yield ready.get()


@torch.inference_mode()
def evaluate(network: ERFNet, frames: Frames, device: torch.device, every: int = 1) -> npt.NDArray[np.int64]:
    """Return the confusion matrix over every `every`-th frame at the frames' own size."""
    matrix = np.zeros((network.num_classes, network.num_classes + 1), np.int64)
    for image, truth in zip(frames.images[::every], frames.labels[::every], strict=True):
        x = torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float().div_(255)
        with torch.autocast(device.type, torch.bfloat16):
            labels = network(x.contiguous(memory_format=torch.channels_last)).argmax(1)[0]
        matrix += confusion_matrix(truth, labels.to(torch.uint8).cpu().numpy(), network.num_classes)
    return matrix


def report(matrix: npt.NDArray[np.int64]) -> str:
    """One line: mIoU and every class's IoU in percent."""
    miou = mean_iou(matrix)
    classes = " ".join(f"{100 * value:.0f}" for value in class_iou(matrix))
    return f"mIoU {100 * miou:.2f} % ({classes})" if miou is not None else "mIoU undefined"


def run(options: argparse.Namespace) -> None:
    """Train until the recipe's end, saving as it goes."""
    recipe = Recipe()
    if options.initial is not None:
        recipe = Recipe.further(options.steps, options.decay_steps, options.learning_rate)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    real = Frames(*camvid.load(options.camvid, options.splits))
    watched = Frames(*camvid.load(options.camvid, ["test"]))
    sets = [(real, recipe.batch_size - options.synthetic_per_batch)]
    if options.synthetic_per_batch:
        sets.append((Frames(**np.load(options.synthetic)), options.synthetic_per_batch))
    shares = real.class_shares(camvid.NUM_CLASSES)
    weights = torch.from_numpy(1 / np.log(recipe.class_weight_constant + shares)).float()
    trainer = Trainer(recipe, weights / weights.mean(), device, options.initial, options.compile)
    options.out.mkdir(parents=True, exist_ok=True)
    state = options.out / "state.pt"
    if state.exists():
        trainer.restore(state)
        log.info("going on from step %d of %d", trainer.step, recipe.steps)
    steps = range(trainer.step, recipe.steps)
    rarity = np.sqrt(1 / np.maximum(shares, 1e-4))
    started, losses = time.monotonic(), []
    for images, labels in prefetch(lambda step: make_batch(step, recipe, sets, rarity), steps):
        losses.append(trainer.train_step(images, labels))
        if trainer.step % 50 == 0:
            rate = len(losses) * recipe.batch_size / (time.monotonic() - started)
            log.info("step %d/%d loss %.3f, %.1f images/s", trainer.step, recipe.steps, np.mean(losses[-50:]), rate)
        if trainer.step % 100 == 0:
            trainer.save(state)
        if trainer.step % 500 == 0:
            log.info("every 6th test frame: %s", report(evaluate(trainer.averaged_network(), watched, device, 6)))
    trainer.save(state)
    log.info("test: %s", report(evaluate(trainer.averaged_network(), watched, device)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train ERFNet on CamVid and synthetic street scenes.")
    parser.add_argument("--camvid", type=Path, required=True, help="folder with train/, val/ and test/")
    parser.add_argument("--splits", nargs="+", default=["train", "val"], help="splits to train on")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; a state found there is resumed")
    parser.add_argument("--synthetic", type=Path, help=".npz with arrays `images` and `labels` of synthetic scenes")
    parser.add_argument("--synthetic-per-batch", type=int, default=0, help="how many of a batch's frames are synthetic")
    parser.add_argument("--initial", type=Path, help="checkpoint to train further")
    parser.add_argument("--steps", type=int, default=4000, help="steps to train it further")
    parser.add_argument("--decay-steps", type=int, default=500, help="last steps, over which the rate goes to zero")
    parser.add_argument("--learning-rate", type=float, default=8e-4, help="rate before that")
    parser.add_argument("--compile", action="store_true", help="compile the network: faster after a minute's wait")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
