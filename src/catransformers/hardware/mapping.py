"""The mapping search: every way to run a matrix product on every array and local buffer, less what cannot win.

Searched are: how the cores share the work (over independent products, over m, over n), which operand stays in the
array (`flows`), which way round it lies on pe_x × pe_y, the folds held in registers, and the tile in the local buffer
with its loop order. What a mapping costs in cycles of the array and in bytes over each boundary does not depend on
bandwidths or energies, so that the mappings that no other one beats are found once, for all of these.

Cores: each reads for itself, so that what all of them need is read from the global buffer by each. The slowest core
sets the pace, and the last one is taken to be as busy as the others (its share may be smaller by a few rows).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from catransformers.hardware.flows import CellMappings, Cells, cell_mappings
from catransformers.hardware.front import undominated
from catransformers.workloads.operators import Gemm

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SPLITS = ("count", "m", "n")

#: Rows of `Mappings.costs`, and of `Mappings.choices`, which say which mapping it is.
COSTS = ("compute_cycles", "core_bytes", "operand_bytes", "partial_bytes", "refill_bytes")
CHOICES = ("split", "flow", "swapped", "held_1", "held_2", "tile_m", "tile_k", "tile_n")


@dataclass(frozen=True, slots=True)
class GemmShape:
    """A group of `parallel` independent (m × k)·(k × n) products with bytes a value of each operand.

    `weights` says whether the (k × n) operand is stored weights; `bias` adds one row to it.
    """

    m: int
    k: int
    n: int
    parallel: int
    input_bytes: float
    weight_bytes: float
    weights: bool
    bias: bool

    @classmethod
    def of(cls, gemm: Gemm) -> GemmShape:
        """The shape of one group of an operator."""
        bits = gemm.weight_bits if gemm.weights else gemm.activation_bits
        return cls(gemm.m, gemm.k, gemm.n, gemm.parallel, gemm.activation_bits / 8, bits / 8, gemm.weights, gemm.bias)

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
    """The undominated mappings of one product on each of U arrays, one after another (S in all).

    Args:
        starts: those of array u are `starts[u]` up to `starts[u + 1]`, (U + 1,).
        costs: rows by `COSTS`, (5, S): cycles of the slowest core's array; bytes through the slowest core's local
            buffer, for time; and, of all cores together for energy, operand bytes from local buffers to arrays, bytes
            of partial sums written (and as many read) in local buffers, bytes read from the global into local buffers.
        choices: rows by `CHOICES`, (8, S): index into `SPLITS` and `flows.FLOWS`; whether the first dimension lies
            on pe_y; folds held in registers along either dimension; tile sizes.
    """

    starts: IntArray
    costs: FloatArray
    choices: IntArray


@dataclass(frozen=True, slots=True)
class _Share:
    """How cores share a group of products: index into `SPLITS`, one core's piece, its runs, and pieces in all."""

    split: int
    m: int
    n: int
    rounds: int
    pieces: int


def _sharings(shape: GemmShape, cores: int) -> list[_Share]:
    """The ways to share a group of products among `cores`."""
    p = shape.parallel
    ways = [_Share(0, shape.m, shape.n, -(-p // cores), p)]
    if cores > 1 and shape.m > 1:
        m = -(-shape.m // cores)
        ways.append(_Share(1, m, shape.n, p, p * -(-shape.m // m)))
    if cores > 1 and shape.n > 1:
        n = -(-shape.n // cores)
        ways.append(_Share(2, shape.m, n, p, p * -(-shape.n // n)))
    return ways


def search(shape: GemmShape, arrays: Arrays, *, partial_bytes: float, systolic: bool, accumulators: int) -> Mappings:
    """Every undominated mapping of a group of products on every array.

    Args:
        shape: the products.
        arrays: U distinct (cores, pe_x, pe_y, local buffer).
        partial_bytes: bytes of a partial sum.
        systolic: whether a fold pays its skew.
        accumulators: stationary values that a processing element holds; a power of two.
    """
    keys, cell_of = np.unique(
        np.column_stack([arrays.pe_x, arrays.pe_y, arrays.local_bytes]), axis=0, return_inverse=True
    )
    cells = Cells(keys[:, 0].astype(np.int64), keys[:, 1].astype(np.int64), keys[:, 2])
    found: dict[tuple[int, int], CellMappings] = {}
    units, costs, choices = [], [], []
    for cores in np.unique(arrays.cores):
        unit_of = np.full(len(keys), -1, dtype=np.int64)
        own = np.flatnonzero(arrays.cores == cores)
        unit_of[cell_of.ravel()[own]] = own
        for share in _sharings(shape, int(cores)):
            piece = share.m, share.n
            if piece not in found:
                sizes = share.m, shape.k, share.n
                found[piece] = cell_mappings(
                    sizes,
                    (shape.input_bytes, shape.weight_bytes, partial_bytes),
                    shape.bias,
                    cells,
                    systolic=systolic,
                    accumulators=accumulators,
                )
            mappings = found[piece]
            unit = unit_of[mappings.cell]
            here = np.flatnonzero(unit >= 0)
            compute, operand, partial, refill = mappings.costs[:, here]
            result = share.m * share.n * shape.input_bytes
            core = operand + 2 * partial + refill + 2 * result
            total = np.stack([operand, partial, refill]) * share.pieces
            units.append(unit[here])
            costs.append(np.concatenate([np.stack([compute, core]) * share.rounds, total]))
            split = np.full((1, len(here)), share.split, dtype=np.int64)
            choices.append(np.concatenate([split, mappings.choices[:, here]]))
    group, cost, choice = np.concatenate(units), np.concatenate(costs, axis=1), np.concatenate(choices, axis=1)
    kept = undominated(group, cost)
    starts = np.searchsorted(group[kept], np.arange(len(arrays) + 1))
    return Mappings(starts, cost[:, kept], choice[:, kept])
