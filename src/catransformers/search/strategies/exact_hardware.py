"""The default strategy: learn accuracy alone, know everything else, try the model that promises most.

Every model of the space is a candidate with its exact least cost over all accelerators or, where two quantities are
minimised, with its whole exact hardware front; a Gaussian process says what accuracy to expect and how surely; the
model with the greatest expected hypervolume improvement is next. The search over candidates is exhaustive. Front
levels are posterior means, so that one lucky fine-tune does not hide a region.

Trials that are still running count as if they had given what the process predicts (kriging believer; Ginsbourger,
Le Riche and Carraro, 2010). Failed trials are not tried again, and what lies near them promises less (`success`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from scipy.special import expit

from catransformers.search import acquisition, acquisition3
from catransformers.search.pareto import staircase
from catransformers.search.problem import Observation, Proposal, SearchProblem
from catransformers.search.regions import layers
from catransformers.search.space import FloatArray, IntArray
from catransformers.search.strategies.sobol import next_sobol
from catransformers.search.strategies.start import start
from catransformers.search.strategies.success import success
from catransformers.search.strategies.surrogate import fit

FEWEST = 2  # finished trials that the process needs


class ExactHardware:
    """The strategy `exact-hardware`."""

    def __init__(self, problem: SearchProblem, seed: int) -> None:
        self.problem, self.seed = problem, seed
        self._start = start(problem, seed)

    @cached_property
    def _unit(self) -> FloatArray:
        """(models, dimensions) all models, scaled."""
        return self.problem.space.unit()

    @cached_property
    def _columns(self) -> acquisition3.Columns:
        assert self.problem.fronts is not None  # noqa: S101 - asked for only where there are two costs
        return acquisition3.Columns.of(self.problem.fronts, self._reference2)

    @property
    def _reference2(self) -> tuple[float, float]:
        first, second = self.problem.reference
        return first, second

    def ask(self, observed: Sequence[Observation], pending: Sequence[int], number: int) -> Proposal | None:
        """Choose the next model; see `Strategy.ask`."""
        taken = {*(trial.index for trial in observed), *pending}
        for proposal in self._start:
            if proposal.index not in taken:
                return proposal
        known = [(trial.index, trial.accuracy) for trial in observed if trial.accuracy is not None]
        if len(known) < FEWEST:
            model = next_sobol(self.problem, self.seed, taken)
            return None if model is None else Proposal(model, "Sobol", {"cost": float(self.problem.cost[model])})
        free = np.isfinite(self.problem.cost)
        free[list(taken)] = False
        candidates = np.flatnonzero(free)
        if not candidates.size:
            return None
        indices = np.array([index for index, _ in known], dtype=np.int64)
        failed = np.array([trial.index for trial in observed if trial.accuracy is None], dtype=np.int64)
        accuracy = np.array([a for _, a in known])
        return self._propose(indices, accuracy, failed, np.array(pending, np.int64), candidates, number)

    def _propose(
        self,
        known: IntArray,
        accuracy: FloatArray,
        failed: IntArray,
        pending: IntArray,
        candidates: IntArray,
        number: int,
    ) -> Proposal:
        unit = self._unit
        model = fit(unit[known], accuracy, seed=(self.seed + number) % 2**31)
        model = model.believing(unit[pending])
        trials = np.concatenate([known, pending])
        levels = expit(model.predict(unit[trials])[0])
        asked = unit[candidates]
        mean, deviation = model.predict(asked)
        chance = success(asked, unit[failed], unit[known])
        best, gain, hypervolume = self._most_promising(mean, deviation, candidates, trials, levels, chance)
        if gain == 0:  # all are dearer than the reference: learn where least is known
            best = int(deviation.argmax())
        chosen = int(candidates[best])
        low, middle, high = expit(mean[best] + deviation[best] * np.array([-1.0, 0.0, 1.0]))
        reason = {
            "predicted_accuracy": float(middle),
            "predicted_low": float(low),
            "predicted_high": float(high),
            "cost": float(self.problem.cost[chosen]),
            "expected_improvement": gain,
            "hypervolume": hypervolume,
            "candidates": float(candidates.size),
            "observations": float(known.size),
            "pending": float(pending.size),
        }
        if chance is not None:
            reason["chance_of_success"] = float(chance[best])
        return Proposal(chosen, "expected improvement", reason)

    def _most_promising(
        self,
        mean: FloatArray,
        deviation: FloatArray,
        candidates: IntArray,
        trials: IntArray,
        levels: FloatArray,
        chance: FloatArray | None,
    ) -> tuple[int, float, float]:
        """The best candidate's position and gain, and the hypervolume that it would add to."""
        problem = self.problem
        if problem.fronts is None:
            steps = staircase(levels, problem.cost[trials], problem.reference_cost, problem.floor)
            found = acquisition.most_promising(mean, deviation, problem.cost[candidates], steps, chance)
            return *found, steps.hypervolume
        known = layers(levels, [problem.fronts.of(int(k))[:2] for k in trials], self._reference2, problem.floor)
        found = acquisition3.most_promising(mean, deviation, candidates, problem.fronts, self._columns, known, chance)
        return *found, known.hypervolume
