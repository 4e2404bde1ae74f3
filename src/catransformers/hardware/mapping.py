"""The mapping search: every way to run a matrix product on every array and local buffer, less what cannot win.

Searched are: how the cores share the work (over independent products, m and n, in every combination), which operand
stays in the array (`flows`), which way round it lies on pe_x × pe_y, the folds held in registers, and the tile in the
local buffer with its loop order. What a mapping costs in cycles of the array and in bytes over each boundary does not
depend on bandwidths or energies, so that the mappings that no other one beats are found once, for all of these.

Cores: each reads for itself, so that what all of them need is read from the global buffer by each. The slowest core
sets the pace, and the last one is taken to be as busy as the others (its share may be smaller by a few rows).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from catransformers.hardware.accelerator import distinct_rows
from catransformers.hardware.flows import (
    CELL_CHOICES,
    CELL_COSTS,
    FEW_CELLS,
    CellMappings,
    Cells,
    Prices,
    Product,
    cell_mappings,
)
from catransformers.hardware.front import undominated
from catransformers.workloads.operators import Gemm

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: A dimension that is cut among any number of cores.
SHORT = 32

#: Rows of `Mappings.costs`, and of `Mappings.choices`, which say which mapping it is.
COSTS = (CELL_COSTS[0], "core_bytes", *CELL_COSTS[1:])
CHOICES = ("cores_count", "cores_m", "cores_n", *CELL_CHOICES)


@dataclass(frozen=True, slots=True)
class GemmShape:
    """A group of `parallel` independent (m × k)·(k × n) products with bytes a value of each operand.

    `weights` says whether the (k × n) operand is stored weights or a cache beside them, `bias` adds one row to it,
    `caches` says whether the result goes to such a cache.
    """

    m: int
    k: int
    n: int
    parallel: int
    input_bytes: float
    weight_bytes: float
    weights: bool
    bias: bool
    caches: bool = False

    @classmethod
    def of(cls, gemm: Gemm) -> GemmShape:
        """The shape of one group of an operator."""
        bits = gemm.weight_bits if gemm.weights else gemm.activation_bits
        stored = gemm.weights or gemm.cached
        values = gemm.activation_bits / 8, bits / 8
        return cls(gemm.m, gemm.k, gemm.n, gemm.parallel, *values, stored, gemm.bias, gemm.caches)

    @property
    def a_bytes(self) -> float:
        """Bytes of one product's (m × k) operand."""
        return self.m * self.k * self.input_bytes

    @property
    def b_bytes(self) -> float:
        """Bytes of one product's (k × n) operand, its bias included."""
        return (self.k + self.bias) * self.n * self.weight_bytes

    @property
    def c_bytes(self) -> float:
        """Bytes of one product's finished result."""
        return self.m * self.n * self.input_bytes


@dataclass(frozen=True, slots=True)
class Arrays:
    """The distinct (cores, pe_x, pe_y, local buffer) of a table, arrays (U,): all that a mapping's costs depend on."""

    cores: IntArray
    pe_x: IntArray
    pe_y: IntArray
    local_bytes: FloatArray

    def __len__(self) -> int:
        return len(self.cores)


@dataclass(frozen=True, slots=True)
class Mappings:
    """The mappings of one product on each of U arrays that nothing (of few arrays: little) beats, S in all.

    Args:
        starts: those of array u are `starts[u]` up to `starts[u + 1]`, (U + 1,).
        costs: rows by `COSTS`, (6, S): cycles of the slowest core's array; bytes through the slowest core's local
            buffer, for time; and, of all cores together, operand bytes from local buffers to arrays, bytes of partial
            sums written (and as many read) in local buffers, bytes read from the global into local buffers, bytes of
            partial sums that go the other way.
        choices: rows by `CHOICES`, (11, S): cores over independent products, m and n; index into `dataflow.DATAFLOWS`;
            whether the first dimension lies on pe_y; folds held in registers along either dimension; tile sizes; index
            into `dataflow.DIMENSIONS` of the innermost loop around the local buffer.
    """

    starts: IntArray
    costs: FloatArray
    choices: IntArray


@dataclass(frozen=True, slots=True)
class _Share:
    """How cores share a group: their number over products, m and n; one core's piece, its runs, and all pieces."""

    cores: tuple[int, int, int]
    m: int
    n: int
    rounds: int
    pieces: int


def _sharings(shape: GemmShape, cores: int) -> list[_Share]:
    """The ways to share a group of products among `cores`.

    Along m and n, those that leave no core idle that could take part; along short dimensions all, since there one core
    fewer may waste less.
    """
    ways: dict[tuple[int, int, int], _Share] = {}
    for over_m in range(1, cores + 1):
        for over_n in range(1, cores // over_m + 1):
            over_p = cores // (over_m * over_n)
            idle_m, idle_n = over_m < cores // (over_p * over_n), over_n < cores // (over_p * over_m)
            if (idle_m and shape.m > SHORT) or (idle_n and shape.n > SHORT):
                continue
            m, n, rounds = -(-shape.m // over_m), -(-shape.n // over_n), -(-shape.parallel // over_p)
            pieces = shape.parallel * -(-shape.m // m) * -(-shape.n // n)
            ways.setdefault((m, n, rounds), _Share((over_p, over_m, over_n), m, n, rounds, pieces))
    return list(ways.values())


def _expanded(mappings: CellMappings, cells: IntArray) -> tuple[IntArray, IntArray]:
    """The mappings of each of some cells, one cell after another: which of `cells`, and which mapping, (S,) each."""
    starts, ends = (np.searchsorted(mappings.cell, cells, side=side) for side in ("left", "right"))
    sizes = ends - starts
    row = np.repeat(np.arange(len(cells)), sizes)
    return row, np.arange(len(row)) + np.repeat(starts - np.cumsum(sizes) + sizes, sizes)


def search(
    shape: GemmShape, arrays: Arrays, prices: Prices, *, partial_bytes: float, systolic: bool, accumulators: int
) -> Mappings:
    """Every mapping of a group of products on every array that may be best for some bandwidths and energies.

    Args:
        shape: the products.
        arrays: U distinct (cores, pe_x, pe_y, local buffer).
        prices: bounds on what a byte costs.
        partial_bytes: bytes of a partial sum.
        systolic: whether a fold pays its skew.
        accumulators: stationary values that a processing element holds; a power of two.
    """
    short, long = np.minimum(arrays.pe_x, arrays.pe_y), np.maximum(arrays.pe_x, arrays.pe_y)
    keys, cell_of = distinct_rows(np.column_stack([short, long, arrays.local_bytes]))
    cells = Cells(keys[:, 0].astype(np.int64), keys[:, 1].astype(np.int64), keys[:, 2])
    found: dict[tuple[int, int], CellMappings] = {}
    units, costs, choices = [], [], []
    for cores in np.unique(arrays.cores):
        own = np.flatnonzero(arrays.cores == cores)
        turned = arrays.pe_x[own] > arrays.pe_y[own]
        parts = []
        sharings = _sharings(shape, int(cores))
        for share in sharings:
            piece = share.m, share.n
            if piece not in found:
                sizes = share.m, shape.k, share.n
                product = Product(sizes, shape.input_bytes, shape.weight_bytes, partial_bytes, shape.bias)
                found[piece] = cell_mappings(product, cells, prices, systolic=systolic, accumulators=accumulators)
            row, at = _expanded(found[piece], cell_of[own])
            compute, operand, partial, refill, spill = found[piece].costs[:, at]
            core = operand + 2 * partial + refill + spill + 2 * share.m * share.n * shape.input_bytes
            paced = np.stack([compute, core]) * share.rounds
            cost = np.concatenate([paced, np.stack([operand, partial, refill, spill]) * share.pieces])
            choice = np.concatenate([np.tile(np.array(share.cores)[:, None], len(at)), found[piece].choices[:, at]])
            choice[CHOICES.index("swapped")] ^= turned[row]
            parts.append((row, cost, choice))
        row, cost, choice = (np.concatenate([p[i] for p in parts], axis=-1) for i in range(3))
        if len(sharings) > 1 and len(own) > FEW_CELLS:
            kept = undominated(row, np.stack([*cost[:2], *cost[4:], *prices.energies(*cost[2:])]))
            row, cost, choice = row[kept], cost[:, kept], choice[:, kept]
        units.append(own[row])
        costs.append(cost)
        choices.append(choice)
    unit = np.concatenate(units)
    order = np.argsort(unit, kind="stable")
    starts = np.searchsorted(unit[order], np.arange(len(arrays) + 1))
    return Mappings(starts, np.concatenate(costs, axis=1)[:, order], np.concatenate(choices, axis=1)[:, order])
