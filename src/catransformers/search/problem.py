"""What is searched for (a multi-objective problem, minimised), and what a strategy is told and answers.

A strategy sees a `SearchProblem`: the space and, for every model in it, what it costs at least over all accelerators:
one number where one quantity is minimised, the exact hardware front where two are; where there are more, what any
weighting of them comes to. Accuracy is the only unknown, and arrives as `Observation`s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from catransformers.designs.quantities import Objectives
from catransformers.search.costs.model_fronts import ModelFronts
from catransformers.search.space import FloatArray, ModelSpace


class Searched(Protocol):
    """What is searched for, as far as it can be said of spaces of any size; see `SearchProblem`."""

    @property
    def space(self) -> ModelSpace:
        """The models."""
        ...

    @property
    def objectives(self) -> Objectives:
        """What the costs are."""
        ...

    @property
    def reference(self) -> tuple[float, ...]:
        """The costs of the hypervolume's reference point."""
        ...

    @property
    def floor(self) -> float:
        """Its accuracy: what a member of the front must reach."""
        ...

    def feasible(self, index: int) -> bool:
        """Whether a model may be tried."""
        ...

    def cost_of(self, index: int) -> float:
        """The least first cost of a model over all accelerators; infinite where none is feasible."""
        ...

    def in_order(self) -> Iterator[int]:
        """All feasible models, if they can be gone through; else none."""
        ...


@dataclass(frozen=True)
class SearchProblem:
    """Maximise accuracy and minimise one or more costs over the models of `space`.

    Args:
        space: the models.
        fronts: every model's exact hardware front in the costs.
        reference: the costs of the hypervolume's reference point.
        objectives: what the costs are.
        floor: the accuracy of the reference point: what a member of the front must reach.
    """

    space: ModelSpace
    fronts: ModelFronts
    reference: tuple[float, ...]
    objectives: Objectives = field(default_factory=Objectives)
    floor: float = 0.0

    def __post_init__(self) -> None:
        if len(self.fronts) != self.space.size:
            raise ValueError(f"{len(self.fronts)} hardware fronts for {self.space.size} models")
        if len(self.reference) != len(self.objectives.minimise):
            raise ValueError(f"a reference of {len(self.reference)} costs for {self.objectives.minimise}")

    @property
    def cost(self) -> FloatArray:
        """(models,) least first cost of each; infinite where no accelerator is feasible."""
        return self.fronts.cost

    def feasible(self, index: int) -> bool:
        """Whether a model has a feasible accelerator."""
        return bool(np.isfinite(self.cost[index]))

    def cost_of(self, index: int) -> float:
        """The least first cost of a model; infinite where no accelerator is feasible."""
        return float(self.cost[index])

    def in_order(self) -> Iterator[int]:
        """All feasible models."""
        return (int(model) for model in np.flatnonzero(np.isfinite(self.cost)))

    @property
    def objective(self) -> str:
        """The first quantity that is minimised."""
        return self.objectives.first


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
        accelerator: where the strategy chose that too, its row in the study's table; None where the exact costs do.
    """

    index: int
    origin: str
    reason: Mapping[str, float] = field(default_factory=dict)
    accelerator: int | None = None


#: Each cost of the reference point is this much above the base model's, so that the base itself counts.
REFERENCE_MARGIN = 1.1
