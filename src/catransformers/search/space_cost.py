"""What every model of a space costs on every accelerator: exact, from a few hundred layer shapes, before any training.

Puts workloads, hardware and carbon together for a study (section 4.3 of the design, *separability*). The result knows
each model's cheapest accelerator, can list all designs of one model, and splits what a design saves into the part of
the hardware and the part of pruning.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catransformers.carbon.footprint import footprint
from catransformers.carbon.scenario import Scenario
from catransformers.errors import InputError, Problem
from catransformers.hardware.accelerator import Accelerator, AcceleratorTable
from catransformers.hardware.area import die_area
from catransformers.hardware.cost import cost_tables
from catransformers.hardware.power import power_table
from catransformers.hardware.technology import Technology
from catransformers.search.cheapest import cheapest
from catransformers.search.designs import Designs, Shortfall, designs, shortfall
from catransformers.search.problem import Limits, Objective, SearchProblem, reference_cost
from catransformers.search.shapes import StackShapes, prefixes_of
from catransformers.search.space import FloatArray, IntArray, ModelSpace
from catransformers.search.stack_costs import RESIDENT, STREAMED, Silicon, StackCosts
from catransformers.units import GIGA
from catransformers.workloads import families
from catransformers.workloads.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class DesignCost:
    """One design and all that it costs under the study's scenario.

    Args:
        accelerator: the accelerator.
        accelerator_index: its row in the study's accelerator table.
        resident: whether the weights stay on chip (then there is no DRAM).
        feasible: whether all limits of the study are kept.
        latency_s: of one inference.
        energy_j: of one inference.
        idle_w: power while waiting for the next inference.
        life_energy_j: of one inference and the wait for the next one.
        area_m2: of the die.
        embodied_kg: kgCO2e of making the device.
        operational_kg: kgCO2e of using it for life.
        objective: the value of what the study minimises, SI.
    """

    accelerator: Accelerator
    accelerator_index: int
    resident: bool
    feasible: bool
    latency_s: float
    energy_j: float
    idle_w: float
    life_energy_j: float
    area_m2: float
    embodied_kg: float
    operational_kg: float
    objective: float

    @property
    def total_kg(self) -> float:
        """Embodied and operational, kgCO2e."""
        return self.operational_kg + self.embodied_kg

    def to_dict(self) -> dict[str, Any]:
        """Plain data with stable keys."""
        return {
            "accelerator": self.accelerator.to_dict(),
            "weights_on_chip": self.resident,
            "feasible": self.feasible,
            "latency_s": self.latency_s,
            "energy_j": self.energy_j,
            "idle_w": self.idle_w,
            "life_energy_j": self.life_energy_j,
            "area_m2": self.area_m2,
            "embodied_kg": self.embodied_kg,
            "operational_kg": self.operational_kg,
            "total_kg": self.total_kg,
        }


@dataclass(frozen=True, slots=True)
class Attribution:
    """What a pruned model on its best accelerator saves, and what of it either change brings alone.

    Args:
        base_fastest: the base model on its fastest accelerator: neither change.
        base_best: the base model on the accelerator that is best for it: hardware alone.
        pruned_same: the pruned model on that same accelerator: pruning alone, against `base_best`.
        pruned_best: the pruned model on its own best accelerator: both.
    """

    base_fastest: DesignCost
    base_best: DesignCost
    pruned_same: DesignCost
    pruned_best: DesignCost


@dataclass(frozen=True)
class SpaceCost:
    """The cost side of a study; see `space_cost`, which makes it.

    Args:
        space: the models.
        table: the accelerators.
        technology: what these are made of.
        scenario: where and how long they are made and used.
        objective: what is minimised.
        limits: what no design may exceed.
        first: the costs of the variants of the first stack (of CLIP, the vision encoder).
        second: those of the second one (of CLIP, the text encoder); nothing in a family that has one stack.
        base_first: the base model's first stack, one variant.
        base_second: its second one.
        silicon: area, buffers and embodied carbon of the accelerators.
        parameters: (models,).
    """

    space: ModelSpace
    table: AcceleratorTable
    technology: Technology
    scenario: Scenario
    objective: Objective
    limits: Limits
    first: StackCosts
    second: StackCosts
    base_first: StackCosts
    base_second: StackCosts
    silicon: Silicon
    parameters: IntArray

    @cached_property
    def _cheapest(self) -> tuple[FloatArray, NDArray[np.int32]]:
        cost, accelerator = self._least(self.objective, self.limits.of_designs())
        if self.limits.parameters is not None:
            outside = self.parameters > self.limits.parameters
            cost, accelerator = np.where(outside, np.inf, cost), np.where(outside, np.int32(-1), accelerator)
        if not np.isfinite(cost).any():
            raise self._space_shortfall().error("every model of the space")
        return cost, accelerator

    def _least(self, quantity: str, limits: dict[str, float]) -> tuple[FloatArray, NDArray[np.int32]]:
        return cheapest(
            self.first,
            self.second,
            self.silicon,
            quantity,
            limits,
            second_times=self.scenario.texts_per_image,
        )

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

    def designs(self, index: int) -> Designs:
        """Model `index` on every accelerator of the table."""
        v, w = divmod(index, self.second.layers.size)
        return designs(
            (self.first, v),
            (self.second, w),
            self.silicon,
            self.limits,
            second_times=self.scenario.texts_per_image,
            parameters=int(self.parameters[index]),
        )

    @cached_property
    def base_designs(self) -> Designs:
        """The base model on every accelerator of the table."""
        return designs(
            (self.base_first, 0),
            (self.base_second, 0),
            self.silicon,
            self.limits,
            second_times=self.scenario.texts_per_image,
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
            objective=float(found.quantity(self.objective)[accelerator]),
        )

    def best(self, index: int) -> DesignCost:
        """Model `index` on its cheapest feasible accelerator.

        Raises:
            InfeasibleError: if it has none: which limit, by how much.
        """
        found = self.designs(index)
        chosen = found.best(self.objective)
        if chosen is None:
            missed = shortfall(found, self.limits)
            assert missed is not None  # noqa: S101 - `best` and `shortfall` look at the same designs
            raise missed.error(f"the model {_shown(self.space.dimensions(index))}")
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

    def problem(self) -> SearchProblem:
        """What a strategy gets to see.

        Raises:
            InfeasibleError: if no model of the space has a feasible accelerator.
        """
        base = self.base_best.objective if self.base_best.feasible else np.inf
        return SearchProblem(self.space, self.cost, reference_cost(base, self.cost), self.objective)

    def _space_shortfall(self) -> Shortfall:
        """Which limit no model of the space keeps; as `shortfall`, over all models."""
        if self.limits.parameters is not None and self.parameters.min() > self.limits.parameters:
            return Shortfall("parameters", int(self.parameters.min()), self.limits.parameters)
        allowed = np.ones(self.space.size, dtype=np.bool_)
        if self.limits.parameters is not None:
            allowed = self.parameters <= self.limits.parameters
        bounds = self.limits.of_designs()
        misses = []
        for name, bound in bounds.items():
            others = {other: value for other, value in bounds.items() if other != name}
            misses.append(Shortfall(name, float(self._least(name, others)[0][allowed].min()), bound))
        possible = [miss for miss in misses if np.isfinite(miss.demand)]
        if possible:
            return min(possible, key=lambda miss: miss.demand / miss.bound)
        alone = [
            Shortfall(name, float(self._least(name, {})[0][allowed].min()), bound) for name, bound in bounds.items()
        ]
        return max(alone, key=lambda miss: miss.demand / miss.bound)


def space_cost(
    space: ModelSpace,
    table: AcceleratorTable,
    technology: Technology,
    scenario: Scenario,
    objective: Objective = "carbon",
    limits: Limits = Limits(),  # noqa: B008 - frozen
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
        objective: what is minimised.
        limits: what no design may exceed.
        cache_dir: folder of a cache of operators' costs; None for none.
    """
    check_room(space, table, scenario)
    area, power = die_area(table, technology).total, power_table(table, technology)
    embodied = np.empty((2, len(table)))
    for mode, needs_dram in ((STREAMED, True), (RESIDENT, False)):
        embodied[mode] = footprint(area, 0.0, needs_dram, scenario).embodied_kg
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
    first, second = _two(costs[: len(prefixes)], len(table))
    base_first, base_second = _two(costs[len(prefixes) :], len(table))
    return SpaceCost(
        space=space,
        table=table,
        technology=technology,
        scenario=scenario,
        objective=objective,
        limits=limits,
        first=first,
        second=second,
        base_first=base_first,
        base_second=base_second,
        silicon=Silicon(
            area_m2=area,
            capacity_bytes=table.global_bytes,
            embodied_kg=embodied,
            idle_w=np.stack([power.idle_streamed_w, power.idle_resident_w]),
            period_s=scenario.period_s,
            operational_kg_per_j=float(footprint(0.0, 1.0, False, scenario).operational_kg),
        ),
        parameters=_parameters(shapes[: len(prefixes)], space.base),
    )


def _two(stacks: list[StackCosts], accelerators: int) -> tuple[StackCosts, StackCosts]:
    """A model's stacks, with nothing in the place of a second one that it lacks."""
    first, second = stacks if len(stacks) > 1 else (*stacks, StackCosts.nothing(accelerators))
    return first, second


def _parameters(stacks: list[StackShapes], base: ModelSpec) -> IntArray:
    """(models,) parameters: what a variant of one stack saves does not depend on the other stack."""
    whole = families.parameters(base)
    found = stacks[0].parameters
    for other in stacks[1:]:
        found = (found[:, None] + (other.parameters - whole)).ravel()
    return found


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


def _shown(dimensions: dict[str, int]) -> str:
    return ", ".join(f"{name}={value}" for name, value in dimensions.items())
