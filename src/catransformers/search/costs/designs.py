"""One model on every accelerator: the full list of its designs, the best of them, and why there may be none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catransformers.errors import InfeasibleError
from catransformers.hardware.accelerator import Accelerator
from catransformers.hardware.power import energy_with_idle_j
from catransformers.search.costs.quantities import values_of
from catransformers.search.costs.stacks import RESIDENT, STREAMED, Silicon, Stacks
from catransformers.search.geometry.pareto import frontk
from catransformers.search.geometry.regions import front2
from catransformers.search.problem import Limits
from catransformers.search.space import FloatArray, IntArray
from catransformers.units import MILLI, MM2_PER_M2, round_up

#: How people read each quantity: its unit in messages, the factor from SI, the study's key that limits it.
READABLE: Mapping[str, tuple[str, float, str]] = {
    "latency": ("ms", 1 / MILLI, "objectives.max_latency_ms"),
    "energy": ("mJ", 1 / MILLI, "objectives.max_energy_mj"),
    "area": ("mm2", MM2_PER_M2, "objectives.max_area_mm2"),
    "carbon": ("kgCO2e", 1.0, "objectives.max_carbon_kg"),
    "tcdp": ("kgCO2e s", 1.0, "objectives.max_tcdp_kg_s"),
    "water": ("L", 1.0, "objectives.max_water_l"),
    "power": ("W", 1.0, "objectives.max_power_w"),
    "tops": ("TOPS", 1.0, "objectives.max_tops"),
    "parameters": ("parameters", 1.0, "objectives.max_parameters"),
}


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
class Designs:
    """One model on all accelerators, in the order of the accelerator table.

    Args:
        resident: (accelerators,) whether the model stays on chip, without DRAM.
        latency_s: (accelerators,) of one inference.
        energy_j: (accelerators,) of one inference.
        idle_w: (accelerators,) power while waiting for the next inference.
        life_energy_j: (accelerators,) of one inference and the wait for the next one.
        area_m2: (accelerators,) of the die.
        embodied_kg: (accelerators,) kgCO2e of making the device.
        operational_kg: (accelerators,) kgCO2e of using it for life.
        within: (accelerators,) whether all limits are kept.
        parameters: of the model.
        silicon: the accelerators, for the quantities that are worked out when asked for.
    """

    resident: NDArray[np.bool_]
    latency_s: FloatArray
    energy_j: FloatArray
    idle_w: FloatArray
    life_energy_j: FloatArray
    area_m2: FloatArray
    embodied_kg: FloatArray
    operational_kg: FloatArray
    within: NDArray[np.bool_]
    parameters: int
    silicon: Silicon

    @property
    def total_kg(self) -> FloatArray:
        """(accelerators,) kgCO2e, embodied and operational."""
        return self.operational_kg + self.embodied_kg

    def quantity(self, name: str) -> FloatArray:
        """(accelerators,) one of `problem.UNITS`, SI; carbon at the study's quantile."""
        return self._quantities(name)

    @cached_property
    def _known(self) -> dict[str, FloatArray]:
        return {"latency": self.latency_s, "energy": self.energy_j, "area": self.area_m2}

    def _quantities(self, name: str) -> FloatArray:
        if name == "carbon" and self.silicon.carbon_at is None:
            return self.total_kg
        if name not in self._known:
            found = values_of({name}, self.latency_s, self.energy_j, self.resident, self.silicon, slice(None))
            self._known[name] = found[name]
        return self._known[name]

    def of(self, name: str, accelerator: int) -> float:
        """A quantity on one accelerator, without those on the others."""
        if name in self._known or self.silicon.carbon_at is None:
            return float(self.quantity(name)[accelerator])
        one = slice(accelerator, accelerator + 1)
        found = values_of({name}, self.latency_s[one], self.energy_j[one], self.resident[one], self.silicon, one)
        return float(found[name][0])

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

    latency = held(model.latency_s())
    energy = held(model.energy_j())
    idle_w = np.take_along_axis(silicon.idle_w, mode, axis=0)[0]
    life_energy = energy_with_idle_j(energy, latency, idle_w, silicon.period_s)
    result = Designs(
        resident=resident,
        latency_s=latency,
        energy_j=energy,
        idle_w=idle_w,
        life_energy_j=life_energy,
        area_m2=silicon.area_m2,
        embodied_kg=np.take_along_axis(silicon.embodied_kg, mode, axis=0)[0],
        operational_kg=silicon.operational_kg_per_j * life_energy,
        within=np.ones(latency.size, dtype=np.bool_),
        parameters=parameters,
        silicon=silicon,
    )
    if limits.parameters is not None and parameters > limits.parameters:
        result.within[:] = False
    for name, bound in limits.of_designs().items():
        np.logical_and(result.within, result.quantity(name) <= bound, out=result.within)
    return result


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A limit that cannot be kept: the best that is possible, SI, against the bound."""

    quantity: str
    demand: float
    bound: float

    def error(self, subject: str) -> InfeasibleError:
        """The error that says so in the units of the study file, with what would help."""
        unit, factor, key = READABLE[self.quantity]
        levers = [f"raise {key} to {round_up(self.demand * factor):g} or more", "allow smaller models (model.space)"]
        if self.quantity != "parameters":
            levers.append("allow other accelerators (hardware.space, hardware.max_tops)")
        return InfeasibleError(
            f"{subject} exceeds the limit on parameters"
            if self.quantity == "parameters"
            else f"{subject} has no accelerator within the limit on {self.quantity}",
            demand=self.demand * factor,
            bound=self.bound * factor,
            unit=unit,
            levers=levers,
        )


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
    kept = {name: found.quantity(name) <= bound for name, bound in bounds.items()}
    misses = []
    for name, bound in bounds.items():
        others = np.ones(found.within.shape, dtype=np.bool_)
        for other, mask in kept.items():
            others &= mask | (other == name)
        values = found.quantity(name)[others]
        if values.size:
            misses.append(Shortfall(name, float(values.min()), bound))
    if misses:
        return min(misses, key=lambda miss: miss.demand / miss.bound)
    alone = [Shortfall(name, float(found.quantity(name).min()), bound) for name, bound in bounds.items()]
    return max(alone, key=lambda miss: miss.demand / miss.bound)
