"""Result of a training, in memory and in its folder: accuracies, losses, energy, and whose weights they are."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from catransformers.errors import InputError, IntegrityError, Problem
from catransformers.execution.training.plan import FACTS, MODEL, RESULT
from catransformers.study.records import EnergyRecord

SCHEMA = 1

#: A value and its standard error, which is infinite where nothing can be said of it.
Measured = tuple[float, float]


@dataclass(frozen=True, slots=True)
class PoolResult:
    """A model on a pool, before and after its training, and its base; each an accuracy and its standard error.

    Args:
        before: of what the training began with.
        after: of what came out.
        base: of the base; None where the base is what is trained.
        difference: after less base (less before, without one), pair by pair.
        metrics: further numbers of what came out.
    """

    before: Measured
    after: Measured
    base: Measured | None
    difference: Measured
    metrics: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what is not known is None."""
        pairs = {name: plain(getattr(self, name)) for name in ("before", "after", "base", "difference")}
        return {**pairs, "metrics": {name: _finite(value) for name, value in self.metrics.items()}}


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What came of a training.

    Args:
        folder: where it lies.
        label: what was trained.
        steps: optimiser steps.
        seconds: of training.
        losses: mean loss of the first and of the last tenth of the steps, nats.
        pools: `validation` and `test`.
        metric: what accuracy is.
        energy: what each attempt took; empty where it is not metered.
        sha256: of the trained weights' file.
    """

    folder: Path
    label: str
    steps: int
    seconds: float
    losses: tuple[float, float]
    pools: dict[str, PoolResult]
    metric: str
    energy: tuple[EnergyRecord, ...]
    sha256: str

    @property
    def energy_j(self) -> float | None:
        """Energy of all attempts; None where it is not metered."""
        return sum(record.energy_j for record in self.energy) if self.energy else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, the `--json` object; see `docs/json.md`."""
        sums = {
            key: sum(getattr(record, name) for record in self.energy) if self.energy else None
            for key, name in (("energy_j_low", "low_j"), ("energy_j_high", "high_j"), ("measured_j", "measured_j"))
        }
        return {
            "schema": SCHEMA,
            "label": self.label,
            "folder": str(self.folder),
            "model": str(self.folder / MODEL),
            "sha256": self.sha256,
            "metric": self.metric,
            "steps": self.steps,
            "training_s": self.seconds,
            "first_loss": self.losses[0],
            "last_loss": self.losses[1],
            "pools": {name: pool.to_dict() for name, pool in self.pools.items()},
            "energy_j": self.energy_j,
            **sums,
            "energy": [asdict(record) for record in self.energy],
        }


def plain(measured: Measured | None) -> dict[str, float | None] | None:
    """A value and its standard error for JSON."""
    return None if measured is None else {"value": measured[0], "standard_error": _finite(measured[1])}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def read_result(folder: Path) -> TrainingResult:
    """The result of a finished training.

    Raises:
        InputError: if there is none in the folder.
        IntegrityError: if it is damaged, or the model is not the one that was trained.
    """
    path = folder / RESULT
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        what = "there is no finished training in this folder"
        raise InputError(Problem(str(folder), what, "a folder that `train` made")) from error
    except ValueError as error:
        raise IntegrityError(f"{path}: damaged, not JSON: {error}") from error
    try:
        result = TrainingResult(
            folder=folder,
            label=str(data["label"]),
            steps=int(data["steps"]),
            seconds=float(data["training_s"]),
            losses=(float(data["first_loss"]), float(data["last_loss"])),
            pools={name: _pool(value) for name, value in data["pools"].items()},
            metric=str(data["metric"]),
            energy=tuple(EnergyRecord(**record) for record in data["energy"]),
            sha256=str(data["sha256"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"{path}: damaged: {error!r}") from error
    _verify(folder / MODEL, result.sha256)
    return result


def _pool(value: Mapping[str, Any]) -> PoolResult:
    base = None if value["base"] is None else _measured(value["base"])
    metrics = {name: math.nan if number is None else float(number) for name, number in value["metrics"].items()}
    return PoolResult(
        _measured(value["before"]), _measured(value["after"]), base, _measured(value["difference"]), metrics
    )


def _measured(value: Mapping[str, Any]) -> Measured:
    error = value["standard_error"]
    return float(value["value"]), math.inf if error is None else float(error)


def _verify(path: Path, sha256: str) -> None:
    """That a trained model is there, and is the one of its result."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise IntegrityError(f"{path}: cannot be read: {error.strerror}; remove the folder to train again") from error
    if digest != sha256:
        raise IntegrityError(f"{path}: damaged, SHA-256 is {digest}, not {sha256}; remove the folder to train again")


def read_facts(folder: Path) -> dict[str, Any]:
    """What the training in a folder is.

    Raises:
        IntegrityError: if that cannot be read.
    """
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path}: damaged: {error}") from error
    if not isinstance(facts, dict) or "model" not in facts:
        raise IntegrityError(f"{path}: damaged: not a training's")
    return facts
