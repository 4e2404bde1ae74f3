"""The conformance kit of a search strategy.

    class TestMine(StrategyConformance):
        def name(self): return "my-strategy"  # as registered
        def costs(self): return space_cost(model_space(spec, …), accelerators, technology, scenario)

A strategy that passes can be killed and resumed at any trial, and a study with it comes to an end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from catransformers.search.costs.space import Costs
from catransformers.search.problem import Observation, Proposal
from catransformers.search.strategies import DesignStrategy, strategy

_TRIALS, _WORKERS, _FAILED = 8, 2, 3


class StrategyConformance(ABC):
    """All that a strategy must do. Inherit it, and say what `name` and `costs` are."""

    @abstractmethod
    def name(self) -> str:
        """The name that the strategy is registered by."""

    @abstractmethod
    def costs(self) -> Costs:
        """The costs of a small study, of at least a dozen feasible models; the same at each call."""

    def test_proposals_are_new_and_feasible(self) -> None:
        """Neither observed nor pending, with an accelerator that keeps the limits; a failed trial among them."""
        costs = self.costs()
        seen = set()
        for number, (proposal, _) in enumerate(self._tried(costs, seed=0)):
            assert proposal is not None, f"trial {number}: nothing proposed, and models are left"
            assert 0 <= proposal.index < costs.space.size, f"trial {number}: no model {proposal.index}"
            assert costs.accelerator_of(proposal.index) >= 0, f"trial {number}: no accelerator keeps the limits"
            design = (proposal.index, proposal.accelerator)
            assert design not in seen, f"trial {number}: {design} was proposed before"
            seen.add(design)

    def test_a_new_one_proposes_the_same(self) -> None:
        """What a restart does: made anew for each trial and told the same, it proposes the same."""
        costs = self.costs()
        for number, (proposal, told) in enumerate(self._tried(costs, seed=1)):
            again = self._ask(costs, 1, *told)
            assert again == proposal, f"trial {number}: {proposal}, and after a restart {again}"

    def test_it_ends(self) -> None:
        """When every design was tried there is nothing to propose, and no error."""
        costs = self.costs()
        models = [index for index in range(costs.space.size) if costs.accelerator_of(index) >= 0]
        designs: list[tuple[int, int | None]] = [(index, None) for index in models]
        if isinstance(strategy(self.name(), costs.problem(), 2, costs), DesignStrategy):
            designs = [(index, row) for index in models for row in range(len(costs.table))]
        observed = [Observation(index, _accuracy(costs, index)) for index, _ in designs]
        found = self._ask(costs, 2, observed, [], len(designs), [row for _, row in designs])
        assert found is None, f"all {len(designs)} designs were tried, and {found} is proposed"

    def _ask(
        self,
        costs: Costs,
        seed: int,
        observed: Sequence[Observation],
        pending: Sequence[int],
        number: int,
        ran_on: Sequence[int | None],
    ) -> Proposal | None:
        chooser = strategy(self.name(), costs.problem(), seed, costs)
        if isinstance(chooser, DesignStrategy):
            return chooser.ask(observed, pending, number, ran_on=ran_on)
        return chooser.ask(observed, pending, number)

    def _tried(
        self, costs: Costs, seed: int
    ) -> list[tuple[Proposal | None, tuple[list[Observation], list[int], int, list[int | None]]]]:
        """Some trials of two workers, one of which fails: each proposal, and what was told."""
        found: list[tuple[Proposal | None, tuple[list[Observation], list[int], int, list[int | None]]]] = []
        tried: list[Proposal] = []
        for number in range(_TRIALS):
            known = max(0, number - _WORKERS + 1)
            observed = [
                Observation(one.index, None if k == _FAILED else _accuracy(costs, one.index))
                for k, one in enumerate(tried[:known])
            ]
            told = (observed, [one.index for one in tried[known:]], number, [one.accelerator for one in tried])
            proposal = self._ask(costs, seed, *told)
            found.append((proposal, told))
            if proposal is None:
                break
            tried.append(proposal)
        return found


def _accuracy(costs: Costs, index: int) -> float:
    """A made-up accuracy that rises with every dimension."""
    sizes = costs.space.dimensions(index)
    base = costs.space.base.dimensions()
    return float(np.mean([0.9 * sizes[name] / base[name] for name in sizes]))
