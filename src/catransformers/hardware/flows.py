"""How one core runs one matrix product: what stays in the array, how it lies there, and the tile in the local buffer.

Rules, for an array of R × C elements and a product whose dimensions 1 and 2 lie on it while dimension 3 streams:

- Array. A fold costs its stream and, on a systolic array, the skew of the closed forms in `dataflow`, with the real
  sizes of edge folds (equal to the closed form where the array divides the dimension, below it elsewhere: rows and
  columns without work are clocked through no skew). What stays crosses once a stream; what streams crosses once a
  fold of the axis that it lacks; partial sums cross for each fold of the reduction.
- Registers. A processing element holds `accumulators` stationary values, so that as many folds in r1 × r2 share one
  pass over the streams and one skew (taken as that of all their rows and columns side by side: more than it is).
- Streams. If the tile is no more than the array holds at once, and dimension 3 is the innermost loop, what lies on the
  array stays there while the stream passes tile by tile: one stream, one skew (`output`, `weight-held`, `input-held`).
  Else each tile of the stream has a skew and brings what stays anew (`weight`, `input`); outputs go to the local
  buffer as partial sums at each cut of the reduction (`output-spilled`), and are never cut otherwise.
- Local buffer. An operand is read again for each tile of the dimension that it lacks, unless it is the one that stays
  in the innermost loop. Partial sums stay until they are finished if the innermost loop is the reduction. If that is m
  or n and the reduction is cut, they leave for the global buffer and come back at each cut. Where all three tiles
  share S bytes, this moves 2√(8/S) = 5.7/√S bytes a product instead of 2/√(S/4) = 4/√S (4-byte sums there and back
  against a quarter of the room for them) and loses; in a narrow, tiny buffer whose sums fit in the array it may win.

What is not searched: partly used registers and shares of the reduction between cores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from catransformers.hardware.dataflow import DATAFLOWS, Dataflow, K, M, N
from catransformers.hardware.front import Leaders, undominated
from catransformers.hardware.tiling import Axis, Tiles, Width, axis, best_tiles, odd_part

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Rows of `CellMappings.costs` and of `CellMappings.choices`.
CELL_COSTS = ("compute_cycles", "operand_bytes", "partial_bytes", "refill_bytes", "spill_bytes")
CELL_CHOICES = ("flow", "swapped", "held_1", "held_2", "tile_m", "tile_k", "tile_n", "innermost")

#: Candidates evaluated at once, so that they stay in the processor's cache.
_CHUNK = 40_000
#: Of so few cores nobody shares mappings, and finding the exact fronts does not pay.
FEW_CELLS = 8


@dataclass(frozen=True, slots=True)
class Cells:
    """V distinct cores, (V,) each: their arrays and the bytes of their local buffers."""

    pe_x: IntArray
    pe_y: IntArray
    local_bytes: FloatArray

    def __len__(self) -> int:
        return len(self.pe_x)

    def select(self, index: IntArray) -> Cells:
        """Some of them."""
        return Cells(self.pe_x[index], self.pe_y[index], self.local_bytes[index])


@dataclass(frozen=True, slots=True)
class Prices:
    """Bounds on what a byte costs in energy, in units of a byte read from a local buffer.

    A mapping that is no better in cycles, in bytes through the local buffer, in refilled and in spilled bytes, and in
    energy at the lowest and at the highest price of local writes with global accesses at their lowest, is no better
    anywhere: any other energy is a sum of these with positive weights.

    Args:
        local_write_low, local_write_high: of a byte written to a local buffer.
        global_read, global_write: the lowest of a byte read from, or written to, the global buffer.
    """

    local_write_low: float
    local_write_high: float
    global_read: float
    global_write: float

    def energies(
        self, operand: FloatArray, partial: FloatArray, refill: FloatArray, spill: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Energy of some bytes at the lowest and at the highest price of local writes."""
        fixed = operand + partial + self.global_read * refill + (1 + self.global_write) * spill
        written = partial + refill
        return fixed + self.local_write_low * written, fixed + self.local_write_high * written


@dataclass(frozen=True, slots=True)
class CellMappings:
    """The mappings of one product on one core of each kind that nothing beats (of few cores: that little beats).

    Args:
        cell: which core, rising, (S,).
        costs: rows by `CELL_COSTS`, (5, S): cycles of the array, operand bytes from local buffer to array, bytes of
            partial sums written to (and as many read from) the local buffer, bytes read from global to local buffer,
            and bytes of partial sums that go the other way.
        choices: rows by `CELL_CHOICES`, (8, S).
    """

    cell: IntArray
    costs: FloatArray
    choices: IntArray


@dataclass(frozen=True, slots=True)
class Product:
    """One product on one core.

    Args:
        sizes: m, k, n.
        input_bytes, weight_bytes, partial_bytes: of a value; results are as wide as inputs.
        bias: whether the weights have one more row.
    """

    sizes: tuple[int, int, int]
    input_bytes: float
    weight_bytes: float
    partial_bytes: float
    bias: bool

    @property
    def a(self) -> float:
        """Bytes of the (m × k) operand."""
        return self.sizes[0] * self.sizes[1] * self.input_bytes

    @property
    def b(self) -> float:
        """Bytes of the (k × n) operand."""
        return (self.sizes[1] + self.bias) * self.sizes[2] * self.weight_bytes

    @property
    def sums(self) -> float:
        """Bytes of all partial sums, once."""
        return self.sizes[0] * self.sizes[2] * self.partial_bytes


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """T tilings with an order of loops. What one costs is linear in g1, g2 and g1·g2, the passes over the array.

    Args:
        exact: (8, T): buffer; tile sizes of dimensions 1 and 2 as rows of the table of passes; flow; the tile's m, k
            and n; the innermost loop.
        terms: (14, T): tiles along dimensions 1 and 2; whether each must be one pass; length of the stream; cycles of
            skew for g2, g1 and g1·g2; operand bytes at once, for g1 and for g2; partial bytes at once and for g1;
            refilled and spilled bytes.
    """

    exact: IntArray
    terms: FloatArray

    @classmethod
    def joined(cls, parts: list[_Rows]) -> _Rows:
        """Those of several flows."""
        return cls(np.concatenate([p.exact for p in parts], axis=1), np.concatenate([p.terms for p in parts], axis=1))

    def select(self, index: IntArray | slice) -> _Rows:
        """Some of them."""
        return _Rows(self.exact[:, index], self.terms[:, index])


def _widths(flow: Dataflow, product: Product, axes: tuple[Axis, Axis]) -> tuple[tuple[Width, Width, Width], ...]:
    """Bytes of a value of the tensors over dimensions (1,2), (1,3), (2,3), if dimension 3 is whole and if it is cut."""
    a, b, p = product.input_bytes, product.weight_bytes, product.partial_bytes
    whole: Width = a
    cut: Width = a if flow.finishes else p
    if not flow.reduces:  # partial sums, unless all of the reduction stays in the array at once
        whole = cut = np.where(axes[0].counts[:, None] > 1, p, a) if flow.held else p
    return flow.by_tensor(b, whole, a), flow.by_tensor(b, cut, a)


def _orders(
    flow: Dataflow, product: Product, counts: tuple[FloatArray, FloatArray, FloatArray]
) -> Iterator[tuple[IntArray, FloatArray, FloatArray, IntArray]]:
    """The orders of loops around the local buffer that may be best.

    Args:
        flow: what stays in the array.
        product: what is tiled.
        counts: tiles along m, k and n, (T,) each.

    Yields:
        Which tilings, (R,), their refilled and spilled bytes, and the innermost loop.
    """
    nm, nk, nn = counts
    a, b, sums = product.a, product.b, (nk - 1) * product.sums
    every = np.arange(len(nm))
    resting = {M: a * nn + b, N: a + b * nm}  # with m innermost the weights rest in the buffer, with n the inputs
    if flow.held and not flow.reduces:  # the stream is the innermost loop
        refill = np.where(counts[flow.stream] > 1, resting[flow.stream], a + b)
        yield every, refill + sums, sums, np.full_like(every, flow.stream)
        return
    cut = nk > 1
    refill = np.where(cut, a * nn + b * nm, np.minimum(resting[M], resting[N]))
    yield every, refill, np.zeros_like(nm), np.where(cut, K, np.where(resting[M] <= resting[N], M, N))
    if flow.finishes:
        return
    for dimension, own in ((M, nm), (N, nn)):
        rows = np.flatnonzero(cut & (own > 1) & (resting[dimension] + sums < refill))
        if len(rows):
            yield rows, (resting[dimension] + sums)[rows], sums[rows], np.full_like(rows, dimension)


def _rows(
    flow: Dataflow, product: Product, axes: tuple[Axis, Axis], offsets: tuple[int, int], tiles: Tiles, systolic: bool
) -> list[_Rows]:
    """The tilings of a flow; `offsets` are where the passes of either axis begin in the table of passes."""
    first, second = tiles.first, tiles.second
    tile = flow.by_dimension(axes[0].sizes[first], axes[1].sizes[second], tiles.third)
    streams = 1.0 if flow.held else tiles.count
    skews = streams if systolic else 0.0
    stays, lacks_2, lacks_1 = flow.by_tensor(product.b, 0.0, product.a)
    sums = product.sums
    exact = np.empty((8, len(first)), dtype=np.int64)
    terms = np.empty((14, len(first)))
    exact[0], exact[1], exact[2] = tiles.buffer, first + offsets[0], second + offsets[1]
    exact[3] = DATAFLOWS.index(flow)
    exact[4], exact[5], exact[6] = tile
    for at, term in enumerate(
        (
            *(axes[0].counts[first], axes[1].counts[second]),
            tiles.count > 1 if flow.finishes else flow.held,
            product.sizes[flow.stream],
            *(skews * (flow.shifts * product.sizes[flow.rows]), skews * product.sizes[flow.columns], -2 * skews),
            *(stays * streams, lacks_1, lacks_2),
            *((sums * (streams - 1), 0.0) if flow.reduces else (-sums, sums)),
        )
    ):
        terms[at] = term
    counts = flow.by_dimension(terms[0], terms[1], tiles.count.astype(np.float64))
    found = []
    for index, refill, spill, inner in _orders(flow, product, counts):
        rows = _Rows(exact[:, index], terms[:, index])
        rows.terms[12], rows.terms[13], rows.exact[7] = refill, spill, inner
        found.append(rows)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Layouts:
    """The ways to lay a fold on some cores: which axis dimension 1 lies on, and the folds that registers hold.

    Args:
        extents: lengths that an axis may have with the folds held along it, rising, (E,).
        holds: folds held along dimensions 1 and 2, (H, 2).
        on1, on2: index of the extent under dimensions 1 and 2, (2, V): straight and swapped.
        held1, held2: the same with the folds that registers hold, (2, H, V).
    """

    extents: IntArray
    holds: IntArray
    on1: IntArray
    on2: IntArray
    held1: IntArray
    held2: IntArray

    @classmethod
    def of(cls, cells: Cells, accumulators: int) -> _Layouts:
        """The ways on each core; powers of two along each dimension, all accumulators used."""
        most = accumulators.bit_length() - 1
        holds = np.array([(2**e, 2 ** (most - e)) for e in range(most + 1)], dtype=np.int64)
        straight, swapped = np.stack([cells.pe_x, cells.pe_y]), np.stack([cells.pe_y, cells.pe_x])
        held1, held2 = straight[:, None, :] * holds[:, :1], swapped[:, None, :] * holds[:, 1:]
        extents = np.unique(np.concatenate([straight.ravel(), held1.ravel(), held2.ravel()]))
        on1, on2, held1, held2 = (np.searchsorted(extents, e) for e in (straight, swapped, held1, held2))
        return cls(extents, holds, on1, on2, held1, held2)

    def at(self, cells: IntArray) -> _Layouts:
        """Those of some of the cores."""
        return _Layouts(
            self.extents,
            self.holds,
            self.on1[:, cells],
            self.on2[:, cells],
            self.held1[:, :, cells],
            self.held2[:, :, cells],
        )


def _costs(rows: _Rows, layouts: _Layouts, passes: FloatArray) -> list[FloatArray]:
    """The `CELL_COSTS` of T tilings on V cores, laid out in each way: (T, 2, H, V), or (T, 1, 1, 1) where that is all.

    Ways that are not allowed take for ever.
    """
    c1, c2, single, stream, skew2, skew1, skew12, operand0, operand1, operand2, partial0, partial1, refill, spill = (
        rows.terms[:, :, None, None, None]
    )
    first, second = passes[rows.exact[1]], passes[rows.exact[2]]  # (T, E)
    g1, g2 = first[:, layouts.held1], second[:, layouts.held2]
    compute = ((first[:, layouts.on1] * second[:, layouts.on2])[:, :, None, :]) * stream
    compute = compute + (skew2 * g2 + (skew1 + skew12 * g2) * g1)
    compute[(single > 0) & ((g1 > c1) | (g2 > c2))] = np.inf
    return [compute, operand0 + operand1 * g1 + operand2 * g2, partial0 + partial1 * g1, refill, spill]


def _searched(
    rows: _Rows, layouts: _Layouts, passes: FloatArray, prices: Prices
) -> tuple[IntArray, FloatArray, IntArray]:
    """The candidates among T tilings for V cores with one local buffer: core, costs and choices as `CellMappings`."""
    ways, cores = 2 * len(layouts.holds), layouts.on1.shape[1]
    leaders = Leaders(cores)
    step = max(1, _CHUNK // (ways * cores))
    found = []
    for start in range(0, rows.exact.shape[1], step):
        chunk = rows.select(slice(start, start + step))
        costs = _costs(chunk, layouts, passes)
        shape = costs[0].shape
        compared = [np.broadcast_to(c, shape).reshape(-1, cores) for c in _compared(costs, prices)]
        kept = leaders.screen(compared)
        tiling, swapped, hold, core = np.unravel_index(kept, shape)
        exact = chunk.exact[:, tiling]
        choices = np.concatenate([[exact[3], swapped], layouts.holds[hold].T, exact[4:]])
        cost = np.stack([np.broadcast_to(c, shape)[tiling, swapped, hold, core] for c in costs])
        found.append((core, cost, choices))
    core, cost, choices = (np.concatenate([f[i] for f in found], axis=-1) for i in range(3))
    if len(found) > 1:
        hopeful = leaders.unbeaten(core, _compared(cost, prices))
        core, cost, choices = core[hopeful], cost[:, hopeful], choices[:, hopeful]
    return core, cost, choices


def _compared(costs: Sequence[FloatArray] | FloatArray, prices: Prices) -> list[FloatArray]:
    """What decides between mappings of one core, from the `CELL_COSTS`; see `Prices`."""
    compute, operand, partial, refill, spill = costs
    return [compute, operand + 2 * partial + (refill + spill), refill, spill, *prices.energies(*costs[1:])]


def cell_mappings(product: Product, cells: Cells, prices: Prices, *, systolic: bool, accumulators: int) -> CellMappings:
    """The mappings of one product on one core of each kind.

    Args:
        product: sizes and widths.
        cells: the cores.
        prices: bounds on what a byte costs.
        systolic: whether a fold pays its skew.
        accumulators: stationary values that a processing element holds; a power of two.
    """
    # The tile sizes tried follow the odd parts of an array's extents: a core's mappings are its own, whatever is
    # searched along with it.
    odd = np.sort([[odd_part(int(e)) for e in pes] for pes in (cells.pe_x, cells.pe_y)], axis=0)
    kinds, kind_of = (odd, np.zeros(1)) if len(cells) == 1 else np.unique(odd, axis=1, return_inverse=True)
    found = []
    for number, kind in enumerate(kinds.T):
        members = np.flatnonzero(kind_of.ravel() == number)
        bases = tuple(sorted({1, *kind.tolist()}))
        cell, costs, choices = _of_kind(product, cells.select(members), bases, prices, systolic, accumulators)
        found.append((members[cell], costs, choices))
    cell, costs, choices = (np.concatenate([f[i] for f in found], axis=-1) for i in range(3))
    if len(cells) > FEW_CELLS:
        kept = undominated(cell, np.stack(_compared(costs, prices)))
    else:
        kept = np.argsort(cell, kind="stable")
    return CellMappings(cell[kept], costs[:, kept], choices[:, kept])


def _of_kind(
    product: Product, cells: Cells, bases: tuple[int, ...], prices: Prices, systolic: bool, accumulators: int
) -> tuple[IntArray, FloatArray, IntArray]:
    """The candidates for cores whose arrays have extents of the same odd parts, `bases`."""
    layouts = _Layouts.of(cells, accumulators)
    capacities, buffer_of = np.unique(cells.local_bytes, return_inverse=True)
    extents = tuple(layouts.extents.tolist())
    axes = [axis(size, extents, bases) for size in product.sizes]
    offsets = np.concatenate([[0], np.cumsum([len(found.sizes) for found in axes])])
    passes = np.concatenate([found.passes for found in axes]).astype(np.float64)
    parts = []
    for flow in DATAFLOWS:
        x, y = flow.rows, flow.columns
        pair = axes[x], axes[y]
        whole, cut = _widths(flow, product, pair)
        tiles = best_tiles(pair, product.sizes[flow.stream], whole, cut, capacities, held=flow.held)
        if flow.reduces and not flow.held:  # reductions that are not cut are the first flow's
            tiles = tiles.select(tiles.count > 1)
        parts += _rows(flow, product, pair, (int(offsets[x]), int(offsets[y])), tiles, systolic)
    rows = _Rows.joined(parts)
    found = []
    for buffer in range(len(capacities)):
        members = np.flatnonzero(buffer_of == buffer)
        own = slice(None) if len(capacities) == 1 else np.flatnonzero(rows.exact[0] == buffer)
        core, cost, choices = _searched(rows.select(own), layouts.at(members), passes, prices)
        found.append((members[core], cost, choices))
    cell, costs, choices = (np.concatenate([f[i] for f in found], axis=-1) for i in range(3))
    return cell, costs, choices
