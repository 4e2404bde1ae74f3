"""All that a study minimises or limits, for many models and accelerators at once: batches, and bounds of groups."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from catransformers.designs.quantities import columns_of
from catransformers.designs.table import RESIDENT, STREAMED, Columns, Silicon, least_of, values_of
from catransformers.search.costs.stacks import Stacks
from catransformers.search.space import FloatArray, IntArray

_OF_LIFE = frozenset({"carbon", "water"})  # columns that count the wait between inferences


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
        wanted, everything = columns_of({*names}), slice(None)
        self._energy = stacks.inner.energy_j(everything, chosen) if wanted & {"energy", *_OF_LIFE} else None
        self._latency = stacks.inner.latency_s(everything, chosen) if wanted & {"latency", *_OF_LIFE} else None

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
            low, high = (
                Columns(
                    None if latency is None else latency[1 - end][mode],  # what takes longer waits less for the next
                    None if energy is None else energy[end][mode],
                    resident,
                    self._silicon,
                    self._chosen,
                    known={} if latency is None else {"latency": latency[end][mode]},
                )
                for end in (0, 1)
            )
            yield (
                occurs,
                {name: least_of(name, low, high) for name in self._names},
                {name: least_of(name, high, low) for name in self._names},
            )


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
