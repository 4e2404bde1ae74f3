"""One model on every accelerator: the full list of its designs, the best of them, and why there may be none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catransformers.designs.limits import Limits, Shortfall
from catransformers.designs.limits import shortfall as missed_by_all
from catransformers.designs.table import RESIDENT, STREAMED, DesignTable, Silicon
from catransformers.errors import InfeasibleError
from catransformers.hardware.accelerator import Accelerator
from catransformers.search.costs.stacks import Stacks
from catransformers.search.geometry.pareto import frontk
from catransformers.search.geometry.regions import front2
from catransformers.search.space import FloatArray, IntArray


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
        objective: the value of what the study minimises (first), SI.
        further: the values of the other quantities that it minimises, if any.
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
    further: tuple[float, ...] = ()

    @property
    def minimised(self) -> tuple[float, ...]:
        """The values of all that the study minimises, SI, in its order."""
        return (self.objective, *self.further)

    @property
    def second(self) -> float | None:
        """The value of the second quantity that the study minimises, if any."""
        return self.further[0] if self.further else None

    @property
    def total_kg(self) -> float:
        """Embodied and operational, kgCO2e."""
        return self.operational_kg + self.embodied_kg


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


@dataclass(frozen=True, eq=False)
class Designs(DesignTable):
    """One model on all accelerators, in the order of the accelerator table, under the limits of a study.

    Args:
        within: (accelerators,) whether all limits are kept.
        parameters: of the model.
    """

    within: NDArray[np.bool_]
    parameters: int

    def front(self, quantities: Sequence[str]) -> IntArray:
        """The accelerators that keep the limits and that none beats in several quantities, by the first of them."""
        values = [np.where(self.within, self.quantity(name), np.inf) for name in quantities]
        return front2(*values) if len(values) == 2 else frontk(np.stack(values, axis=1))

    def points(self, accelerators: IntArray, quantities: Sequence[str]) -> FloatArray:
        """(accelerators, quantities) what the model costs on some accelerators, SI."""
        return np.stack([self.quantity(name)[accelerators] for name in quantities], axis=1)

    def best(self, quantity: str, *, limited: bool = True) -> int | None:
        """The accelerator with the least `quantity`, the first of equals; None if no design keeps the limits."""
        values = np.where(self.within, self.quantity(quantity), np.inf) if limited else self.quantity(quantity)
        position = int(values.argmin())
        return position if np.isfinite(values[position]) else None


def designs(
    model: Stacks,
    silicon: Silicon,
    limits: Limits,
    *,
    parameters: int,
) -> Designs:
    """All designs of one model, given as stacks of one variant each."""
    resident = model.demand_bytes()[0, 0] <= silicon.capacity_bytes
    mode = np.where(resident, RESIDENT, STREAMED)[None]

    def held(modes: FloatArray) -> FloatArray:
        return np.asarray(np.take_along_axis(modes[:, 0], mode, axis=0)[0], dtype=np.float64)

    result = Designs.of_costs(
        held(model.latency_s()),
        held(model.energy_j()),
        resident,
        silicon,
        within=np.ones(resident.size, dtype=np.bool_),
        parameters=parameters,
    )
    if limits.parameters is not None and parameters > limits.parameters:
        result.within[:] = False
    for name, bound in limits.of_designs().items():
        np.logical_and(result.within, result.quantity(name) <= bound, out=result.within)
    return result


def no_accelerator(missed: Shortfall, subject: str) -> InfeasibleError:
    """That a model, or all of a space, keeps a limit nowhere, with what would help in the study file."""
    levers = [f"raise objectives.{missed.enough}", "allow smaller models (model.space)"]
    if missed.quantity == "parameters":
        return missed.told(f"{subject} exceeds the limit on parameters", levers)
    levers.append("allow other accelerators (hardware.space, hardware.max_tops)")
    return missed.told(f"{subject} has no accelerator within the limit on {missed.quantity}", levers)


def shortfall(found: Designs, limits: Limits) -> Shortfall | None:
    """Which limit keeps a model from every accelerator, and by how much; None if some design keeps all.

    For each limit, the best value among the designs that keep all the *other* limits is compared with the bound; the
    limit that is missed by the smallest factor is named. If no design keeps the others either, each limit is looked
    at alone and the one missed by the largest factor is named.
    """
    if found.within.any():
        return None
    if limits.parameters is not None and found.parameters > limits.parameters:
        return Shortfall("parameters", found.parameters, limits.parameters)
    bounds = limits.of_designs()
    return missed_by_all({name: found.quantity(name) for name in bounds}, bounds)
