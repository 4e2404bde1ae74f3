"""The way through a space that is too large to look at every model: the acquisition of `exact-hardware` over a pool.

The trials' own costs, and with them the front that is to be improved, are exact over the whole table of accelerators;
models that might be tried are ranked by `screening`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from catransformers.search.acquisition import one_cost, two_costs
from catransformers.search.acquisition.scalarisation import direction, reach, scalar_cost
from catransformers.search.costs.hardware_fronts import HardwareFronts
from catransformers.search.costs.large_space import LargeProblem
from catransformers.search.costs.screening import Costed
from catransformers.search.geometry.pareto import front, staircase
from catransformers.search.geometry.regions import layers
from catransformers.search.space import FloatArray, IntArray
from catransformers.search.strategies.local_search import Found, View, local_search
from catransformers.search.strategies.posterior import Choice, Posterior

INCUMBENTS = 16  # trials whose neighbours belong to the pool

#: (mean, deviation, costs) of some models → their expected improvements.
_Improvement = Callable[[FloatArray, FloatArray, Costed], FloatArray]


class PoolSearch:
    """A `Finder` for large spaces."""

    def __init__(self, problem: LargeProblem, seed: int) -> None:
        self.problem, self.seed = problem, seed

    def find(self, posterior: Posterior, number: int) -> Choice | None:
        """The choice for trial `number`; None if no model was found that may be tried."""
        space, names = self.problem.space, self.problem.objectives.minimise
        towards = direction(self.seed, number, len(names)) if len(names) > 2 else None
        improvement, hypervolume = self._improvement(posterior, towards)

        def gain(models: IntArray, costed: Costed) -> FloatArray:
            points = space.unit(models)
            success_probability = posterior.success_probability(points)
            found = improvement(*posterior.predict(points), costed)
            return found if success_probability is None else found * success_probability

        def ignorance(models: IntArray, costed: Costed) -> FloatArray:
            feasible = costed.feasible if isinstance(costed, HardwareFronts) else np.isfinite(costed)
            return np.where(feasible, posterior.predict(space.unit(models))[1], 0.0)

        found = self._search(View(self.problem.screen, gain, towards), posterior, number)
        if found is not None and found.gain == 0:  # all are dearer than the reference: learn where least is known
            other = self._search(View(self.problem.screen, ignorance, towards), posterior, number)
            found = None if other is None else Found(other.model, 0.0, other.looked_at, other.costed)
        if found is None:
            return None
        details = [("finely_costed", float(found.costed))]
        if towards is not None:
            details += [(f"weight_of_{name}", float(weight)) for name, weight in zip(names, towards, strict=True)]
        return Choice(found.model, found.gain, hypervolume, found.looked_at, tuple(details))

    def _search(self, view: View, posterior: Posterior, number: int) -> Found | None:
        incumbents = self._incumbents(posterior)
        return local_search(self.problem.space, view, posterior.taken, incumbents, (self.seed, number))

    def _along(self, towards: FloatArray, model: int) -> float:
        """A trial's scalar cost in a direction, exactly; see `many_costs.ManyCosts.cost`."""
        shares = self.problem.points_of(model) / np.array(self.problem.reference)
        return float(scalar_cost(reach(shares, towards[None]), towards)[0])

    def _incumbents(self, posterior: Posterior) -> list[int]:
        """Trials on the front of accuracy and first cost; some of them, evenly spread, if they are many."""
        members = front(posterior.levels, [self.problem.cost_of(int(model)) for model in posterior.trials])
        some = np.unique(np.linspace(0, members.size - 1, min(INCUMBENTS, members.size)).round().astype(np.int64))
        return [int(model) for model in posterior.trials[members[some]]]

    def _improvement(self, posterior: Posterior, towards: FloatArray | None) -> tuple[_Improvement, float]:
        """Expected improvement over what is known, and the hypervolume of that."""
        problem, trials = self.problem, posterior.trials.tolist()
        if len(problem.reference) != 2:
            cost = [problem.cost_of(model) if towards is None else self._along(towards, model) for model in trials]
            end = problem.reference[0] if towards is None else 1.0
            steps = staircase(posterior.levels, cost, end, problem.floor)

            def over_steps(mean: FloatArray, deviation: FloatArray, costed: Costed) -> FloatArray:
                assert not isinstance(costed, HardwareFronts)  # noqa: S101 - there is one cost
                return one_cost.expected_improvement(mean, deviation, costed, steps)

            return over_steps, steps.hypervolume
        reference = (problem.reference[0], problem.reference[1])
        known = layers(
            posterior.levels,
            [(own[:, 0], own[:, 1]) for own in map(problem.points_of, trials)],
            reference,
            problem.floor,
        )

        def over_layers(mean: FloatArray, deviation: FloatArray, costed: Costed) -> FloatArray:
            assert isinstance(costed, HardwareFronts)  # noqa: S101 - there are two costs
            return two_costs.expected_improvement(mean, deviation, np.arange(mean.size), costed, known)

        return over_layers, known.hypervolume
