"""The default strategy: Bayesian optimisation of accuracy alone, by exact expected hypervolume improvement (EHVI).

Accuracy is learnt, everything else is known, and the model that promises most is tried.

Every model of the space is a candidate with its exact least cost over all accelerators or, where two quantities are
minimised, with its whole exact hardware front; a Gaussian process says what accuracy to expect and how surely; the
model with the greatest expected hypervolume improvement is next. The search over candidates is exhaustive where the
space can be gone through, and by a pool and local search where it is larger (`pool`). Front levels are posterior means,
so that one lucky fine-tune does not hide a region. More costs than two are weighed into one, anew for every proposal
(`exhaustive`).

Trials that are still running count as if they had given what the process predicts (`posterior`). Failed trials are not
tried again, and what lies near them promises less (`training_success`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy.special import expit

from catransformers.search.costs.large_space import LargeProblem
from catransformers.search.problem import Observation, Proposal, Searched, SearchProblem
from catransformers.search.strategies.exhaustive import exhaustive
from catransformers.search.strategies.initial_design import start
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
            self._finder = exhaustive(problem, seed)
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
