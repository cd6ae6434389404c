"""Training request, and the configuration of a run that it must match to resume it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from erfnet_ros.core.config_schema import build, decode, encode, to_json
from erfnet_ros.core.errors import ParameterError, TrainingError
from erfnet_ros.core.output_files import write_file
from erfnet_ros.data.datasets import DataSet
from erfnet_ros.training.config.recipe import DEFAULT, Recipe, load, with_length

RUN_CONFIG, STATE = "run.json", "state.ckpt"
"""Files in the run's folder: its configuration, and the state to resume from."""

_MAY_DIFFER = ("validate_on", "license", "command")
"""What may differ where a run is resumed."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Options of `erfnet train`; see its help. None leaves a choice to the resumed run or to the default."""

    kind: str
    root: Path
    run: Path
    command: str
    recipe: str | None = None
    split: str | None = None
    validate_on: str | None = None
    init: Path | None = None
    teacher: Path | None = None
    unlabeled: Path | None = None
    resume: bool = False
    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    seed: int | None = None
    license: str | None = None
    device: str = "auto"
    precision: str = "auto"
    devices: int = 1
    nodes: int = 1
    workers: int | None = None
    frames: str = "auto"
    save_every_s: float = 60.0

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
    """Settings that decide a run's result, and other options of its first command.

    Attributes:
        files: See `fingerprint`.
        recipe: With overrides applied.
        init: Hash of the checkpoint to start from; None from scratch.
        teacher, unlabeled: Hash of the teacher's file, and number of unlabeled frames; None without.
        processes: Number of processes that train together: each normalizes its own part of a batch.
        validate_on: Option --validate-on, which decides no weights, and neither do the two below.
    """

    data: str
    split: str
    files: str
    recipe_name: str
    recipe: Recipe
    init: str | None
    precision: str
    processes: int
    validate_on: str | None = None
    license: str | None = None
    command: str | None = None
    teacher: str | None = None
    unlabeled: int | None = None

    def write(self, run: Path) -> None:
        """Write it into the run's folder."""
        write_file(run / RUN_CONFIG, to_json(self))

    @classmethod
    def read(cls, run: Path) -> RunConfig:
        """Read it from the run's folder; raise TrainingError where there is none, or it is damaged."""
        path = run / RUN_CONFIG
        try:
            return decode(cls, json.loads(path.read_text(encoding="utf-8")), str(path))
        except OSError as error:
            raise TrainingError(
                f"Expected an interrupted run in {run} to resume, found no {RUN_CONFIG} ({error.strerror}); "
                "check --out, or leave out --resume to start a new one."
            ) from error
        except (ValueError, ParameterError) as error:
            raise TrainingError(
                f"Expected {path} as 'erfnet train' writes it, got: {error}; start a new run."
            ) from error

    def check_same(self, before: RunConfig, run: Path) -> None:
        """Raise TrainingError, which says in what they differ, where another run would be resumed."""
        old, new = _flat(encode(before)), _flat(encode(self))
        deciding = sorted((old.keys() | new.keys()) - {*_MAY_DIFFER})
        differing = [name for name in deciding if old.get(name) != new.get(name)]
        if differing:
            shown = "; ".join(f"{name} was {old.get(name)!r} and is {new.get(name)!r}" for name in differing[:4])
            more = f" (and {len(differing) - 4} more)" if len(differing) > 4 else ""
            raise TrainingError(
                f"Expected the run in {run} to be resumed with its first settings, got: {shown}{more}. "
                "Leave out what differs, or start another run in another folder."
            )


def completed_from(request: Request, before: RunConfig) -> Request:
    """Return a request to resume, completed with the options of the first command, and with that command."""
    return replace(
        request,
        split=request.split or before.split,
        validate_on=request.validate_on or before.validate_on,
        license=before.license if request.license is None else request.license,
        command=before.command or request.command,
    )


def recipe_of(request: Request, before: RunConfig | None) -> tuple[str, Recipe]:
    """Return name and recipe that a request asks for, or else those of the run that is resumed."""
    if request.recipe is not None or before is None:
        name, recipe = load(request.recipe or DEFAULT)
        recipe = with_length(recipe, request.steps, request.epochs)
    else:
        name, recipe = before.recipe_name, before.recipe
        if request.steps is not None or request.epochs is not None:
            raise ParameterError(
                "Expected --recipe together with --steps or --epochs to compare with the run, got none."
            )
    overrides = {key: value for key in ("batch_size", "seed") if (value := getattr(request, key)) is not None}
    # The overrides are the user's, too, and so checked as a file is.
    recipe = build(Recipe, {**encode(recipe), **overrides}, f"recipe {name}")
    if recipe.batch_size % request.processes:
        raise ParameterError(
            f"Expected a batch size that the {request.processes} processes can share evenly, got {recipe.batch_size}; "
            f"set a multiple of {request.processes} with --batch-size."
        )
    return name, recipe


def fingerprint(data: DataSet) -> str:
    """Return the number of frames, and a hash over names and sizes of their files, whatever folder they are in."""
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
