"""How one core runs one matrix product: what stays in the array, how it lies there, and the tile in the local buffer.

Rules, for an array of R × C elements and a product whose dimensions 1 and 2 lie on it while dimension 3 streams:

- Array. A fold costs its stream and, on a systolic array, the skew of the closed forms in `systolic`, with the real
  sizes of edge folds (equal to the closed form where the array divides the dimension, below it elsewhere: rows and
  columns without work are clocked through no skew). What stays crosses once a stream; what streams crosses once a
  fold of the axis that it lacks; partial sums cross for each fold of the reduction.
- Registers. A processing element holds `accumulators` stationary values, so that as many folds in r1 × r2 share one
  pass over the streams and one skew (taken as that of all their rows and columns side by side: more than it is).
- Outputs that stay are finished in the array if the reduction is not cut, or if the tile is no more than the array
  holds at once (`output`); else their sums move to the local buffer at each cut (`output-spilled`).
- Local buffer. Tiles are exchanged with the reduction innermost or, where it is not cut, in either order: an operand
  is read again for each tile of the dimension that it lacks, unless it is the one that stays. Partial sums
  never leave the local buffer; finished values leave it once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from catransformers.hardware.front import Leaders, undominated
from catransformers.hardware.tiling import Tiles, best_tiles, folds

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: What stays in the array; `_AXES` says which of (m, k, n) lie on its first and second axis, and which streams.
FLOWS = ("output", "output-spilled", "weight", "input")
_AXES = ((0, 2, 1), (0, 2, 1), (1, 2, 0), (1, 0, 2))

#: Rows of `CellMappings.costs` and of `CellMappings.choices`.
CELL_COSTS = ("compute_cycles", "operand_bytes", "partial_bytes", "refill_bytes")
CELL_CHOICES = ("flow", "swapped", "held_1", "held_2", "tile_m", "tile_k", "tile_n")

#: Weights of the logarithms of `CELL_COSTS` in the scores of `Leaders`: balanced, and one for each resource.
_SCORES = np.array([[1, 1, 1, 1], [9, 1, 1, 1], [1, 9, 1, 1], [1, 1, 1, 9], [4, 4, 1, 4]], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Cells:
    """V distinct cores, (V,) each: their arrays and the bytes of their local buffers."""

    pe_x: IntArray
    pe_y: IntArray
    local_bytes: FloatArray

    def __len__(self) -> int:
        return len(self.pe_x)


@dataclass(frozen=True, slots=True)
class CellMappings:
    """The undominated mappings of one product on one core of each kind.

    Args:
        cell: which core, rising, (S,).
        costs: rows by `CELL_COSTS`, (4, S): cycles of the array, operand bytes from local buffer to array, bytes of
            partial sums written to (and as many read from) the local buffer, bytes read from global to local buffer.
        choices: rows by `CELL_CHOICES`, (7, S).
    """

    cell: IntArray
    costs: FloatArray
    choices: IntArray


def _tiles(
    flow: int,
    sizes: tuple[int, int, int],
    bytes_: tuple[float, float, float],
    capacities: FloatArray,
    extents: IntArray,
) -> Tiles:
    """The tilings worth a look under a flow; `bytes_` are those of an input, a weight and a partial sum."""
    x, y, z = _AXES[flow]
    a, b, p = bytes_
    whole, cut = (
        ((a, a, b), (a, a, b)),  # results leave the array finished
        ((a, a, b), (p, a, b)),
        ((b, a, p), (b, a, p)),  # the result's tile, over dimensions 2 and 3, holds partial sums
        ((a, b, p), (a, b, p)),
    )[flow]
    return best_tiles((sizes[x], sizes[y], sizes[z]), whole, cut, capacities, extents, whole=flow == 0)


def _shares(accumulators: int) -> list[tuple[int, int]]:
    """The ways to hold folds in registers: powers of two along each dimension, all accumulators used."""
    most = accumulators.bit_length() - 1
    return [(2**e, 2 ** (most - e)) for e in range(most + 1)]


def _crossed(buffer: IntArray, members: list[IntArray]) -> tuple[IntArray, IntArray]:
    """Each tiling with each core that has its buffer: index of the tiling and of the core, (S,) each."""
    rows, cells = [], []
    for b, cores in enumerate(members):
        tilings = np.flatnonzero(buffer == b)
        rows.append(np.repeat(tilings, len(cores)))
        cells.append(np.tile(cores, len(tilings)))
    return np.concatenate(rows), np.concatenate(cells)


@dataclass(frozen=True, slots=True)
class _Product:
    """One product on one core: sizes (m, k, n) and bytes of its tensors, `partial` those of all sums once."""

    sizes: tuple[int, int, int]
    a: float
    b: float
    partial: float
    systolic: bool

    def costs(self, flow: int, counts: IntArray, passes: tuple[FloatArray, ...]) -> FloatArray:
        """The `CELL_COSTS` of candidates, (4, S).

        Args:
            flow: index into `FLOWS`.
            counts: tiles along dimensions 1, 2 and 3, (3, S).
            passes: folds along dimensions 1 and 2, then the same with those that registers hold together counted once.
        """
        f1, f2, g1, g2 = passes
        d1, d2, d3 = (float(self.sizes[axis]) for axis in _AXES[flow])
        nm, nk, nn = (counts[_AXES[flow].index(axis)].astype(np.float64) for axis in range(3))
        streams = np.ones_like(nm) if flow == 0 else counts[2].astype(np.float64)
        compute = f1 * f2 * d3
        if self.systolic:
            rows = d1 if flow < 2 else 2 * d1  # what stays is shifted in before the stream starts
            compute = compute + streams * (g2 * rows + g1 * d2 - 2 * g1 * g2)
        a_reads, b_reads, spills = (
            (g2, g1, np.zeros_like(nm)),
            (g2, g1, streams - 1),
            (g2, streams, g1 - 1),
            (streams, g2, g1 - 1),
        )[flow]
        a, b = self.a, self.b
        refill = np.where(nk > 1, a * nn + b * nm, np.minimum(a * nn + b, a + b * nm))
        return np.stack([compute, a * a_reads + b * b_reads, spills * self.partial, refill])


def cell_mappings(
    sizes: tuple[int, int, int],
    bytes_: tuple[float, float, float],
    bias: bool,
    cells: Cells,
    *,
    systolic: bool,
    accumulators: int,
) -> CellMappings:
    """Every undominated mapping of one product on one core of each kind.

    Args:
        sizes: m, k, n.
        bytes_: bytes of an input, a weight and a partial sum; results are as wide as inputs.
        bias: whether the weights have one more row.
        cells: the cores.
        systolic: whether a fold pays its skew.
        accumulators: stationary values that a processing element holds; a power of two.
    """
    m, k, n = sizes
    product = _Product(sizes, m * k * bytes_[0], (k + bias) * n * bytes_[1], m * n * bytes_[2], systolic)
    capacities, buffer_of = np.unique(cells.local_bytes, return_inverse=True)
    members = [np.flatnonzero(buffer_of == b) for b in range(len(capacities))]
    shares = _shares(accumulators)
    axes = np.unique(np.concatenate([cells.pe_x, cells.pe_y]))
    extents = np.unique(np.outer(axes, [r for r, _ in shares]))
    leaders = Leaders(len(cells), _SCORES)
    # The ways to lay a fold: which array axis dimension 1 lies on, and how many folds registers hold along each.
    ways = [(swapped, r1, r2) for swapped in (0, 1) for r1, r2 in shares]
    xy = ((cells.pe_x, cells.pe_y), (cells.pe_y, cells.pe_x))
    on1, on2, held1, held2 = (
        np.searchsorted(extents, np.stack(spans))
        for spans in (
            [xy[swapped][0] for swapped, _, _ in ways],
            [xy[swapped][1] for swapped, _, _ in ways],
            [xy[swapped][0] * r1 for swapped, r1, _ in ways],
            [xy[swapped][1] * r2 for swapped, _, r2 in ways],
        )
    )
    found: list[tuple[IntArray, FloatArray, IntArray]] = []
    for flow in range(len(FLOWS)):
        tiles = _tiles(flow, sizes, bytes_, capacities, extents)
        row, cell = _crossed(tiles.buffer, members)
        if flow == 1:  # tiles that do not cut the reduction are those of flow 0
            cut = tiles.counts[2][row] > 1
            row, cell = row[cut], cell[cut]
        way = np.repeat(np.arange(len(ways)), len(row))
        row, cell = np.tile(row, len(ways)), np.tile(cell, len(ways))
        x, y, z = _AXES[flow]
        folds1 = folds(sizes[x], tiles.first_sizes, extents).astype(np.float64)
        folds2 = folds(sizes[y], tiles.second_sizes, extents).astype(np.float64)
        counts, first, second = tiles.counts[:, row], tiles.first[row], tiles.second[row]
        g1, g2 = folds1[first, held1[way, cell]], folds2[second, held2[way, cell]]
        if flow == 0:
            valid = np.flatnonzero((counts[2] == 1) | ((g1 == counts[0]) & (g2 == counts[1])))
            row, cell, way, counts = row[valid], cell[valid], way[valid], counts[:, valid]
            first, second, g1, g2 = first[valid], second[valid], g1[valid], g2[valid]
        f1, f2 = folds1[first, on1[way, cell]], folds2[second, on2[way, cell]]
        costs = product.costs(flow, counts, (f1, f2, g1, g2))
        leaders.update(cell, costs)
        kept = leaders.unbeaten(cell, costs)
        chosen = np.empty((len(CELL_CHOICES), len(kept)), dtype=np.int64)
        chosen[0] = flow
        chosen[1:4] = np.array(ways).T[:, way[kept]]
        chosen[4 + x] = tiles.first_sizes[first[kept]]
        chosen[4 + y] = tiles.second_sizes[second[kept]]
        chosen[4 + z] = tiles.third[row[kept]]
        found.append((cell[kept], costs[:, kept], chosen))
    cell, costs = np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found], axis=1)
    choices = np.concatenate([f[2] for f in found], axis=1)
    hopeful = leaders.unbeaten(cell, costs)
    kept = hopeful[undominated(cell[hopeful], costs[:, hopeful])]
    return CellMappings(cell[kept], costs[:, kept], choices[:, kept])
