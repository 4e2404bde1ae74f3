"""The way through a space in three costs and more: every proposal looks in one direction, where all are one exact cost.

See `scalarisation` for the directions, and why the improvement that is expected in one of them is that of the whole
hypervolume on average. All models are looked at; exact costs are worked out for those that could be the best.
"""

from __future__ import annotations

import numpy as np

from catransformers.search.acquisition import one_cost
from catransformers.search.acquisition.scalarisation import direction
from catransformers.search.costs.many_costs import ManyCosts, OneWay
from catransformers.search.geometry.pareto import staircase
from catransformers.search.problem import SearchProblem
from catransformers.search.strategies.posterior import Choice, Posterior


class OneDirection:
    """The direction of a trial, and the model that promises most in it.

    Args:
        problem: with `many` costs.
        seed: of the study's directions.
    """

    def __init__(self, problem: SearchProblem, seed: int) -> None:
        if problem.many is None:
            raise ValueError("fewer than three costs are searched exactly")
        self.problem, self.seed = problem, seed
        self._many: ManyCosts = problem.many
        self._unit = problem.space.unit()

    def find(self, posterior: Posterior, number: int) -> Choice | None:
        """The choice for trial `number`; None if there is no model left."""
        problem = self.problem
        free = np.isfinite(problem.cost)
        free[list(posterior.taken)] = False
        candidates = np.flatnonzero(free)
        if not candidates.size:
            return None
        towards = direction(self.seed, number, len(problem.reference))
        way = OneWay(self._many, towards)
        steps = staircase(posterior.levels, way.cost(posterior.trials), 1.0, problem.floor)
        points = self._unit[candidates]
        mean, deviation = posterior.predict(points)
        success_probability = posterior.success_probability(points)
        best, gain = one_cost.most_promising(
            mean,
            deviation,
            way.cost_at_least()[candidates],
            steps,
            success_probability,
            lambda some: way.cost(candidates[some]),
        )
        if gain == 0:  # all are dearer than the reference: learn where least is known
            best = int(deviation.argmax())
        names = problem.objectives.minimise
        weights = tuple((f"weight_of_{name}", float(w)) for name, w in zip(names, towards, strict=True))
        return Choice(int(candidates[best]), gain, steps.hypervolume, candidates.size, weights)
