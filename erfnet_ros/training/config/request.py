"""Training request, and the configuration of a run that it must match to resume it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from erfnet_ros.core.errors import ParameterError, TrainingError
from erfnet_ros.data.datasets import DataSet
from erfnet_ros.training.config.recipe import DEFAULT, Recipe, load, with_length
from erfnet_ros.training.history import write_json

RUN_CONFIG = "run.json"
"""The run's configuration, in the run's folder: only the same may be resumed."""

STATE = "state.ckpt"
"""The state to resume from, in the run's folder."""

_MAY_DIFFER = ("validate_on", "license", "command")
"""What may differ where a run is resumed."""


@dataclass(frozen=True)
class Request:
    """Options of `erfnet train`; see its help. None leaves a choice to the resumed run or to the default."""

    kind: str
    root: Path
    run: Path
    recipe: str | None
    split: str | None
    validate_on: str | None
    init: Path | None
    resume: bool
    epochs: int | None
    steps: int | None
    batch_size: int | None
    seed: int | None
    license: str | None
    device: str
    precision: str
    devices: int
    nodes: int
    workers: int | None
    frames: str
    save_every_s: float
    command: str

    @property
    def processes(self) -> int:
        """Number of processes that train together."""
        return self.devices * self.nodes

    @property
    def state(self) -> Path:
        """File of the state to resume from."""
        return self.run / STATE


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's result, and what else its first command said.

    Attributes:
        data: Kind of data set.
        split: What is trained on.
        files: Number of frames, and a hash over names and sizes of their files.
        recipe_name: Name of the recipe.
        recipe: Its content, overrides applied.
        init: Hash of the checkpoint to begin with; None from scratch.
        precision: fp32, fp16 or bf16.
        processes: How many processes train together: each normalizes its own part of a batch.
        validate_on: What to validate on, as asked for; decides no weights, and neither do the two below.
        license: Terms of the weights; None where nothing was said.
        command: The command line; None in a run that began before it was kept.
    """

    data: str
    split: str
    files: str
    recipe_name: str
    recipe: Mapping[str, Any]
    init: str | None
    precision: str
    processes: int
    validate_on: str | None = None
    license: str | None = None
    command: str | None = None

    def write(self, run: Path) -> None:
        """Write it into the run's folder."""
        write_json(run / RUN_CONFIG, asdict(self))

    @classmethod
    def read(cls, run: Path) -> RunConfig:
        """Read it out of the run's folder.

        Raises:
            TrainingError: There is none.
        """
        try:
            return cls(**json.loads((run / RUN_CONFIG).read_text(encoding="utf-8")))
        except OSError as error:
            raise TrainingError(
                f"Expected an interrupted run in {run} to resume, found no {RUN_CONFIG} ({error.strerror}); "
                "check --out, or leave out --resume to begin one."
            ) from error
        except (ValueError, TypeError) as error:
            raise TrainingError(
                f"Expected {run / RUN_CONFIG} as this program writes it, got: {error}; begin anew."
            ) from error

    def check_same(self, before: RunConfig, run: Path) -> None:
        """Refuse to resume another run.

        Raises:
            TrainingError: They differ; it says in what.
        """
        old, new = _flat(asdict(before)), _flat(asdict(self))
        deciding = sorted((old.keys() | new.keys()) - {*_MAY_DIFFER})
        differing = [name for name in deciding if old.get(name) != new.get(name)]
        if differing:
            told = "; ".join(f"{name} was {old.get(name)!r} and is {new.get(name)!r}" for name in differing[:4])
            more = f" (and {len(differing) - 4} more)" if len(differing) > 4 else ""
            raise TrainingError(
                f"Expected the run in {run} to be resumed as it began, got: {told}{more}. "
                "Leave out what differs, or begin another run in another folder."
            )


def completed_from(request: Request, before: RunConfig) -> Request:
    """Return a request to resume; what it leaves open is as the run began, and the command is the first one."""
    return replace(
        request,
        split=request.split or before.split,
        validate_on=request.validate_on or before.validate_on,
        license=before.license if request.license is None else request.license,
        command=before.command or request.command,
    )


def recipe_of(request: Request, before: RunConfig | None) -> tuple[str, Recipe]:
    """Return name and recipe that the request means; what it leaves open is as in the run that is resumed.

    Raises:
        ParameterError: The recipe is none, or an override does not fit it.
    """
    if request.recipe is not None or before is None:
        name, recipe = load(request.recipe or DEFAULT)
        recipe = with_length(recipe, request.steps, request.epochs)
    else:
        name, recipe = before.recipe_name, Recipe.from_dict(before.recipe, f"the run in {request.run}")
        if request.steps is not None or request.epochs is not None:
            raise ParameterError(
                "Expected --recipe together with --steps or --epochs to compare with the run, got none."
            )
    if request.batch_size is not None:
        recipe = replace(recipe, batch_size=request.batch_size)
    if request.seed is not None:
        recipe = replace(recipe, seed=request.seed)
    # Once more through the checks of a file: the overrides are the user's, too.
    recipe = Recipe.from_dict(recipe.to_dict(), f"recipe {name}")
    if recipe.batch_size % request.processes:
        raise ParameterError(
            f"Expected a batch size that the {request.processes} processes can share, got {recipe.batch_size}; "
            "take a multiple with --batch-size."
        )
    return name, recipe


def fingerprint(data: DataSet) -> str:
    """Return the number of frames, and a hash over names and sizes of their files, wherever they lie."""
    digest = hashlib.sha256()
    for entry in data.entries():
        for path in (entry.image, entry.label):
            if path is not None:
                digest.update(f"{entry.name} {path.name} {path.stat().st_size}\n".encode())
    return f"{len(data)} frames, {digest.hexdigest()[:16]}"


def file_hash(path: Path) -> str:
    """Return a hash of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _flat(content: Any, name: str = "") -> dict[str, Any]:
    """Return nested mappings and lists as one mapping from dotted names to values."""
    if isinstance(content, Mapping):
        parts = [(f"{name}.{key}" if name else str(key), value) for key, value in content.items()]
    elif isinstance(content, (list, tuple)):
        parts = [(f"{name}[{number}]", value) for number, value in enumerate(content)]
    else:
        return {name: content}
    return {key: value for part, inner in parts for key, value in _flat(inner, part).items()}
