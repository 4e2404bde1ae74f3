"""Tiles of a matrix product in a local buffer: which sizes to try, which of them nothing beats.

A product has three dimensions; two of them (1 and 2) lie on the array, the third streams through it. Tile factors are
imperfect: a dimension D with tiles of t has ⌈D/t⌉ of them and the last is as small as it is. Everything that a tile
costs falls with the number of tiles, so that for each pair (t1, t2) the longest t3 that fits is the best; it is solved
for, not searched. On the array's dimensions are tried: every size up to `EVERY`, `PER_OCTAVE` sizes an octave above it
(multiples of powers of two, so that tiles fill arrays), and ⌈D/i⌉ for i up to `EQUAL_PARTS`. How little this loses
against all sizes is tested on random products (`tests/hardware/test_hardware_optimality.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
#: Bytes of a value: one number, or one for each pair of tile sizes.
Width = float | FloatArray

#: Sizes tried: all up to `EVERY`; q·2^e for `PER_OCTAVE` ≤ q < 2·`PER_OCTAVE`; ⌈D/i⌉ for i up to `EQUAL_PARTS`.
EVERY = 32
PER_OCTAVE = 4
EQUAL_PARTS = 8


def odd_part(extent: int) -> int:
    """What is left of a number without its factors of two."""
    return extent // (extent & -extent)


def tile_sizes(size: int, bases: tuple[int, ...] = (1,)) -> IntArray:
    """Tile sizes to try along a dimension of `size`, rising, the whole dimension last.

    Args:
        size: the dimension.
        bases: odd parts of the array's extents; sizes on the grid are multiples of them too, so that tiles fill it.
    """
    octaves = range(size.bit_length())
    grid = {base * q << e for base in bases for q in (1, *range(PER_OCTAVE, 2 * PER_OCTAVE)) for e in octaves}
    small = range(1, min(EVERY, size) + 1)
    parts = (-(-size // i) for i in range(1, EQUAL_PARTS + 1))
    return np.array(sorted({*small, *parts, *(t for t in grid if t < size)}), dtype=np.int64)


def folds(size: int, tiles: IntArray, extents: IntArray) -> IntArray:
    """Passes over an array axis for a dimension cut into tiles, (T, E); every tile is padded by itself."""
    t, e = tiles[:, None], extents[None, :]
    whole = -(-size // t) - 1
    return np.asarray(whole * -(-t // e) + -(-(size - whole * t) // e))


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """A dimension that lies on the array, cut into tiles of T sizes.

    Args:
        sizes: of a tile, rising, (T,).
        counts: tiles of each size, (T,).
        passes: over an array axis of each of E extents, (T, E).
        better: the next larger size that needs no more tiles and no more passes on any extent, (T,); −1 without one.
        better_held: the same, where one pass a tile has a merit of its own that the larger size must share.
    """

    sizes: IntArray
    counts: IntArray
    passes: IntArray
    better: IntArray
    better_held: IntArray


@lru_cache(maxsize=4096)
def axis(size: int, extents: tuple[int, ...], bases: tuple[int, ...]) -> Axis:
    """The tile sizes tried along a dimension.

    Args:
        size: the dimension.
        extents: lengths that the array axis may have; a size is beaten only by one as good on all of them.
        bases: as in `tile_sizes`.
    """
    sizes = tile_sizes(size, bases)
    counts = -(-size // sizes)
    passes = folds(size, sizes, np.array(extents, dtype=np.int64))
    larger = np.triu(np.ones((len(sizes), len(sizes)), dtype=np.bool_), k=1)
    beats = larger & (passes[None, :, :] <= passes[:, None, :]).all(axis=2)
    single = passes == counts[:, None]
    beats_held = beats & (single[None, :, :] | ~single[:, None, :]).all(axis=2)
    better, better_held = (np.where(b.any(axis=1), b.argmax(axis=1), -1) for b in (beats, beats_held))
    return Axis(sizes, counts, passes, better, better_held)


def longest_third(
    sizes: tuple[int, int, int],
    t1: IntArray,
    t2: IntArray,
    bytes_: tuple[Width, Width, Width],
    partial: tuple[Width, Width, Width],
    capacity: FloatArray,
) -> IntArray:
    """The longest tile along dimension 3 that fits beside t1 × t2; 0 where none does.

    A tensor that is exchanged while the array runs (has more than one tile) is buffered twice.

    Args:
        sizes: extents D1, D2, D3 of the product.
        t1, t2: tile sizes; arrays that broadcast with `capacity`.
        bytes_: bytes of a value of the tensors over dimensions (1,2), (1,3), (2,3) if dimension 3 is not cut.
        partial: the same if it is cut (partial sums, if the result lies over dimensions 1 and 2).
        capacity: bytes of the buffer.
    """
    d1, d2, d3 = sizes
    many1, many2 = t1 < d1, t2 < d2
    tile12 = t1 * t2 * (1.0 + (many1 | many2))
    whole = tile12 * bytes_[0] + d3 * ((1.0 + many1) * t1 * bytes_[1] + (1.0 + many2) * t2 * bytes_[2])
    cut = np.floor((capacity - tile12 * partial[0]) / (2.0 * (t1 * partial[1] + t2 * partial[2])))
    return np.where(whole <= capacity, d3, np.clip(cut, 0, max(d3 - 1, 0))).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """Tilings that no other one beats, one row each (S,), for every local buffer asked for.

    Args:
        buffer: index of the local buffer that the tiling is for, rising.
        first, second: index into the sizes of the axes of dimensions 1 and 2.
        third: tile size on dimension 3.
        count: number of tiles along dimension 3.
    """

    buffer: IntArray
    first: IntArray
    second: IntArray
    third: IntArray
    count: IntArray

    def select(self, index: npt.NDArray[np.bool_]) -> Tiles:
        """Some of them."""
        return Tiles(self.buffer[index], self.first[index], self.second[index], self.third[index], self.count[index])


def best_tiles(
    axes: tuple[Axis, Axis],
    size: int,
    bytes_: tuple[Width, Width, Width],
    partial: tuple[Width, Width, Width],
    capacities: FloatArray,
    *,
    held: bool,
) -> Tiles:
    """The tilings worth a look, for each of several local buffers.

    Args:
        axes: the tile sizes of dimensions 1 and 2.
        size: dimension 3.
        bytes_, partial: as in `longest_third`; arrays are (T1, T2).
        capacities: bytes of the buffers, (L,).
        held: whether what lies on the array stays there while dimension 3 passes tile by tile: then it matters whether
            that dimension is cut, not into how many tiles, and a tile of one pass over the array has its own merit.
    """
    one, two = axes
    sizes = int(one.sizes[-1]), int(two.sizes[-1]), size
    third = longest_third(
        sizes, one.sizes[:, None], two.sizes[None, :], bytes_, partial, np.asarray(capacities)[:, None, None]
    )
    fits = third > 0
    count = -(-size // np.maximum(third, 1))
    weight = np.where(fits, np.minimum(count, 2) if held else count, np.iinfo(np.int64).max)
    beaten = ~fits
    for at, of in enumerate(axes, start=1):
        better = of.better_held if held else of.better
        other = np.take(weight, better, axis=at)
        has = (better >= 0).reshape((-1, 1) if at == 1 else (1, -1))
        beaten |= has & (other <= weight)
    buffer, first, second = np.nonzero(~beaten)
    return Tiles(buffer, first, second, third[buffer, first, second], count[buffer, first, second])
