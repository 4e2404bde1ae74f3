"""Events of a running study, for whoever watches it (a progress bar, a log, a notebook)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from catransformers.study.records import EvaluationRecord, ProposalRecord, TrialRecord


@dataclass(frozen=True, slots=True)
class DataChecked:
    """Before a new study begins its data are read once: `done` of `samples` so far."""

    done: int
    samples: int


@dataclass(frozen=True, slots=True)
class StudyChecked:
    """The study's inputs can be used; its models are costed now, the first time for up to a minute."""


@dataclass(frozen=True, slots=True)
class TrialsAdopted:
    """Trials of other studies were taken over: how many now, and how many were left out, by reason."""

    trials: int
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class StudyOpened:
    """The study is checked and costed, and work begins: `finished` of `trials` trials were there already."""

    trials: int
    finished: int
    models: int
    feasible_models: int | None
    accelerators: int


@dataclass(frozen=True, slots=True)
class MeterChosen:
    """How the energy of the work is metered here: the meters' names or `off`, and why there is no better one."""

    method: str
    quality: Literal["measured", "estimated"]
    missing: str


@dataclass(frozen=True, slots=True)
class WaitStarted:
    """Nothing begins for now: why, and until when (in the grid's local time)."""

    reason: str
    until: datetime


@dataclass(frozen=True, slots=True)
class WaitEnded:
    """Work begins, or goes on, after waiting or instead of it: why."""

    reason: str


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """A trial runs."""

    proposal: ProposalRecord


@dataclass(frozen=True, slots=True)
class TrialFinished:
    """A trial is committed, complete or failed; `finished` are now."""

    trial: TrialRecord
    finished: int


@dataclass(frozen=True, slots=True)
class FinalEvaluationStarted:
    """The search is over; `models` models meet the test pool, the base among them."""

    models: int


@dataclass(frozen=True, slots=True)
class ModelEvaluated:
    """A model's accuracy beside the trials' is known: the base's on the validation pool, or any on the test pool."""

    evaluation: EvaluationRecord


Event = (
    DataChecked
    | StudyChecked
    | TrialsAdopted
    | StudyOpened
    | MeterChosen
    | WaitStarted
    | WaitEnded
    | TrialStarted
    | TrialFinished
    | FinalEvaluationStarted
    | ModelEvaluated
)
Listener = Callable[[Event], None]


def silent(_: Event) -> None:
    """The listener that does not listen."""
