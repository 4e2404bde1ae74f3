"""The default strategy: Bayesian optimisation of accuracy alone, by exact expected hypervolume improvement (EHVI).

Accuracy is learnt, everything else is known, and the model that promises most is tried.

Every model of the space is a candidate with its exact least cost over all accelerators or, where two quantities are
minimised, with its whole exact hardware front; a Gaussian process says what accuracy to expect and how surely; the
model with the greatest expected hypervolume improvement is next. The search over candidates is exhaustive where the
space can be gone through, and by a pool and local search where it is larger (`pool`). Front levels are posterior means,
so that one lucky fine-tune does not hide a region. More costs than two are weighed into one, anew for every proposal
(`one_direction`).

Trials that are still running count as if they had given what the process predicts (`posterior`). Failed trials are not
tried again, and what lies near them promises less (`training_success`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.special import expit

from catransformers.search.acquisition import one_cost, two_costs
from catransformers.search.acquisition.column_bounds import Columns
from catransformers.search.costs.large_space import LargeProblem
from catransformers.search.geometry.pareto import staircase
from catransformers.search.geometry.regions import layers
from catransformers.search.problem import Observation, Proposal, Searched, SearchProblem
from catransformers.search.space import FloatArray, IntArray
from catransformers.search.strategies.initial_design import start
from catransformers.search.strategies.one_direction import OneDirection
from catransformers.search.strategies.pool import PoolSearch
from catransformers.search.strategies.posterior import Choice, Posterior, posterior_of
from catransformers.search.strategies.sobol import next_sobol

FEWEST = 2  # finished trials that the process needs


class Finder(Protocol):
    """A way through the models of a space to the one that promises most."""

    def find(self, posterior: Posterior, number: int) -> Choice | None:
        """The choice for trial `number`; None if there is no model left."""
        ...


class ExactHardware:
    """The strategy `exact-hardware`."""

    def __init__(self, problem: Searched, seed: int) -> None:
        self.problem, self.seed = problem, seed
        self._finder: Finder
        if isinstance(problem, LargeProblem):
            self._finder = PoolSearch(problem, seed)
        elif isinstance(problem, SearchProblem):
            self._finder = Exhaustive(problem, seed) if problem.many is None else OneDirection(problem, seed)
        else:
            raise TypeError(f"there is no way through a {type(problem).__name__}")

    def ask(self, observed: Sequence[Observation], pending: Sequence[int], number: int) -> Proposal | None:
        """Choose the next model; see `Strategy.ask`."""
        taken = {*(trial.index for trial in observed), *pending}
        for proposal in start(self.problem, self.seed):
            if proposal.index not in taken:
                return proposal
        if sum(trial.accuracy is not None for trial in observed) < FEWEST:
            model = next_sobol(self.problem, self.seed, taken)
            return None if model is None else Proposal(model, "Sobol", {"cost": self.problem.cost_of(model)})
        posterior = posterior_of(self.problem.space, observed, pending, seed=(self.seed + number) % 2**31)
        choice = self._finder.find(posterior, number)
        return None if choice is None else self._proposal(choice, posterior)

    def _proposal(self, choice: Choice, posterior: Posterior) -> Proposal:
        """A choice with the numbers behind it."""
        point = self.problem.space.unit(np.array([choice.model]))
        (mean,), (deviation,) = posterior.predict(point)
        low, middle, high = expit(mean + deviation * np.array([-1.0, 0.0, 1.0]))
        reason = {
            "predicted_accuracy": float(middle),
            "predicted_low": float(low),
            "predicted_high": float(high),
            "cost": self.problem.cost_of(choice.model),
            "expected_improvement": choice.gain,
            "hypervolume": choice.hypervolume,
            "candidates": float(choice.candidates),
            "observations": float(posterior.known.size),
            "pending": float(posterior.pending.size),
            **dict(choice.details),
        }
        success_probability = posterior.success_probability(point)
        if success_probability is not None:
            reason["chance_of_success"] = float(success_probability[0])
        return Proposal(choice.model, "expected improvement", reason)


class Exhaustive:
    """The way through a space all of whose models are costed: look at each."""

    def __init__(self, problem: SearchProblem, seed: int) -> None:
        self.problem, self.seed = problem, seed

    @cached_property
    def _unit(self) -> FloatArray:
        """(models, dimensions) all models, scaled."""
        return self.problem.space.unit()

    @cached_property
    def _columns(self) -> Columns:
        assert self.problem.fronts is not None  # noqa: S101 - asked for only where there are two costs
        return Columns.of(self.problem.fronts, self._reference2)

    @property
    def _reference2(self) -> tuple[float, float]:
        first, second = self.problem.reference
        return first, second

    def find(self, posterior: Posterior, number: int) -> Choice | None:
        """The choice for trial `number`; None if there is no model left."""
        free = np.isfinite(self.problem.cost)
        free[list(posterior.taken)] = False
        candidates = np.flatnonzero(free)
        if not candidates.size:
            return None
        points = self._unit[candidates]
        mean, deviation = posterior.predict(points)
        best, gain, hypervolume = self._most_promising(
            mean, deviation, candidates, posterior.trials, posterior.levels, posterior.success_probability(points)
        )
        if gain == 0:  # all are dearer than the reference: learn where least is known
            best = int(deviation.argmax())
        return Choice(int(candidates[best]), gain, hypervolume, candidates.size)

    def _most_promising(
        self,
        mean: FloatArray,
        deviation: FloatArray,
        candidates: IntArray,
        trials: IntArray,
        levels: FloatArray,
        success_probability: FloatArray | None,
    ) -> tuple[int, float, float]:
        """The best candidate's position and gain, and the hypervolume that it would add to."""
        problem = self.problem
        if problem.fronts is None:
            steps = staircase(levels, problem.cost[trials], problem.reference_cost, problem.floor)
            found = one_cost.most_promising(mean, deviation, problem.cost[candidates], steps, success_probability)
            return *found, steps.hypervolume
        known = layers(levels, [problem.fronts.of(int(k))[:2] for k in trials], self._reference2, problem.floor)
        found = two_costs.most_promising(
            mean, deviation, candidates, problem.fronts, self._columns, known, success_probability
        )
        return *found, known.hypervolume
