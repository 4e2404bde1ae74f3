"""For every model its exact Pareto front over all accelerators, in two quantities under limits.

Dominance pruning (`dominance`, comparing both quantities) leaves the few hundred accelerators that can be on some
model's front; then each model's designs are sorted by the first quantity, and those stay whose second one is below all
before them. A space of a million models has tens of millions of such points: they are kept as one ragged array.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from os import cpu_count

import numpy as np
from numpy.typing import NDArray

from catransformers.designs.table import Silicon
from catransformers.search.costs.cheapest import BY_ACCELERATOR, within
from catransformers.search.costs.dominance import undominated
from catransformers.search.costs.quantities import Block
from catransformers.search.costs.stacks import Stacks
from catransformers.search.space import FloatArray, IntArray

CHUNK_VALUES = 1 << 19  # designs looked at in one pass by one thread (4 MiB an array)
AT_ONCE = 8  # chunks worked on before their points are stored

#: The front of some models: points a model, then first and second costs and accelerators of all points.
_Points = tuple[IntArray, NDArray[np.float32], NDArray[np.float32], NDArray[np.signedinteger]]


@dataclass(frozen=True)
class HardwareFronts:
    """Every model's front: points by rising first and falling second cost. Infeasible models have none.

    Args:
        start: (models + 1,) where each model's points begin; the last entry is where the last one's end.
        first: (points,) first costs, SI, in single precision.
        second: (points,) second costs.
        accelerator: (points,) rows of the accelerator table.
    """

    start: NDArray[np.int64]
    first: NDArray[np.float32]
    second: NDArray[np.float32]
    accelerator: NDArray[np.signedinteger]

    def __len__(self) -> int:
        return self.start.size - 1

    def of(self, model: int) -> tuple[FloatArray, FloatArray, IntArray]:
        """One model's front: first costs, second costs, accelerators."""
        part = slice(int(self.start[model]), int(self.start[model + 1]))
        return (
            self.first[part].astype(np.float64),
            self.second[part].astype(np.float64),
            self.accelerator[part].astype(np.int64),
        )

    @property
    def dearest(self) -> tuple[float, float]:
        """The greatest first and second cost of any point."""
        return float(self.first.max()), float(self.second.max())

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """(models,) whether a model has any point."""
        return np.asarray(np.diff(self.start) > 0)

    @property
    def points(self) -> IntArray:
        """(models,) how many points each front has."""
        return np.diff(self.start)

    def where(self, keep: NDArray[np.bool_]) -> HardwareFronts:
        """The same with the fronts of all other models emptied."""
        if keep.all():
            return self
        counts = np.where(keep, self.points, 0)
        chosen = np.repeat(keep, self.points)
        return HardwareFronts(_starts(counts), self.first[chosen], self.second[chosen], self.accelerator[chosen])


def hardware_fronts(
    stacks: Stacks,
    silicon: Silicon,
    quantities: tuple[str, str],
    limits: Mapping[str, float],
    *,
    chosen: IntArray | None = None,
) -> HardwareFronts:
    """Every model's front over the accelerators that keep the limits.

    Args:
        stacks: what the models are made of.
        silicon: the accelerators.
        quantities: the two that are minimised.
        limits: upper bounds by quantity, SI.
        chosen: the accelerators to look at, rising; by default those that `undominated` leaves.

    Returns:
        The fronts, models in the order of `ModelSpace`; of designs that are equal in both quantities one.
    """
    if chosen is None:
        chosen = undominated(stacks, silicon, quantities, limits)
    chosen = within(chosen, silicon, limits)
    variants, others = len(stacks.outer), len(stacks.inner)
    whole = np.min_scalar_type(-max(int(chosen.max(initial=0)), 1) - 1)
    if not chosen.size:
        none = np.empty(0, dtype=np.float32)
        return HardwareFronts(np.zeros(variants * others + 1, dtype=np.int64), none, none, np.empty(0, dtype=np.int32))
    block = Block({*quantities, *limits}, stacks, silicon, chosen)
    rows = max(1, CHUNK_VALUES // (others * chosen.size))
    parts = [slice(at, min(at + rows, variants)) for at in range(0, variants, rows)]
    work = partial(_fronts_of, block, quantities, limits, chosen.astype(whole))
    store = _Store(whole)
    with ThreadPoolExecutor(max(1, min(AT_ONCE, cpu_count() or 1))) as pool:  # numpy sorts without the interpreter
        for at in range(0, len(parts), AT_ONCE):
            for points in pool.map(work, parts[at : at + AT_ONCE]):
                store.add(points)
    return store.fronts()


def _fronts_of(
    block: Block,
    quantities: tuple[str, str],
    limits: Mapping[str, float],
    chosen: NDArray[np.signedinteger],
    v: slice,
) -> _Points:
    """The fronts of the models whose outer stacks are the variants `v`."""
    values = block.values(v)
    shape = values[quantities[0]].shape
    one, two = (values[name].reshape(-1, shape[2]) for name in quantities)
    feasible = np.ones(one.shape, dtype=np.bool_)
    for name, bound in limits.items():
        if name not in BY_ACCELERATOR:
            feasible &= values[name].reshape(one.shape) <= bound
    return _points_of(one, two, feasible, chosen)


def fronts_of_designs(
    first: FloatArray, second: FloatArray, feasible: NDArray[np.bool_], accelerators: IntArray
) -> HardwareFronts:
    """The fronts of models whose designs are all given.

    Args:
        first, second: (models, designs) the two costs.
        feasible: (models, designs) which of them keep the limits.
        accelerators: (designs,) their rows in the table.
    """
    counts, one, two, rows = _points_of(first, second, feasible, accelerators)
    return HardwareFronts(_starts(counts), one, two, rows)


def _points_of(
    one: FloatArray, two: FloatArray, feasible: NDArray[np.bool_], chosen: NDArray[np.signedinteger]
) -> _Points:
    """The points of fronts from all designs, (models, designs)."""
    if not feasible.all():
        one, two = np.where(feasible, one, np.inf), np.where(feasible, two, np.inf)
    order = one.argsort(axis=1)
    one, two = np.take_along_axis(one, order, axis=1), np.take_along_axis(two, order, axis=1)
    least = np.minimum.accumulate(two, axis=1)
    kept = np.isfinite(one)
    kept[:, 1:] &= two[:, 1:] < least[:, :-1]
    # Of equal first costs the last one kept has the least second one, and beats those before it.
    beaten_by_next = _next_kept(kept, one)
    kept &= ~beaten_by_next
    return (
        kept.sum(axis=1),
        one[kept].astype(np.float32),
        two[kept].astype(np.float32),
        chosen[order[kept]],
    )


def _next_kept(kept: NDArray[np.bool_], one: FloatArray) -> NDArray[np.bool_]:
    """Whether the kept point that comes next in its row has the same first cost."""
    rows, columns = np.nonzero(kept)
    same = np.zeros(kept.shape, dtype=np.bool_)
    values = one[rows, columns]
    equal = (rows[1:] == rows[:-1]) & (values[1:] == values[:-1])
    same[rows[:-1][equal], columns[:-1][equal]] = True
    return same


class _Store:
    """Points as they come, in arrays that grow: never twice in memory but while one of them is moved."""

    def __init__(self, whole: np.dtype[np.signedinteger]) -> None:
        self._counts: list[IntArray] = []
        self._columns = [np.empty(0, dtype=kind) for kind in (np.float32, np.float32, whole)]
        self._size = 0

    def add(self, points: _Points) -> None:
        """Put the points of the next models behind those that are there."""
        self._counts.append(points[0])
        new = points[1].size
        for k, column in enumerate(points[1:]):
            if self._size + new > self._columns[k].size:
                column_size = (self._size + new) * 9 // 8 + 1024
                self._columns[k].resize(column_size, refcheck=False)  # moves pages, not bytes
            self._columns[k][self._size : self._size + new] = column
        self._size += new

    def fronts(self) -> HardwareFronts:
        """All of them."""
        for column in self._columns:
            column.resize(self._size, refcheck=False)
        first, second, accelerator = self._columns
        return HardwareFronts(_starts(np.concatenate(self._counts)), first, second, accelerator)


def _starts(counts: IntArray) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
