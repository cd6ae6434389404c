"""Plan of a training stage: the phase and the learning rate of each step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from erfnet_ros.training.config.recipe import Phase, Recipe, Stage


@dataclass(frozen=True)
class Plan:
    """Steps of a stage.

    Attributes:
        index: The stage's place in the recipe, from 0.
        first_step: Steps of all stages before.
        phase_steps: Length of each phase in steps.
        steps_per_epoch: Steps that show every frame once, at least 1.
    """

    stage: Stage
    index: int
    first_step: int
    phase_steps: tuple[int, ...]
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        """Number of optimization steps."""
        return sum(self.phase_steps)

    def phase_index(self, step: int) -> int:
        """Return which phase `step` (0-based within the stage) belongs to; raise IndexError past the end."""
        for index, length in enumerate(self.phase_steps):
            if step < length:
                return index
            step -= length
        raise IndexError(f"Expected a step below {self.steps}.")

    def phase(self, step: int) -> Phase:
        """Return the phase that `step` (0-based within the stage) belongs to."""
        return self.stage.phases[self.phase_index(step)]

    def rate_factor(self, step: int) -> float:
        """Return what multiplies the learning rate at `step` (0-based within the stage), 0..1; see `Schedule`."""
        schedule = self.stage.schedule
        if step < schedule.warmup_steps:
            return (step + 1) / schedule.warmup_steps
        if schedule.name == "poly":
            epochs = math.ceil(self.steps / self.steps_per_epoch)
            return float((1 - min(step, self.steps - 1) // self.steps_per_epoch / epochs) ** schedule.power)
        begin = schedule.warmup_steps if schedule.name == "cosine" else self.steps - schedule.decay_steps
        share = min(1.0, max(0, step - begin) / max(1, self.steps - begin))
        return 0.5 * (1 + math.cos(math.pi * share))


def plans(recipe: Recipe, frames: int) -> tuple[Plan, ...]:
    """Return one plan per stage for a training split of `frames` frames."""
    per_step = recipe.batch_size - (recipe.synthetic.per_batch if recipe.synthetic else 0)
    steps_per_epoch = math.ceil(frames / per_step)
    made: list[Plan] = []
    for index, stage in enumerate(recipe.stages):
        lengths = tuple(phase.steps or (phase.epochs or 0) * steps_per_epoch for phase in stage.phases)
        first = made[-1].first_step + made[-1].steps if made else 0
        made.append(Plan(stage, index, first, lengths, steps_per_epoch))
    return tuple(made)
