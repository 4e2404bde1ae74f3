"""Strategies: which model to try next. One small file each, registered by name, loaded when used.

A strategy is a pure function of the study's seed and of what it is told: the same observations and pending trials give
the same proposal, in this process or in another after a crash.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol

from catransformers.errors import InputError, unknown_name
from catransformers.search.problem import Observation, Proposal, SearchProblem


class Strategy(Protocol):
    """What every strategy can do."""

    def ask(self, observed: Sequence[Observation], pending: Sequence[int], number: int) -> Proposal | None:
        """Choose the model of trial `number`.

        Args:
            observed: finished trials, by number.
            pending: the models of trials that were started and whose results may not be seen, by number.
            number: of the trial to propose.

        Returns:
            A feasible model that is neither observed nor pending; None if there is none left.
        """
        ...


#: Name → module and class; the class takes the problem and the seed.
STRATEGIES = {
    "exact-hardware": ("catransformers.search.strategies.exact_hardware", "ExactHardware"),
    "sobol": ("catransformers.search.strategies.sobol", "Sobol"),
}


def strategy(name: str, problem: SearchProblem, seed: int) -> Strategy:
    """The strategy of that name for a problem.

    Raises:
        InputError: for an unknown name; the nearest one is offered.
    """
    if name not in STRATEGIES:
        raise InputError(unknown_name("search.strategy", "strategy", name, STRATEGIES))
    module, attribute = STRATEGIES[name]
    made: Strategy = getattr(import_module(module), attribute)(problem, seed)
    return made
