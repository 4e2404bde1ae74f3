"""From latency and energy to all that a study minimises or limits, for many models and accelerators at once.

Carbon and water are what the making of a device takes plus a price times the energy that one inference and the wait for
the next one draw; the product of carbon and delay (tCDP) and the mean power are made of the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from catransformers.hardware.power import energy_with_idle_j
from catransformers.search.costs.stacks import RESIDENT, STREAMED, Silicon, Stacks
from catransformers.search.space import FloatArray, IntArray

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
    """All quantities of all models on some accelerators, block by block of the outer stacks' variants."""

    def __init__(
        self,
        names: Collection[str],
        stacks: Stacks,
        silicon: Silicon,
        chosen: IntArray,
    ) -> None:
        self._names, self._stacks, self._silicon, self._chosen = names, stacks, silicon, chosen
        wanted, everything = set(names), slice(None)
        self._energy = stacks.inner.energy_j(everything, chosen) if wanted & _ENERGY else None
        self._latency = stacks.inner.latency_s(everything, chosen) if wanted & _LATENCY else None

    def values(
        self, v: IntArray | slice, w: IntArray | slice = slice(None), some: IntArray | slice = slice(None)
    ) -> dict[str, FloatArray]:
        """Quantities of the models made of the variants `v` and `w`, on `some` of the accelerators: (v, w, some)."""
        chosen = self._chosen[some]
        resident = self._stacks.demand_bytes(v)[:, w, None] <= self._silicon.capacity_bytes[chosen]
        energy = latency = None
        if self._energy is not None:
            energy = _combined(self._stacks.outer.energy_j(v, chosen), self._energy[:, w][:, :, some], resident)
        if self._latency is not None:
            latency = _combined(self._stacks.outer.latency_s(v, chosen), self._latency[:, w][:, :, some], resident)
        return values_of(self._names, latency, energy, resident, self._silicon, chosen)

    def bounds(
        self, v: IntArray, begins: IntArray, w: IntArray
    ) -> Iterator[tuple[NDArray[np.bool_], dict[str, FloatArray], dict[str, FloatArray]]]:
        """Between which values the quantities of groups of models lie, streamed and resident.

        Args:
            v: variants of the outer stacks, group by group.
            begins: where in `v` each group begins.
            w: some variants of the inner one.

        Yields:
            For each of the two modes whether some model is in it, (groups, accelerators); then the least and the
            greatest values that the quantities can have there.
        """
        demand = self._stacks.demand_bytes(v)[:, w]
        least = np.minimum.reduceat(demand.min(axis=1), begins)[:, None]
        most = np.maximum.reduceat(demand.max(axis=1), begins)[:, None]
        capacity = self._silicon.capacity_bytes[self._chosen]
        latency, energy = (
            None if of_inner is None else _between(of_outer(v, self._chosen), of_inner[:, w], begins)
            for of_outer, of_inner in (
                (self._stacks.outer.latency_s, self._latency),
                (self._stacks.outer.energy_j, self._energy),
            )
        )
        for mode, occurs in ((STREAMED, most > capacity), (RESIDENT, least <= capacity)):
            resident = np.full(occurs.shape, mode == RESIDENT)
            found = []
            for low, high in ((0, 1), (1, 0)):  # an inference that takes longer waits less for the next one
                values = values_of(
                    self._names,
                    None if latency is None else latency[high][mode],
                    None if energy is None else energy[low][mode],
                    resident,
                    self._silicon,
                    self._chosen,
                )
                if latency is not None:
                    if "tcdp" in values:
                        values["tcdp"] = values["tcdp"] / latency[high][mode] * latency[low][mode]
                    if "latency" in values:
                        values["latency"] = latency[low][mode]
                found.append(values)
            yield occurs, found[0], found[1]


def _between(outer: FloatArray, inner: FloatArray, begins: IntArray) -> tuple[FloatArray, FloatArray]:
    """(2, groups, a) least and greatest sum of each group of the outer stacks' variants with any of the inner's."""
    least = np.minimum.reduceat(outer, begins, axis=1) + inner.min(axis=1, keepdims=True)
    return least, np.maximum.reduceat(outer, begins, axis=1) + inner.max(axis=1, keepdims=True)


def _combined(outer: FloatArray, inner: FloatArray, resident: NDArray[np.bool_]) -> FloatArray:
    """(v, w, a): the sum of all stacks, each as the residency says."""
    outer, inner = outer[:, :, None, :], inner[:, None, :, :]
    total: FloatArray = np.asarray(outer[STREAMED] + inner[STREAMED], dtype=np.float64)
    np.copyto(total, outer[RESIDENT] + inner[RESIDENT], where=resident)
    return total
