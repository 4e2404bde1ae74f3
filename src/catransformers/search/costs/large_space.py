"""The cost side of a study whose models are too many to go through: 10^12 of them, say.

A model is costed when it is asked for, exactly and over the whole table of accelerators, so that all that is said of a
trial (costs, fronts, the report) is as exact as on a small space. What cannot be known is not claimed: how many models
keep the limits, or the best of all. Models that might be tried are ranked before that by quicker costs, on the
accelerators that matter on a coarse space (`screening`); the *ranking* uses those, a trial's numbers the whole table.

A model is tried only if one of the accelerators that the ranking looks at keeps all limits with it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Self

import numpy as np

from catransformers.carbon.scenario import Scenario
from catransformers.designs.limits import Limits
from catransformers.designs.quantities import Objectives
from catransformers.designs.table import Silicon
from catransformers.errors import InfeasibleError
from catransformers.hardware.accelerator import AcceleratorTable
from catransformers.hardware.cost import cost_tables
from catransformers.hardware.technology import Technology
from catransformers.search.costs.cheapest import cheapest
from catransformers.search.costs.designs import Designs, designs, no_accelerator
from catransformers.search.costs.enumerated import SpaceCost, space_cost
from catransformers.search.costs.screening import Screen
from catransformers.search.costs.shapes import StackShapes, prefixes_of
from catransformers.search.costs.space import Costs
from catransformers.search.costs.stacks import StackCosts
from catransformers.search.space import COUNTS, FloatArray, ModelSpace
from catransformers.workloads import families

MOST_MODELS = 20_000_000  # that are gone through
MOST_BYTES = 1 << 32  # of the costs of their layers on all accelerators
COARSE_MODELS = 50_000
FINEST = 5  # values of a dimension in the coarse space
KEPT_BYTES = 1 << 28  # of single models' exact costs


def enumerable(space: ModelSpace, accelerators: int) -> bool:
    """Whether every model of a space can be costed: in time, and in memory."""
    if space.size > MOST_MODELS:
        return False
    shapes = sum(
        prod(
            len(options)
            for name, options in space.values.items()
            if name.startswith(prefix) and name != f"{prefix}layers"
        )
        for prefix in prefixes_of(space.base)
    )
    return shapes * accelerators * 64 <= MOST_BYTES  # two residencies of two costs, held twice for a moment


def thinned(space: ModelSpace) -> ModelSpace:
    """A coarse space: of each dimension a few values, the least and the greatest among them; of depths these two."""
    for finest in range(FINEST, 1, -1):
        coarse = ModelSpace(
            space.base,
            {
                name: _some(options, 2 if name.rpartition(".")[2] == COUNTS[0] else finest)
                for name, options in space.values.items()
            },
        )
        if coarse.size <= COARSE_MODELS:
            break
    return coarse


def _some(options: tuple[int, ...], count: int) -> tuple[int, ...]:
    """At most `count` of some rising values, evenly spread between the least and the greatest."""
    wanted = np.linspace(options[0], options[-1], count)
    return tuple(sorted({options[int(np.abs(np.array(options) - value).argmin())] for value in wanted}))


class ExactModels:
    """Single models on the whole table of accelerators; the last ones are kept.

    Args:
        space: the models.
        table: the accelerators.
        technology: what these are made of.
        cache_dir: folder of a cache of operators' costs; None for none.
    """

    def __init__(
        self, space: ModelSpace, table: AcceleratorTable, technology: Technology, cache_dir: str | None
    ) -> None:
        self._space, self._table, self._technology, self._cache_dir = space, table, technology, cache_dir
        self._prefixes = prefixes_of(space.base)
        self._kept: OrderedDict[tuple[int, ...], tuple[StackCosts, int]] = OrderedDict()

    def stacks(self, index: int) -> tuple[tuple[StackCosts, ...], int]:
        """All stacks of a model, one variant each, and its parameters."""
        dimensions = self._space.dimensions(index)
        found = [self._stack(dimensions, prefix) for prefix in self._prefixes]
        whole = families.parameters(self._space.base)
        parameters = whole + sum(own - whole for _, own in found)
        return tuple(costs for costs, _ in found), parameters

    def _stack(self, dimensions: dict[str, int], prefix: str) -> tuple[StackCosts, int]:
        own = {name: size for name, size in dimensions.items() if name.startswith(prefix)}
        key = (self._prefixes.index(prefix), *own.values())
        if key not in self._kept:
            shapes = StackShapes.of(ModelSpace(self._space.base, {name: (size,) for name, size in own.items()}), prefix)
            resident, streamed = cost_tables(shapes.workloads, self._table, self._technology, cache_dir=self._cache_dir)
            latency = np.stack([streamed.latency_s, resident.latency_s])
            energy = np.stack([streamed.energy_j, resident.energy_j])
            self._kept[key] = shapes.costs(latency, energy), int(shapes.parameters[0])
            most = max(2 * len(self._prefixes), KEPT_BYTES // (2 * latency.nbytes))
            while len(self._kept) > most:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


@dataclass(frozen=True)
class LargeSpaceCost(Costs):
    """The cost side of a study on a large space; see `large_space_cost`, which makes it.

    Args:
        coarse: the costs of a coarse space of the same base model, on all accelerators.
        models: single models of the large space on all accelerators.
    """

    coarse: SpaceCost
    models: ExactModels

    @cached_property
    def reference(self) -> tuple[float, ...]:
        """As of `SpaceCost`; where the base breaks a limit, from the coarse space's models."""
        return self.coarse.reference

    @property
    def feasible_models(self) -> None:
        """Not known: there are too many to look at."""
        return

    @cached_property
    def _least(self) -> dict[int, tuple[float, int]]:
        return {}

    def _cheapest(self, index: int) -> tuple[float, int]:
        if index not in self._least:
            stacks, parameters = self.models.stacks(index)
            found = np.inf, -1
            if self.limits.parameters is None or parameters <= self.limits.parameters:
                limits = self.limits.of_designs()
                cost, accelerator = cheapest(self.run(stacks), self.silicon, self.objective, limits)
                found = float(cost[0]), int(accelerator[0])
            self._least[index] = found
        return self._least[index]

    def cost_of(self, index: int) -> float:
        """The least objective of one model over all accelerators of the table, exactly."""
        return self._cheapest(index)[0]

    def accelerator_of(self, index: int) -> int:
        """The row of the accelerator that gives `cost_of`; −1 where there is none."""
        return self._cheapest(index)[1]

    def designs(self, index: int) -> Designs:
        """Model `index` on every accelerator of the table."""
        stacks, parameters = self.models.stacks(index)
        return designs(self.run(stacks), self.silicon, self.limits, parameters=parameters)

    def under(self, scenario: Scenario, limits: Limits, silicon: Silicon) -> Self:
        """The same under another scenario."""
        coarse = self.coarse.under(scenario, limits, silicon)
        return replace(self, scenario=scenario, limits=limits, silicon=silicon, coarse=coarse)

    def problem(self) -> LargeProblem:
        """What a strategy gets to see.

        Raises:
            InfeasibleError: if no model of the coarse space has a feasible accelerator.
        """
        try:
            _ = self.coarse.cost
        except InfeasibleError as error:
            subject = f"every one of {self.coarse.space.size:,} models spread over the space"
            raise no_accelerator(self.coarse.space_shortfall(), subject) from error
        return LargeProblem(self)


class LargeProblem:
    """What is searched for on a large space: as `problem.SearchProblem`, one model at a time.

    Args:
        costs: the cost side of the study.
    """

    def __init__(self, costs: LargeSpaceCost) -> None:
        self.costs = costs
        self.space, self.objectives = costs.space, costs.objectives
        self.reference, self.floor = costs.reference, costs.limits.floor
        self.screen = Screen(costs.space, costs.coarse)
        self._points: dict[int, FloatArray] = {}

    @property
    def objective(self) -> str:
        """The first quantity that is minimised."""
        return self.objectives.first

    def feasible(self, index: int) -> bool:
        """Whether a model may be tried: one of the few accelerators that rank it keeps all limits."""
        return bool(self.screen.feasible(np.array([index]))[0])

    def cost_of(self, index: int) -> float:
        """The least first cost of a model over the whole table; infinite where no accelerator is feasible."""
        return self.costs.cost_of(index)

    def points_of(self, index: int) -> FloatArray:
        """A model's exact hardware front over the whole table, (points, costs)."""
        if index not in self._points:
            self._points[index] = self.costs.front_of(index).points
        return self._points[index]

    def in_order(self) -> Iterator[int]:
        """All feasible models, if they can be gone through: here none."""
        return iter(())


def large_space_cost(
    space: ModelSpace,
    table: AcceleratorTable,
    technology: Technology,
    scenario: Scenario,
    objective: str | Objectives = "carbon",
    limits: Limits = Limits(),
    *,
    cache_dir: str | None = None,
) -> LargeSpaceCost:
    """Cost a coarse space within a large one on every accelerator; models of the large one follow when asked for.

    Args:
        space, table, technology, scenario, objective, limits, cache_dir: as of `space_cost`.

    Raises:
        InputError: as `space_cost`.
    """
    coarse = space_cost(thinned(space), table, technology, scenario, objective, limits, cache_dir=cache_dir)
    return LargeSpaceCost(
        space=space,
        table=table,
        technology=technology,
        scenario=scenario,
        objectives=coarse.objectives,
        limits=limits,
        base_stacks=coarse.base_stacks,
        silicon=coarse.silicon,
        coarse=coarse,
        models=ExactModels(space, table, technology, cache_dir),
    )
