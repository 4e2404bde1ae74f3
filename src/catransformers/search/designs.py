"""One model on every accelerator: the full list of its designs, the best of them, and why there may be none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catransformers.errors import InfeasibleError
from catransformers.hardware.power import energy_with_idle_j
from catransformers.search.problem import Limits
from catransformers.search.space import FloatArray
from catransformers.search.stack_costs import RESIDENT, STREAMED, Silicon, StackCosts, demand_bytes
from catransformers.units import MILLI, MM2_PER_M2, round_up

#: How people read each quantity: its unit in messages, the factor from SI, the study's key that limits it.
READABLE: Mapping[str, tuple[str, float, str]] = {
    "latency": ("ms", 1 / MILLI, "objectives.max_latency_ms"),
    "energy": ("mJ", 1 / MILLI, "objectives.max_energy_mj"),
    "area": ("mm2", MM2_PER_M2, "objectives.max_area_mm2"),
    "carbon": ("kgCO2e", 1.0, "objectives.max_carbon_kg"),
    "parameters": ("parameters", 1.0, "objectives.max_parameters"),
}


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

    @property
    def total_kg(self) -> FloatArray:
        """(accelerators,) kgCO2e, embodied and operational."""
        return self.operational_kg + self.embodied_kg

    def quantity(self, name: str) -> FloatArray:
        """(accelerators,) `carbon`, `latency`, `energy` or `area`, SI."""
        return {
            "carbon": self.total_kg,
            "latency": self.latency_s,
            "energy": self.energy_j,
            "area": self.area_m2,
        }[name]

    def best(self, quantity: str, *, limited: bool = True) -> int | None:
        """The accelerator with the least `quantity`, the first of equals; None if no design keeps the limits."""
        values = np.where(self.within, self.quantity(quantity), np.inf) if limited else self.quantity(quantity)
        position = int(values.argmin())
        return position if np.isfinite(values[position]) else None


def designs(
    first: tuple[StackCosts, int],
    second: tuple[StackCosts, int],
    silicon: Silicon,
    limits: Limits,
    *,
    second_times: float,
    parameters: int,
) -> Designs:
    """All designs of one model, given as a variant of each stack; the second runs `second_times` in one inference."""
    (v_costs, v), (w_costs, w) = first, second
    row, column = np.array([v]), np.array([w])
    resident = demand_bytes(v_costs, w_costs, row)[0, w] <= silicon.capacity_bytes
    mode = np.where(resident, RESIDENT, STREAMED)[None]

    def total(one: FloatArray, other: FloatArray) -> FloatArray:
        both = one[:, 0] + second_times * other[:, 0]
        return np.asarray(np.take_along_axis(both, mode, axis=0)[0], dtype=np.float64)

    latency = total(v_costs.latency_s(row), w_costs.latency_s(column))
    energy = total(v_costs.energy_j(row), w_costs.energy_j(column))
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
