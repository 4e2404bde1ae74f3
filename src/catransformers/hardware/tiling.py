"""Tiles of a matrix product in a local buffer: which sizes to try, which of them nothing beats.

A product has three dimensions; two of them (1 and 2) lie on the array, the third streams through it. Tile factors are
imperfect: a dimension D with tiles of t has ⌈D/t⌉ of them and the last is as small as it is. Everything that a tile
costs falls with the number of tiles, so that for each pair (t1, t2) the longest t3 that fits is the best; it is solved
for, not searched. On the array's dimensions, powers of two (times the odd part of an array's extent) and ⌈D/i⌉ for
small i are tried; against all sizes this costs less than a percent, and up to 3 % in one of some hundred tiny buffers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: ⌈D/i⌉ is tried for i up to this.
EQUAL_PARTS = 8


def tile_sizes(size: int, bases: tuple[int, ...] = (1,)) -> IntArray:
    """Tile sizes to try along a dimension of `size`, rising, the whole dimension last.

    Powers of two times each of `bases`, which are the odd parts of the arrays' extents, so that tiles fill them.
    """
    powers = {base * 2**e for base in bases for e in range(size.bit_length()) if base * 2**e < size}
    return np.array(sorted(powers | {-(-size // i) for i in range(1, EQUAL_PARTS + 1)}), dtype=np.int64)


def folds(size: int, tiles: IntArray, extents: IntArray) -> IntArray:
    """Passes over an array axis for a dimension cut into tiles, (T, E); every tile is padded by itself."""
    t, e = tiles[:, None], extents[None, :]
    whole = -(-size // t) - 1
    return np.asarray(whole * -(-t // e) + -(-(size - whole * t) // e))


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tilings that no other one beats, one row each (S,), for every local buffer asked for.

    Args:
        buffer: index of the local buffer that the tiling is for.
        first, second: index into `first_sizes` and `second_sizes`.
        first_sizes, second_sizes: the tile sizes tried on dimensions 1 and 2.
        third: tile size on dimension 3.
        counts: number of tiles along dimensions 1, 2 and 3, (3, S).
    """

    buffer: IntArray
    first: IntArray
    second: IntArray
    first_sizes: IntArray
    second_sizes: IntArray
    third: IntArray
    counts: IntArray


def _next_better(counts: IntArray, passes: IntArray, whole: bool) -> IntArray:
    """For each tile size the next larger one that needs no more tiles and no more passes on any array; −1 without one.

    With `whole`, it must also be one pass a tile wherever the smaller one is.
    """
    better = np.full(len(counts), -1, dtype=np.int64)
    single = (passes == counts[:, None]) if whole else np.zeros_like(passes, dtype=np.bool_)
    for i in range(len(counts) - 1):
        fits = (counts[i + 1 :] <= counts[i]) & (passes[i + 1 :] <= passes[i]).all(axis=1)
        fits &= (single[i + 1 :] | ~single[i]).all(axis=1)
        if fits.any():
            better[i] = i + 1 + int(np.argmax(fits))
    return better


def longest_third(
    sizes: tuple[int, int, int],
    t1: IntArray,
    t2: IntArray,
    bytes_: tuple[float, float, float],
    partial: tuple[float, float, float],
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
    tile12, tile1, tile2 = t1 * t2, t1.astype(np.float64), t2.astype(np.float64)
    whole = (
        (1 + (many1 | many2)) * tile12 * bytes_[0]
        + (1 + many1) * tile1 * d3 * bytes_[1]
        + (1 + many2) * tile2 * d3 * bytes_[2]
    )
    left = capacity - (1 + (many1 | many2)) * tile12 * partial[0]
    cut = np.floor(left / (2 * (tile1 * partial[1] + tile2 * partial[2])))
    return np.where(whole <= capacity, d3, np.clip(cut, 0, max(d3 - 1, 0))).astype(np.int64)


def best_tiles(
    sizes: tuple[int, int, int],
    bytes_: tuple[float, float, float],
    partial: tuple[float, float, float],
    capacities: FloatArray,
    extents: IntArray,
    whole: bool,
) -> Tiles:
    """The tilings worth a look, for each of several local buffers.

    Args:
        sizes: extents D1, D2, D3.
        bytes_, partial: as in `longest_third`.
        capacities: bytes of the buffers, (L,).
        extents: lengths that an array axis may have; a tiling is dropped only if another one is as good on all of them.
        whole: whether a tile of one pass over the array has a merit of its own.
    """
    d1, d2, d3 = sizes
    bases = tuple({1, *(int(e) // (int(e) & -int(e)) for e in extents)})
    s1, s2 = tile_sizes(d1, bases), tile_sizes(d2, bases)
    n1, n2 = -(-d1 // s1), -(-d2 // s2)
    third = longest_third(sizes, s1[None, :, None], s2[None, None, :], bytes_, partial, capacities[:, None, None])
    fits = third > 0
    n3 = np.where(fits, -(-d3 // np.maximum(third, 1)), np.iinfo(np.int64).max)
    beaten = np.zeros_like(fits)
    for axis, (counts, tiles, size) in enumerate(((n1, s1, d1), (n2, s2, d2)), start=1):
        following = _next_better(counts, folds(size, tiles, extents), whole)
        has = following >= 0
        other = np.take(n3, np.where(has, following, 0), axis=axis)
        shape = (1, -1, 1) if axis == 1 else (1, 1, -1)
        beaten |= has.reshape(shape) & (other <= n3)
    buffer, first, second = np.nonzero(fits & ~beaten)
    return Tiles(
        buffer,
        first,
        second,
        s1,
        s2,
        third[buffer, first, second],
        np.stack([n1[first], n2[second], n3[buffer, first, second]]),
    )
