"""What every model of a space costs on every accelerator: exact, from a few hundred layer shapes, before any training.

Puts workloads, hardware and carbon together for a study (section 4.3 of the design, *separability*). The result knows
each model's cheapest accelerator, can list all designs of one model, and splits what a design saves into the part of
the hardware and the part of pruning.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from catransformers.carbon.scenario import Scenario
from catransformers.designs.limits import Limits, Shortfall, nearest_miss
from catransformers.designs.quantities import CarbonQuantile, Objectives
from catransformers.designs.table import Silicon, check_known
from catransformers.errors import InputError, Problem
from catransformers.hardware.accelerator import AcceleratorTable
from catransformers.hardware.cost import cost_tables
from catransformers.hardware.technology import Technology
from catransformers.search.costs.carbon_quantile import QuantileCarbon
from catransformers.search.costs.cheapest import cheapest
from catransformers.search.costs.designs import Attribution, DesignCost, Designs, designs, no_accelerator
from catransformers.search.costs.hardware_fronts import HardwareFronts, hardware_fronts
from catransformers.search.costs.many_costs import many_costs
from catransformers.search.costs.model_fronts import LeastCosts, ModelFronts, Staircases
from catransformers.search.costs.shapes import StackShapes, prefixes_of
from catransformers.search.costs.space import Costs
from catransformers.search.costs.stacks import StackCosts, Stacks
from catransformers.search.problem import REFERENCE_MARGIN, SearchProblem
from catransformers.search.space import FloatArray, IntArray, ModelSpace
from catransformers.units import GIGA
from catransformers.workloads import families
from catransformers.workloads.spec import ModelSpec

__all__ = ["Attribution", "DesignCost", "SpaceCost", "check_room", "space_cost"]


@dataclass(frozen=True)
class SpaceCost(Costs):
    """The cost side of a study whose models are all costed; see `space_cost`, which makes it.

    Args:
        each: the costs of the variants of each stack (of CLIP, the vision and the text encoder).
        parameters: (models,).
    """

    each: tuple[StackCosts, ...]
    parameters: IntArray

    @cached_property
    def stacks(self) -> Stacks:
        """What the models are made of."""
        return self.run(self.each)

    @cached_property
    def staircases(self) -> HardwareFronts | None:
        """Where two quantities are minimised, every model's exact front in them under the limits; takes a while."""
        names = self.objectives.minimise
        if len(names) != 2:
            return None
        found = hardware_fronts(
            self.stacks,
            self.silicon,
            (names[0], names[1]),
            self.limits.of_designs(),
        )
        if self.limits.parameters is not None:
            found = found.where(self.parameters <= self.limits.parameters)
        return found

    @cached_property
    def fronts(self) -> ModelFronts:
        """Every model's exact hardware front under the limits, in all that is minimised.

        Raises:
            InfeasibleError: if no model of the space has a feasible accelerator.
        """
        cost, names, limits = self.cost, self.objectives.minimise, self.limits.of_designs()
        if len(names) == 1:
            return LeastCosts(cost)
        if self.staircases is not None:
            return Staircases(cost, self.staircases)
        return many_costs(self.stacks, self.silicon, names, self.reference, limits, cost=cost)

    @property
    def _dearest(self) -> int:
        """The model that costs most of those that have a feasible accelerator."""
        return int(np.where(np.isfinite(self.cost), self.cost, -np.inf).argmax())

    @cached_property
    def reference(self) -> tuple[float, ...]:
        """The costs of the hypervolume's reference point, fixed by the study alone.

        1.1 × the dearest that the base model's own front is in each cost. Where the base breaks a limit, the model
        whose least first cost is greatest stands in for it; of two costs, the fronts of all models.

        Raises:
            InfeasibleError: if no model of the space has a feasible accelerator.
        """
        names = self.objectives.minimise
        own = self.base_designs.front(names)
        if own.size:
            ends = self.base_designs.points(own, names).max(axis=0)
        else:
            dearest = self._dearest  # says why, if nothing is feasible
            ends = self.front_of(dearest).points.max(axis=0) if self.staircases is None else self.staircases.dearest
        return tuple(REFERENCE_MARGIN * float(end) for end in ends)

    @cached_property
    def _cheapest(self) -> tuple[FloatArray, NDArray[np.int32]]:
        cost, accelerator = self._least(self.objective, self.limits.of_designs())
        if self.limits.parameters is not None:
            outside = self.parameters > self.limits.parameters
            cost, accelerator = np.where(outside, np.inf, cost), np.where(outside, np.int32(-1), accelerator)
        if not np.isfinite(cost).any():
            raise no_accelerator(self.space_shortfall(), "every model of the space")
        return cost, accelerator

    def _least(self, quantity: str, limits: dict[str, float]) -> tuple[FloatArray, NDArray[np.int32]]:
        return cheapest(self.stacks, self.silicon, quantity, limits)

    @property
    def cost(self) -> FloatArray:
        """(models,) the least objective over all feasible accelerators; infinite where there is none.

        Raises:
            InfeasibleError: if no model of the space has a feasible accelerator.
        """
        return self._cheapest[0]

    @property
    def accelerator(self) -> NDArray[np.int32]:
        """(models,) the row of the accelerator that gives `cost`; −1 where there is none."""
        return self._cheapest[1]

    @cached_property
    def feasible_models(self) -> int:
        """How many models have an accelerator that keeps the limits."""
        return int(np.isfinite(self.cost).sum())

    def cost_of(self, index: int) -> float:
        """The least objective of one model over all feasible accelerators; infinite where there is none."""
        return float(self.cost[index])

    def accelerator_of(self, index: int) -> int:
        """The row of the accelerator that gives `cost_of`; −1 where there is none."""
        return int(self.accelerator[index])

    def designs(self, index: int) -> Designs:
        """Model `index` on every accelerator of the table."""
        return designs(self.stacks.one(index), self.silicon, self.limits, parameters=int(self.parameters[index]))

    def problem(self) -> SearchProblem:
        """What a strategy gets to see.

        Raises:
            InfeasibleError: if no model of the space has a feasible accelerator.
        """
        return SearchProblem(self.space, self.fronts, self.reference, self.objectives, self.limits.floor)

    def space_shortfall(self) -> Shortfall:
        """Which limit no model of the space keeps; as `shortfall`, over all models."""
        if self.limits.parameters is not None and self.parameters.min() > self.limits.parameters:
            return Shortfall("parameters", int(self.parameters.min()), self.limits.parameters)
        allowed = np.ones(self.space.size, dtype=np.bool_)
        if self.limits.parameters is not None:
            allowed = self.parameters <= self.limits.parameters
        bounds = self.limits.of_designs()

        def least(name: str, limits: dict[str, float]) -> Shortfall:
            return Shortfall(name, float(self._least(name, limits)[0][allowed].min()), bounds[name])

        alone = [least(name, {other: bounds[other] for other in bounds if other != name}) for name in bounds]
        possible = [miss for miss in alone if np.isfinite(miss.demand)]
        return nearest_miss(possible, [] if possible else [least(name, {}) for name in bounds])


def space_cost(
    space: ModelSpace,
    table: AcceleratorTable,
    technology: Technology,
    scenario: Scenario,
    objective: str | Objectives = "carbon",
    limits: Limits = Limits(),
    *,
    cache_dir: str | None = None,
) -> SpaceCost:
    """Cost every layer shape and stem of the space on every accelerator.

    Each operator is mapped for the least product of energy and delay, as `estimate` does, whatever the objective.

    Args:
        space: the models.
        table: the accelerators.
        technology: what these are made of.
        scenario: where and how long they are made and used, and how many texts an image meets.
        objective: what is minimised: one quantity, or `Objectives` for two or for another quantile of carbon.
        limits: what no design may exceed.
        cache_dir: folder of a cache of operators' costs; None for none.

    Raises:
        InputError: if the DRAM is too small, or water is asked for on a grid whose factor is not known.
    """
    objectives = objective if isinstance(objective, Objectives) else Objectives((objective,))
    asked = {*objectives.minimise, *limits.of_designs()}
    check_known(asked, scenario)
    check_room(space, table, scenario)
    prefixes = prefixes_of(space.base)
    alone = ModelSpace(space.base, {name: (size,) for name, size in space.base.dimensions().items()})
    shapes = [StackShapes.of(models, prefix) for models in (space, alone) for prefix in prefixes]
    rows = [work for found in shapes for work in found.workloads]
    resident, streamed = cost_tables(rows, table, technology, cache_dir=cache_dir)
    latency = np.stack([streamed.latency_s, resident.latency_s])
    energy = np.stack([streamed.energy_j, resident.energy_j])
    ends = np.cumsum([len(found.workloads) for found in shapes])
    costs = [
        found.costs(latency[:, end - len(found.workloads) : end], energy[:, end - len(found.workloads) : end])
        for found, end in zip(shapes, ends, strict=True)
    ]
    return SpaceCost(
        space=space,
        table=table,
        technology=technology,
        scenario=scenario,
        objectives=objectives,
        limits=limits,
        each=tuple(costs[: len(prefixes)]),
        base_stacks=tuple(costs[len(prefixes) :]),
        silicon=priced(Silicon.of(table, technology, scenario), scenario, objectives.carbon_quantile),
        parameters=_parameters(shapes[: len(prefixes)], space.base),
    )


def _parameters(stacks: list[StackShapes], base: ModelSpec) -> IntArray:
    """(models,) parameters: what a variant of one stack saves does not depend on the other stacks."""
    whole = families.parameters(base)
    found = stacks[0].parameters
    for other in stacks[1:]:
        found = (found[:, None] + (other.parameters - whole)).ravel()
    return found


def priced(silicon: Silicon, scenario: Scenario, quantile: CarbonQuantile) -> Silicon:
    """The same accelerators under a scenario, carbon at a quantile of its range."""
    return silicon.under(scenario, None if quantile == "p50" else QuantileCarbon(silicon.area_m2, scenario, 0.95))


def check_room(space: ModelSpace, table: AcceleratorTable, scenario: Scenario) -> None:
    """A study's DRAM must hold its largest model wherever that does not fit on chip.

    Raises:
        InputError: if it does not.
    """
    work = families.workload(space.base)
    needed = work.weight_bytes + work.activation_bytes
    if scenario.dram == "never" or (needed <= table.global_bytes).all() or scenario.with_room(needed) is scenario:
        return
    enough = scenario.with_room(needed).dram_gb
    what = f"{scenario.dram_gb:g} GB do not hold the base model ({needed / GIGA:.3g} GB)"
    raise InputError(Problem("scenario.dram_gb", what, f"{enough:g} or more"))
