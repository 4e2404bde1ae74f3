"""Scrambled Sobol points over the model space: even coverage, no learning (Sobol, 1967; Owen, 1998)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from scipy.stats import qmc

from catransformers.search.problem import Observation, Proposal, Searched

DRAWS = 1024  # points drawn at a time; a power of two keeps the sequence balanced
ROUNDS = 16  # after so many draws without a new model, the rest is taken in order


def sobol_models(problem: Searched, seed: int) -> Iterator[int]:
    """Feasible models in the order of a scrambled Sobol sequence, with repeats, at first; then all in their order.

    Of a space that is too large to go through the sequence alone is looked at, as far as it was drawn.
    """
    space = problem.space
    shape = np.array(space.shape)
    points = qmc.Sobol(len(shape), scramble=True, rng=np.random.default_rng(seed))
    for _ in range(ROUNDS):
        places = np.minimum((points.random(DRAWS) * shape).astype(np.int64), shape - 1)
        models = np.ravel_multi_index(tuple(places.T), space.shape)
        yield from (model for model in models.tolist() if problem.feasible(model))
    yield from problem.in_order()


def next_sobol(problem: Searched, seed: int, taken: Collection[int]) -> int | None:
    """The first Sobol model that is not taken; None if all feasible ones are."""
    return next((model for model in sobol_models(problem, seed) if model not in taken), None)


class Sobol:
    """The strategy `sobol`: the sequence's next feasible model that was not tried yet."""

    def __init__(self, problem: Searched, seed: int) -> None:
        self.problem, self.seed = problem, seed

    def ask(self, observed: Sequence[Observation], pending: Sequence[int], number: int) -> Proposal | None:
        """Choose the next model; see `Strategy.ask`."""
        taken = {*(trial.index for trial in observed), *pending}
        model = next_sobol(self.problem, self.seed, taken)
        if model is None:
            return None
        return Proposal(model, "Sobol", {"cost": self.problem.cost_of(model)})
