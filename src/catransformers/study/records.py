"""What a study remembers, as plain records. Numbers that are not finite are refused where a record is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from catransformers.errors import IntegrityError

Status = Literal["complete", "failed"]
Pool = Literal["validation", "test"]
EnergyJob = Literal["search", "base", "trial", "test", "train"]


@dataclass(frozen=True, slots=True)
class ProposalRecord:
    """Which model a trial was to try, and why; written before the trial starts.

    Args:
        number: of the trial, from 0.
        dimensions: of the model, by name.
        origin: what chose it, in words.
        reason: the numbers behind the choice.
        accelerator: row of the one that was chosen with the model; None where the exact costs choose it.
        adopted: whether the trial is another study's, taken over instead of being run.
    """

    number: int
    dimensions: Mapping[str, int]
    origin: str
    reason: Mapping[str, float] = field(default_factory=dict)
    accelerator: int | None = None
    adopted: bool = False

    def __post_init__(self) -> None:
        finite(f"proposal {self.number}", self.reason)


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """What came of a trial.

    Args:
        number: of the trial, from 0.
        dimensions: of the model.
        status: `complete`, or `failed` (then `error` says why and accuracy is None).
        accuracy: of the fine-tuned model on the validation pool, 0 … 1.
        accuracy_se: its standard error.
        metrics: further numbers by name.
        parameters: of the model.
        macs: of one inference; of CLIP, of one image and one text.
        seconds: that the trial took.
        error: why it failed; empty otherwise.
        proposal: why the model was tried.
        untrained: whether it was not run, because no accelerator keeps the limits with its model.
    """

    number: int
    dimensions: Mapping[str, int]
    status: Status
    accuracy: float | None
    accuracy_se: float | None
    metrics: Mapping[str, float]
    parameters: int
    macs: int
    seconds: float
    error: str
    proposal: ProposalRecord
    untrained: bool = False

    def __post_init__(self) -> None:
        name = f"trial {self.number}"
        finite(name, {"accuracy": self.accuracy, "accuracy_se": self.accuracy_se, "seconds": self.seconds})
        finite(name, self.metrics)
        if (self.status == "complete") != (self.accuracy is not None):
            raise IntegrityError(f"{name} is {self.status} with accuracy {self.accuracy}")
        if self.untrained and self.status != "failed":
            raise IntegrityError(f"{name} is {self.status} and was not trained")


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """An evaluation beside the trials': of the base model, or of a trial's model on the test pool.

    Args:
        subject: number of the trial; None is the base model as it came.
        pool: which pool.
        accuracy: 0 … 1.
        standard_error: of the accuracy.
        difference: accuracy less the base model's on the same pool, pair by pair; None for the base itself.
        difference_se: standard error of the difference.
        metrics: further numbers by name.
    """

    subject: int | None
    pool: Pool
    accuracy: float
    standard_error: float
    difference: float | None = None
    difference_se: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = {
            "accuracy": self.accuracy,
            "standard_error": self.standard_error,
            "difference": self.difference,
            "difference_se": self.difference_se,
        }
        finite(f"{self.pool} evaluation of {self.subject}", {**numbers, **self.metrics})


@dataclass(frozen=True, slots=True)
class EnergyRecord:
    """What one attempt at a piece of a study's work took from the socket, as far as its meter knows.

    Args:
        attempt: a name of its own; a later record of the same attempt takes the place of the earlier.
        job: `search` is the loop itself (costing, choosing), `train` a final training, the others what a worker does.
        subject: number of the trial; None for the base model and the loop.
        energy_j: typical value.
        low_j: least value that the meter's uncertainty allows.
        high_j: greatest such value.
        measured_j: how much of `energy_j` was measured, not estimated.
        quality: of the whole: `measured` only if all of it was.
        method: the meters.
        detail: how it came about, in words.
        seconds: wall time that it covers.
        ended: whether the attempt came to an end of its own; if not, what followed the last record is not known.
    """

    attempt: str
    job: EnergyJob
    subject: int | None
    energy_j: float
    low_j: float
    high_j: float
    measured_j: float
    quality: Literal["measured", "estimated"]
    method: str
    detail: str
    seconds: float
    ended: bool

    def __post_init__(self) -> None:
        names = ("energy_j", "low_j", "high_j", "measured_j", "seconds")
        finite(f"energy of {self.job} {self.subject}", {name: getattr(self, name) for name in names})
        if not 0 <= self.low_j <= self.energy_j <= self.high_j or not 0 <= self.measured_j <= self.energy_j:
            raise IntegrityError(f"energy of {self.job} {self.subject}: not 0 ≤ low ≤ typical ≤ high")


def finite(what: str, numbers: Mapping[str, float | None]) -> None:
    """Refuse numbers that are not finite.

    Raises:
        IntegrityError: naming every one that is not.
    """
    wrong = [name for name, value in numbers.items() if value is not None and not math.isfinite(value)]
    if wrong:
        raise IntegrityError(f"{what}: not a finite number: {', '.join(sorted(wrong))}")
