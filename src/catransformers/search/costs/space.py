"""The cost side of a study: what a model costs on an accelerator, whichever way its space of models is gone through.

`space_cost.SpaceCost` knows every model of a space that can be enumerated, `large_space.LargeSpaceCost` works out
those that are asked for. What they answer of one model is the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from catransformers.carbon.scenario import Scenario
from catransformers.designs.limits import Limits
from catransformers.designs.quantities import Objectives
from catransformers.designs.table import Silicon
from catransformers.hardware.accelerator import AcceleratorTable
from catransformers.hardware.technology import Technology
from catransformers.search.costs.designs import Attribution, DesignCost, Designs, designs, no_accelerator, shortfall
from catransformers.search.costs.shapes import times_of
from catransformers.search.costs.stacks import StackCosts, Stacks
from catransformers.search.problem import Searched
from catransformers.search.space import FloatArray, ModelSpace
from catransformers.workloads import families


@dataclass(frozen=True, slots=True)
class HardwareFront:
    """A model's designs that no other accelerator beats in all costs.

    Args:
        points: (points, costs) SI, by rising first cost.
        design: the place of a point → its design.
    """

    points: FloatArray
    design: Callable[[int], DesignCost]


@dataclass(frozen=True)
class Costs(ABC):
    """What both ways share.

    Args:
        space: the models.
        table: the accelerators.
        technology: what these are made of.
        scenario: where and how long they are made and used.
        objectives: what is minimised.
        limits: what no design may exceed.
        base_stacks: what the base model is made of, one variant of each stack.
        silicon: area, buffers and embodied carbon of the accelerators.
    """

    space: ModelSpace
    table: AcceleratorTable
    technology: Technology
    scenario: Scenario
    objectives: Objectives
    limits: Limits
    base_stacks: tuple[StackCosts, ...]
    silicon: Silicon

    @property
    @abstractmethod
    def reference(self) -> tuple[float, ...]:
        """The costs of the hypervolume's reference point, fixed by the study alone.

        Raises:
            InfeasibleError: if no model has a feasible accelerator.
        """

    @property
    @abstractmethod
    def feasible_models(self) -> int | None:
        """How many models have an accelerator that keeps the limits; None where they are too many to look at."""

    @abstractmethod
    def cost_of(self, index: int) -> float:
        """The least objective of model `index` over all feasible accelerators; infinite where there is none."""

    @abstractmethod
    def accelerator_of(self, index: int) -> int:
        """The row of the accelerator that gives `cost_of`; −1 where there is none."""

    @abstractmethod
    def designs(self, index: int) -> Designs:
        """Model `index` on every accelerator of the table."""

    @abstractmethod
    def problem(self) -> Searched:
        """What a strategy gets to see.

        Raises:
            InfeasibleError: if no model has a feasible accelerator.
        """

    @property
    def objective(self) -> str:
        """The quantity that is minimised (first)."""
        return self.objectives.first

    def under(self, scenario: Scenario, limits: Limits, silicon: Silicon) -> Self:
        """The same models and accelerators under another scenario, and what follows from it."""
        return replace(self, scenario=scenario, limits=limits, silicon=silicon)

    def run(self, each: tuple[StackCosts, ...]) -> Stacks:
        """Some stacks, each as often as it runs in one inference of the scenario."""
        return Stacks(each, self._times)

    @cached_property
    def _times(self) -> tuple[float, ...]:
        return times_of(self.space.base, self.scenario.texts_per_image)

    def front_of(self, index: int) -> HardwareFront:
        """The exact hardware front of model `index` in all that is minimised, under the limits."""
        names = self.objectives.minimise
        if len(names) == 1:  # the least cost is known without a look at all designs
            least = np.array([[self.cost_of(index)]])
            return HardwareFront(least[np.isfinite(least[:, 0])], lambda _: self.best(index))
        found = self.designs(index)
        rows = found.front(names)
        return HardwareFront(found.points(rows, names), lambda place: self.design(found, int(rows[place])))

    @cached_property
    def base_designs(self) -> Designs:
        """The base model on every accelerator of the table."""
        return designs(
            self.run(self.base_stacks),
            self.silicon,
            self.limits,
            parameters=families.parameters(self.space.base),
        )

    def design(self, found: Designs, accelerator: int) -> DesignCost:
        """One of a model's designs, picked out."""
        return DesignCost(
            accelerator=self.table[accelerator],
            accelerator_index=accelerator,
            resident=bool(found.resident[accelerator]),
            feasible=bool(found.within[accelerator]),
            latency_s=float(found.latency_s[accelerator]),
            energy_j=float(found.energy_j[accelerator]),
            idle_w=float(found.idle_w[accelerator]),
            life_energy_j=float(found.life_energy_j[accelerator]),
            area_m2=float(found.area_m2[accelerator]),
            embodied_kg=float(found.embodied_kg[accelerator]),
            operational_kg=float(found.operational_kg[accelerator]),
            objective=found.of(self.objective, accelerator),
            further=tuple(found.of(name, accelerator) for name in self.objectives.minimise[1:]),
        )

    def best(self, index: int) -> DesignCost:
        """Model `index` on its cheapest feasible accelerator.

        Raises:
            InfeasibleError: if it has none: which limit, by how much.
        """
        found = self.designs(index)
        if self.silicon.carbon_at is not None and self.accelerator_of(index) >= 0:
            return self.design(found, self.accelerator_of(index))  # a quantile on all accelerators takes long
        chosen = found.best(self.objective)
        if chosen is None:
            missed = shortfall(found, self.limits)
            assert missed is not None  # noqa: S101 - `best` and `shortfall` look at the same designs
            raise no_accelerator(missed, f"the model {_shown(self.space.dimensions(index))}")
        return self.design(found, chosen)

    @cached_property
    def base_best(self) -> DesignCost:
        """The base model on its cheapest accelerator; limits are waived (`feasible` says so) if it keeps none."""
        chosen = self.base_designs.best(self.objective)
        if chosen is None:
            chosen = self.base_designs.best(self.objective, limited=False)
        assert chosen is not None  # noqa: S101 - a table is never empty
        return self.design(self.base_designs, chosen)

    def attribution(self, index: int) -> Attribution:
        """What model `index` on its best accelerator owes to hardware and to pruning.

        Raises:
            InfeasibleError: if the model has no feasible accelerator.
        """
        fastest = self.base_designs.best("latency")
        if fastest is None:
            fastest = int(self.base_designs.latency_s.argmin())
        return Attribution(
            base_fastest=self.design(self.base_designs, fastest),
            base_best=self.base_best,
            pruned_same=self.design(self.designs(index), self.base_best.accelerator_index),
            pruned_best=self.best(index),
        )


def _shown(dimensions: dict[str, int]) -> str:
    return ", ".join(f"{name}={value}" for name, value in dimensions.items())
