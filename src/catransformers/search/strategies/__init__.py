"""Strategies: which model to try next. One small file each, registered by name, loaded when used.

A strategy is a pure function of the study's seed and of what it is told: the same observations and pending trials give
the same proposal, in this process or in another after a crash.

Most choose models, and leave the accelerators to the exact costs. A `DesignStrategy` chooses both, as the published way
does; it is told which accelerator each trial was run with.

Packages can add their own through the entry point group `catransformers.strategies`: a name, and a class that is made
from the problem and the seed (and, of a `DesignStrategy`, the costs).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pkgutil import resolve_name
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from catransformers.errors import InputError, Problem, unknown_name
from catransformers.search.problem import Observation, Proposal, Searched

if TYPE_CHECKING:
    from catransformers.search.costs.space import Costs

GROUP = "catransformers.strategies"


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


#: Name → module and class of the strategies that come with the package.
STRATEGIES: Mapping[str, str] = MappingProxyType(
    {
        name: f"catransformers.search.strategies.{place}"
        for name, place in {
            "exact-hardware": "exact_hardware:ExactHardware",
            "nsga2": "nsga2:Nsga2",
            "qnehvi": "qnehvi:QNehvi",
            "sobol": "sobol:Sobol",
        }.items()
    }
)


def known_strategies() -> dict[str, str]:
    """Name → module and class of all strategies, those of other packages included.

    Raises:
        InputError: if another package's strategy has the name of one that is there already.
    """
    found = dict(STRATEGIES)
    for entry in entry_points(group=GROUP):
        if found.setdefault(entry.name, entry.value) != entry.value:
            what = f"the strategy {entry.name!r} is defined twice: {found[entry.name]} and {entry.value}"
            raise InputError(Problem("search.strategy", what, hint="uninstall one of the packages"))
    return found


def strategy(name: str, problem: Searched, seed: int, costs: Costs | None = None) -> Strategy:
    """The strategy of that name for a problem.

    Args:
        name: one of `known_strategies`.
        problem: what is searched.
        seed: of everything random.
        costs: the costs that the problem was made of; strategies that choose designs need them.

    Raises:
        InputError: for an unknown name, of which the nearest one is offered; where an optional package is missing.
        ValueError: if a strategy that chooses designs gets no costs.
    """
    known = known_strategies()
    if name not in known:
        raise InputError(unknown_name("search.strategy", "strategy", name, known))
    kind: Any = resolve_name(known[name])
    if not issubclass(kind, DesignStrategy):
        made: Strategy = kind(problem, seed)
        return made
    if costs is None:
        raise ValueError(f"the strategy {name} chooses accelerators: give it the costs")
    chooser: Strategy = kind(problem, seed, costs)
    return chooser
