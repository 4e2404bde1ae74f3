"""Strategies: which model to try next. One small file each, registered by name, loaded when used.

A strategy is a pure function of the study's seed and of what it is told: the same observations and pending trials give
the same proposal, in this process or in another after a crash.

Most choose models, and leave the accelerators to the exact costs. A `DesignStrategy` chooses both, as the published way
does; it is told which accelerator each trial was run with.

To add one: a class that is made from the problem and the seed (and, of a `DesignStrategy`, the costs), and its row in
`catransformers.registry`, or in another package's entry points, group `catransformers.strategies`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from catransformers.registry import STRATEGIES
from catransformers.search.problem import Observation, Proposal, Searched

if TYPE_CHECKING:
    from catransformers.search.costs.space import Costs


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


class DesignStrategy(ABC):
    """A strategy that chooses a model and its accelerator, and is told the accelerators of its trials.

    Args:
        problem: the models and the exact least costs.
        seed: of the study.
        costs: what each model costs on each accelerator.
    """

    def __init__(self, problem: Searched, seed: int, costs: Costs) -> None:
        self.problem, self.seed, self.costs = problem, seed, costs

    @abstractmethod
    def ask(
        self,
        observed: Sequence[Observation],
        pending: Sequence[int],
        number: int,
        *,
        ran_on: Sequence[int | None] = (),
    ) -> Proposal | None:
        """Choose the model of trial `number` and its accelerator.

        Args:
            observed, pending, number: as of `Strategy.ask`.
            ran_on: the accelerators of the observed trials, then of the pending ones; None, as where the sequence is
                too short, stands for the model's own cheapest one.

        Returns:
            A design that is neither observed nor pending, of a model that has some feasible accelerator; the design
            itself may break a limit. None if there is none left.
        """


def strategy(name: str, problem: Searched, seed: int, costs: Costs | None = None) -> Strategy:
    """The strategy of that name for a problem.

    Args:
        name: one of `STRATEGIES`.
        problem: what is searched.
        seed: of everything random.
        costs: the costs that the problem was made of; strategies that choose designs need them.

    Raises:
        InputError: for an unknown name, of which the nearest one is offered; where an optional package is missing.
        ValueError: if a strategy that chooses designs gets no costs.
    """
    kind: Any = STRATEGIES.find(name)
    if not issubclass(kind, DesignStrategy):
        made: Strategy = kind(problem, seed)
        return made
    if costs is None:
        raise ValueError(f"the strategy {name} chooses accelerators: give it the costs")
    chooser: Strategy = kind(problem, seed, costs)
    return chooser
