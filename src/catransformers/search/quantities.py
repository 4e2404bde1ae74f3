"""From latency and energy to all that a study minimises or limits, for many models and accelerators at once.

Carbon and water are what the making of a device takes plus a price times the energy that one inference and the wait for
the next one draw; the product of carbon and delay (tCDP) and the mean power are made of the others.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from catransformers.hardware.power import energy_with_idle_j
from catransformers.search.space import FloatArray, IntArray
from catransformers.search.stack_costs import RESIDENT, STREAMED, Silicon, StackCosts, demand_bytes

_ENERGY = frozenset({"carbon", "energy", "tcdp", "water", "power"})
_LATENCY = frozenset({"carbon", "latency", "tcdp", "water", "power"})


def values_of(
    names: Collection[str],
    latency_s: FloatArray | None,
    energy_j: FloatArray | None,
    resident: NDArray[np.bool_],
    silicon: Silicon,
    chosen: IntArray | slice,
) -> dict[str, FloatArray]:
    """Quantities of designs, SI, (…, accelerators) each.

    Args:
        names: which: some of `problem.UNITS`.
        latency_s, energy_j: (…, accelerators) of one inference; None where no asked-for quantity depends on it.
        resident: (…, accelerators) whether the weights stay on chip.
        silicon: the accelerators.
        chosen: those of them that lie on the last axis.
    """
    wanted = set(names)
    found: dict[str, FloatArray] = {}
    if energy_j is not None:
        found["energy"] = energy_j
    if latency_s is not None:
        found["latency"] = latency_s
    if wanted & {"carbon", "tcdp", "water"}:
        assert latency_s is not None and energy_j is not None  # noqa: S101 - `needs` says so
        idle = silicon.idle_w[:, chosen]
        life_energy = energy_with_idle_j(
            energy_j, latency_s, np.where(resident, idle[RESIDENT], idle[STREAMED]), silicon.period_s
        )
        if wanted & {"carbon", "tcdp"}:
            found["carbon"] = _carbon(life_energy, resident, silicon, chosen)
        if "tcdp" in wanted:
            found["tcdp"] = found["carbon"] * latency_s
        if "water" in wanted:
            assert silicon.water_l is not None  # noqa: S101 - a study that asks for water has its factors
            found["water"] = silicon.water_l_per_j * life_energy + silicon.water_l[chosen]
    if "power" in wanted:
        assert latency_s is not None and energy_j is not None  # noqa: S101 - `needs` says so
        found["power"] = energy_j / latency_s
    if "area" in wanted:
        found["area"] = np.broadcast_to(silicon.area_m2[chosen], resident.shape)
    if "tops" in wanted:
        assert silicon.tops is not None  # noqa: S101 - `space_cost` always gives it
        found["tops"] = np.broadcast_to(silicon.tops[chosen], resident.shape)
    return {name: found[name] for name in wanted}


def _carbon(
    life_energy: FloatArray, resident: NDArray[np.bool_], silicon: Silicon, chosen: IntArray | slice
) -> FloatArray:
    if silicon.carbon_at is not None:
        return silicon.carbon_at(life_energy, resident, chosen)
    embodied = silicon.embodied_kg[:, chosen]
    carbon: FloatArray = silicon.operational_kg_per_j * life_energy
    carbon += np.where(resident, embodied[RESIDENT], embodied[STREAMED])
    return carbon


class Block:
    """All quantities of all models on some accelerators, block by block of the first stack's variants."""

    def __init__(
        self,
        names: Collection[str],
        first: StackCosts,
        second: StackCosts,
        silicon: Silicon,
        chosen: IntArray,
        second_times: float,
    ) -> None:
        self._names, self._first, self._second, self._silicon, self._chosen = names, first, second, silicon, chosen
        wanted, everything = set(names), slice(None)
        self._energy = second_times * second.energy_j(everything, chosen) if wanted & _ENERGY else None
        self._latency = second_times * second.latency_s(everything, chosen) if wanted & _LATENCY else None

    def values(self, v: slice) -> dict[str, FloatArray]:
        """The quantities of the models whose first stack is one of the variants `v`: (v, w, accelerators)."""
        resident = demand_bytes(self._first, self._second, v)[:, :, None] <= self._silicon.capacity_bytes[self._chosen]
        energy = latency = None
        if self._energy is not None:
            energy = _combined(self._first.energy_j(v, self._chosen), self._energy, resident)
        if self._latency is not None:
            latency = _combined(self._first.latency_s(v, self._chosen), self._latency, resident)
        return values_of(self._names, latency, energy, resident, self._silicon, self._chosen)


def _combined(first: FloatArray, second: FloatArray, resident: NDArray[np.bool_]) -> FloatArray:
    """(v, w, a): the sum of both stacks, each as the residency says."""
    first, second = first[:, :, None, :], second[:, None, :, :]
    total: FloatArray = np.asarray(first[STREAMED] + second[STREAMED], dtype=np.float64)
    np.copyto(total, first[RESIDENT] + second[RESIDENT], where=resident)
    return total
