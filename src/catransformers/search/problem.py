"""What is searched for: the objective and limits of a study, and what a strategy is told and answers.

A strategy sees a `SearchProblem`: the space and, for every model in it, the exact least cost over all accelerators.
Accuracy is the only unknown, and arrives as `Observation`s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np

from catransformers.search.space import FloatArray, ModelSpace

Objective = Literal["carbon", "latency", "energy"]

#: The quantities that can be minimised or limited, with their SI unit.
UNITS: Mapping[str, str] = {"carbon": "kgCO2e", "latency": "s", "energy": "J", "area": "m2"}


@dataclass(frozen=True, slots=True)
class Limits:
    """What no design may exceed; None is no limit. SI units.

    Args:
        latency: of one inference, s.
        energy: of one inference, J.
        area: of the die, m2.
        carbon: of making and using one device, kgCO2e.
        parameters: of the model.
    """

    latency: float | None = None
    energy: float | None = None
    area: float | None = None
    carbon: float | None = None
    parameters: int | None = None

    def of_designs(self) -> dict[str, float]:
        """The limits that depend on the accelerator, by quantity."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "parameters"}
        return {name: float(value) for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class SearchProblem:
    """Maximise accuracy and minimise `cost` over the models of `space`.

    Args:
        space: the models.
        cost: (models,) least cost of each over all feasible accelerators; infinite where there is none.
        reference_cost: the reference point of the hypervolume is (accuracy 0, this cost).
        objective: what the cost is.
    """

    space: ModelSpace
    cost: FloatArray
    reference_cost: float
    objective: Objective = "carbon"

    def __post_init__(self) -> None:
        if self.cost.shape != (self.space.size,):
            raise ValueError(f"{self.cost.shape} costs for {self.space.size} models")


@dataclass(frozen=True, slots=True)
class Observation:
    """What a finished trial says: the model's number, its accuracy (None if the trial failed) and standard error."""

    index: int
    accuracy: float | None
    standard_error: float | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """The model to try next, and why.

    Args:
        index: number of the model in the space.
        origin: what chose it: `largest model`, `smallest model`, `centre`, `Sobol`, `expected improvement`.
        reason: numbers behind the choice by name, all finite: `predicted_accuracy`, `predicted_low` and `_high`
            (one standard deviation either way), `cost`, `expected_improvement`, `candidates`, …
    """

    index: int
    origin: str
    reason: Mapping[str, float] = field(default_factory=dict)


#: The reference cost is this much above the base model's, so that the base itself counts.
REFERENCE_MARGIN = 1.1


def reference_cost(base_cost: float, cost: FloatArray) -> float:
    """The cost of the reference point: 1.1 × the base model's on its best accelerator.

    Where the base breaks a limit, the dearest feasible model stands in for it. Fixed by the study alone, never by
    its trials, so that hypervolumes of different strategies and moments compare.
    """
    if np.isfinite(base_cost):
        return REFERENCE_MARGIN * base_cost
    return REFERENCE_MARGIN * float(np.max(cost[np.isfinite(cost)]))
