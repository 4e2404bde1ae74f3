"""The way through a space all of whose models are costed: the EHVI of each, by the acquisition of its number of costs.

In three costs and more every proposal looks in one direction, where all are one exact cost; see `scalarisation` for the
directions, and why the improvement that is expected in one of them is that of the whole hypervolume on average. Exact
scalar costs are worked out for those models that could be the best.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np

from catransformers.search.acquisition import one_cost, two_costs
from catransformers.search.acquisition.column_bounds import Columns
from catransformers.search.acquisition.scalarisation import direction
from catransformers.search.costs.many_costs import ManyCosts, OneWay
from catransformers.search.costs.model_fronts import LeastCosts, ModelFronts, Staircases
from catransformers.search.geometry.pareto import staircase
from catransformers.search.geometry.regions import layers
from catransformers.search.problem import SearchProblem
from catransformers.search.space import FloatArray, IntArray
from catransformers.search.strategies.posterior import Choice, Posterior

F = TypeVar("F", bound=ModelFronts)


@dataclass(frozen=True, slots=True)
class Candidates:
    """The models that a trial may choose among, and what is expected of them.

    Args:
        models: (n,) their indices.
        mean, deviation: (n,) of the posterior of their accuracy.
        probability: (n,) of success; None where no trial has failed.
    """

    models: IntArray
    mean: FloatArray
    deviation: FloatArray
    probability: FloatArray | None


#: The best candidate's position and gain, the hypervolume that it would add to, and numbers behind it.
Best = tuple[int, float, float, tuple[tuple[str, float], ...]]


class Exhaustive(ABC, Generic[F]):
    """The model of greatest expected hypervolume improvement, among all.

    Args:
        problem: the models.
        fronts: theirs.
        seed: of the study.
    """

    def __init__(self, problem: SearchProblem, fronts: F, seed: int) -> None:
        self.problem, self.fronts, self.seed = problem, fronts, seed

    @cached_property
    def _unit(self) -> FloatArray:
        """(models, dimensions) all models, scaled."""
        return self.problem.space.unit()

    def find(self, posterior: Posterior, number: int) -> Choice | None:
        """The choice for trial `number`; None if there is no model left."""
        free = np.isfinite(self.problem.cost)
        free[list(posterior.taken)] = False
        candidates = np.flatnonzero(free)
        if not candidates.size:
            return None
        points = self._unit[candidates]
        some = Candidates(candidates, *posterior.predict(points), posterior.success_probability(points))
        best, gain, hypervolume, details = self._best(some, posterior, number)
        if gain == 0:  # all are dearer than the reference: learn where least is known
            best = int(some.deviation.argmax())
        return Choice(int(candidates[best]), gain, hypervolume, candidates.size, details)

    @abstractmethod
    def _best(self, some: Candidates, posterior: Posterior, number: int) -> Best:
        """The best of some candidates, for trial `number`."""


class InOneCost(Exhaustive[LeastCosts]):
    """EHVI over a staircase of accuracy and the one cost."""

    def _best(self, some: Candidates, posterior: Posterior, number: int) -> Best:
        cost = self.fronts.cost
        (reference,) = self.problem.reference
        steps = staircase(posterior.levels, cost[posterior.trials], reference, self.problem.floor)
        best, gain = one_cost.most_promising(some.mean, some.deviation, cost[some.models], steps, some.probability)
        return best, gain, steps.hypervolume, ()


class InTwoCosts(Exhaustive[Staircases]):
    """EHVI over layers of accuracy in the plane of the two costs."""

    @cached_property
    def _reference(self) -> tuple[float, float]:
        first, second = self.problem.reference
        return first, second

    @cached_property
    def _columns(self) -> Columns:
        return Columns.of(self.fronts.steps, self._reference)

    def _best(self, some: Candidates, posterior: Posterior, number: int) -> Best:
        steps = self.fronts.steps
        own = [steps.of(int(k))[:2] for k in posterior.trials]
        known = layers(posterior.levels, own, self._reference, self.problem.floor)
        best, gain = two_costs.most_promising(
            some.mean, some.deviation, some.models, steps, self._columns, known, some.probability
        )
        return best, gain, known.hypervolume, ()


class InOneDirection(Exhaustive[ManyCosts]):
    """EHVI of one scalar cost, that of the trial's direction."""

    def _best(self, some: Candidates, posterior: Posterior, number: int) -> Best:
        towards = direction(self.seed, number, len(self.problem.reference))
        way = OneWay(self.fronts, towards)
        steps = staircase(posterior.levels, way.cost(posterior.trials), 1.0, self.problem.floor)
        at_least = way.cost_at_least()[some.models]
        best, gain = one_cost.most_promising(
            some.mean, some.deviation, at_least, steps, some.probability, lambda k: way.cost(some.models[k])
        )
        names = self.problem.objectives.minimise
        weights = tuple((f"weight_of_{name}", float(w)) for name, w in zip(names, towards, strict=True))
        return best, gain, steps.hypervolume, weights


def exhaustive(problem: SearchProblem, seed: int) -> InOneCost | InTwoCosts | InOneDirection:
    """The way through a space, by the kind of its models' fronts."""
    match problem.fronts:
        case LeastCosts() as least:
            return InOneCost(problem, least, seed)
        case Staircases() as stairs:
            return InTwoCosts(problem, stairs, seed)
        case ManyCosts() as many:
            return InOneDirection(problem, many, seed)
    raise TypeError(f"there is no acquisition for {type(problem.fronts).__name__}")
