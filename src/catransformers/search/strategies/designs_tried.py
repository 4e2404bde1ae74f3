"""What a strategy that chooses designs knows of its trials: the design of each, its costs, its accuracy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catransformers.search.costs.space import Costs
from catransformers.search.problem import Observation, Proposal, Searched
from catransformers.search.strategies import DesignStrategy
from catransformers.search.strategies.design_space import Design, DesignSpace
from catransformers.search.strategies.sobol import sobol_models


@dataclass(frozen=True)
class Tried:
    """The trials so far.

    Args:
        complete: designs of trials that gave an accuracy.
        accuracy: theirs.
        failed: designs of trials that failed.
        pending: designs of trials whose results may not be seen.
    """

    complete: tuple[Design, ...]
    accuracy: tuple[float, ...]
    failed: tuple[Design, ...]
    pending: tuple[Design, ...]

    @property
    def taken(self) -> frozenset[Design]:
        """All designs that are not to be tried again."""
        return frozenset((*self.complete, *self.failed, *self.pending))

    @property
    def hopeless(self) -> frozenset[int]:
        """Models that failed: another accelerator would not mend them."""
        return frozenset(model for model, _ in self.failed)


def tried(costs: Costs, observed: Sequence[Observation], pending: Sequence[int], ran_on: Sequence[int | None]) -> Tried:
    """The trials with their accelerators; see `DesignStrategy.ask`."""
    models = [*(trial.index for trial in observed), *pending]
    rows = [*ran_on, *[None] * (len(models) - len(ran_on))]
    designs = [(m, costs.accelerator_of(m) if row is None else row) for m, row in zip(models, rows, strict=True)]
    pairs = list(zip(observed, designs[: len(observed)], strict=True))
    known = [(trial.accuracy, design) for trial, design in pairs if trial.accuracy is not None]
    return Tried(
        complete=tuple(design for _, design in known),
        accuracy=tuple(accuracy for accuracy, _ in known),
        failed=tuple(design for trial, design in pairs if trial.accuracy is None),
        pending=tuple(designs[len(observed) :]),
    )


class DesignCosts:
    """The costs of single designs, each as a share of what bounds it: 1 is the limit or the reference point.

    Args:
        problem: what is minimised.
        costs: of all models on all accelerators.
    """

    def __init__(self, problem: Searched, costs: Costs) -> None:
        self.problem, self.costs = problem, costs
        self.minimised = problem.objectives.minimise
        self.limits = costs.limits.of_designs()
        bounds: dict[str, float] = dict(zip(self.minimised, problem.reference, strict=True))
        for name, bound in self.limits.items():
            bounds[name] = min(bound, bounds.get(name, np.inf))
        self.bounds = bounds
        self._known: dict[Design, dict[str, float]] = {}

    def of(self, design: Design) -> dict[str, float]:
        """By quantity, minimised ones first: value / bound."""
        if design not in self._known:
            model, row = design
            found = self.costs.designs(model)
            self._known[design] = {
                name: float(found.quantity(name)[row]) / bound for name, bound in self.bounds.items()
            }
        return self._known[design]

    def first_cost(self, design: Design) -> float:
        """What is minimised first, SI."""
        return self.of(design)[self.minimised[0]] * self.bounds[self.minimised[0]]

    def may_try(self, design: Design, known: Tried) -> bool:
        """Whether it is a new design of a model that has a feasible accelerator and did not fail."""
        return design not in known.taken and design[0] not in known.hopeless and self.problem.feasible(design[0])


def next_sobol_design(space: DesignSpace, costs: DesignCosts, seed: int, known: Tried) -> Proposal | None:
    """The first new design of a Sobol sequence; in the end, of models on their cheapest accelerators."""
    for design in space.sobol(seed):
        if costs.may_try(design, known):
            return proposal_of(design, costs, "Sobol", known)
    for model in sobol_models(costs.problem, seed):
        design = (model, costs.costs.accelerator_of(model))
        if costs.may_try(design, known):
            return proposal_of(design, costs, "Sobol", known)
    return None


class DesignProposer(DesignStrategy):
    """A strategy that proposes designs of its own, and Sobol points where it has none to offer."""

    def __init__(self, problem: Searched, seed: int, costs: Costs) -> None:
        super().__init__(problem, seed, costs)
        self._space = DesignSpace(problem.space, costs.table)
        self._costs = DesignCosts(problem, costs)

    def ask(
        self,
        observed: Sequence[Observation],
        pending: Sequence[int],
        number: int,
        *,
        ran_on: Sequence[int | None] = (),
    ) -> Proposal | None:
        """Choose the next design; see `DesignStrategy.ask`."""
        known = tried(self.costs, observed, pending, ran_on)
        return self._own(known, number) or next_sobol_design(self._space, self._costs, self.seed, known)

    @abstractmethod
    def _own(self, known: Tried, number: int) -> Proposal | None:
        """The strategy's own choice for trial `number`, if it has one."""


def proposal_of(design: Design, costs: DesignCosts, origin: str, known: Tried, **reason: float) -> Proposal:
    """A design as a proposal."""
    numbers = {
        "cost": costs.first_cost(design),
        **{f"{name}_of_bound": share for name, share in costs.of(design).items()},
        "observations": float(len(known.complete)),
        "pending": float(len(known.pending)),
        **reason,
    }
    return Proposal(design[0], origin, numbers, design[1])
