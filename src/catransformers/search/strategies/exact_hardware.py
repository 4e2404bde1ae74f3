"""The default strategy: learn accuracy alone, know everything else, try the model that promises most.

Every model of the space is a candidate with its exact least cost over all accelerators; a Gaussian process says what
accuracy to expect and how surely; the model with the greatest expected hypervolume improvement is next. The search
over candidates is exhaustive. Front levels are posterior means, so that one lucky fine-tune does not hide a region.

Trials that are still running count as if they had given what the process predicts (kriging believer; Ginsbourger,
Le Riche and Carraro, 2010). Failed trials are not tried again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from catransformers.search.acquisition import most_promising
from catransformers.search.pareto import staircase
from catransformers.search.problem import Observation, Proposal, SearchProblem
from catransformers.search.space import IntArray
from catransformers.search.strategies.sobol import next_sobol
from catransformers.search.strategies.start import start
from catransformers.search.strategies.surrogate import fit

FEWEST = 2  # finished trials that the process needs
CHUNK = 1 << 18  # models predicted at a time


class ExactHardware:
    """The strategy `exact-hardware`."""

    def __init__(self, problem: SearchProblem, seed: int) -> None:
        self.problem, self.seed = problem, seed
        self._start = start(problem, seed)

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
        return self._propose(indices, np.array([a for _, a in known]), np.array(pending, np.int64), candidates, number)

    def _propose(
        self,
        known: IntArray,
        accuracy: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
        pending: IntArray,
        candidates: IntArray,
        number: int,
    ) -> Proposal:
        space, cost = self.problem.space, self.problem.cost
        model = fit(space.unit(known), accuracy, seed=(self.seed + number) % 2**31)
        model = model.believing(space.unit(pending))
        trials = np.concatenate([known, pending])
        levels = expit(model.predict(space.unit(trials))[0])
        front = staircase(levels, cost[trials], self.problem.reference_cost)
        parts = np.array_split(candidates, -(-candidates.size // CHUNK))
        mean, deviation = np.concatenate([model.predict(space.unit(part)) for part in parts], axis=1)
        best, gain = most_promising(mean, deviation, cost[candidates], front)
        if gain == 0:  # all are dearer than the reference: learn where least is known
            best = int(deviation.argmax())
        chosen = int(candidates[best])
        low, middle, high = expit(mean[best] + deviation[best] * np.array([-1.0, 0.0, 1.0]))
        reason = {
            "predicted_accuracy": float(middle),
            "predicted_low": float(low),
            "predicted_high": float(high),
            "cost": float(cost[chosen]),
            "expected_improvement": gain,
            "hypervolume": front.hypervolume,
            "candidates": float(candidates.size),
            "observations": float(known.size),
            "pending": float(pending.size),
        }
        return Proposal(chosen, "expected improvement", reason)
