"""Dominated levels, a bound for EHVI in two costs: from which accuracy down nothing of a model's front is new.

What is known to be dominated grows from level to level, so that every point of the plane of two costs has a first level
at which it is dominated. From the latest of its points' levels on a model adds nothing, however loose other bounds are;
above it the model must surprise. The plane is cut into cells, evenly in the bits of single-precision numbers, so about
evenly in logarithms, and each point is taken for the lower left corner of its cell, which is dominated no sooner: tens
of millions of points are looked up in a table. Costs are 0 or more; the bits of such numbers are in their order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catransformers.search.costs.hardware_fronts import HardwareFronts
from catransformers.search.geometry.regions import Layers
from catransformers.search.space import FloatArray

CELLS = 1 << 10  # along a cost, about


@dataclass(frozen=True)
class _Axis:
    """The cells of one cost: the first one lies below all that is known, the last one is what does not count.

    Args:
        end: bits of the reference, which begins the last cell.
        shift: how many bits a cell spans.
        cells: how many there are beside the last.
    """

    end: int
    shift: int
    cells: int

    @classmethod
    def of(cls, least: float, reference: float) -> _Axis:
        """Cells from the least cost known up to the reference."""
        whole = np.float32(reference)
        end = _bits(whole if whole >= reference else np.nextafter(whole, np.float32(np.inf)))
        span = end - _bits(np.float32(least))
        shift = max(0, span // CELLS).bit_length()
        return cls(end, shift, (span >> shift) + 2)

    def of_costs(self, costs: NDArray[np.float32]) -> NDArray[np.int32]:
        """The cell of each cost."""
        found: NDArray[np.int32] = (costs.view(np.int32) - np.int32(self.end)) >> np.int32(self.shift)
        return np.clip(found, -self.cells, 0, out=found) + np.int32(self.cells)

    @property
    def corners(self) -> FloatArray:
        """(cells - 1,) where the cells between the first and the last begin."""
        bits = self.end - (np.arange(self.cells - 1, 0, -1, dtype=np.int64) << self.shift)
        bits = np.maximum(bits, 0)
        return np.asarray(bits.astype(np.int32).view(np.float32), dtype=np.float64)


def _bits(number: np.floating) -> int:
    return int(np.float32(number).view(np.int32))


@dataclass(frozen=True)
class DominatedLevels:
    """The level from which on each point of the plane is dominated.

    Args:
        first, second: the cells of both costs.
        level: (cells of the first + 1, cells of the second + 1) a level, counted as areas are: 0 is above all levels;
            one more than the last where nothing known dominates the point.
    """

    first: _Axis
    second: _Axis
    level: NDArray[np.uint16]

    @classmethod
    def of(cls, front: Layers) -> DominatedLevels:
        """For what is known so far."""
        regions, last = front.all_regions, front.all_regions[-1]
        corner = (last.first[0], last.second[-1]) if last.first.size else front.reference
        first, second = (_Axis.of(float(a), b) for a, b in zip(corner, front.reference, strict=True))
        level = np.full((first.cells + 1, second.cells + 1), len(regions), dtype=np.uint16)
        edges = np.stack([region.edge(first.corners) for region in regions])
        for cell, edge in enumerate(edges.T, start=1):
            level[cell, 1 : second.cells] = np.searchsorted(-edge, -second.corners, side="left")
        level[first.cells], level[:, second.cells] = 0, 0
        return cls(first, second, level)

    def of_models(self, fronts: HardwareFronts, begin: int, end: int) -> NDArray[np.uint16]:
        """(end - begin,) the level from which on no point of a model's front is new, at the latest."""
        start = fronts.start[begin : end + 1]
        part = slice(int(start[0]), int(start[-1]))
        cell = self.first.of_costs(fronts.first[part]) * np.int32(self.second.cells + 1)
        cell += self.second.of_costs(fronts.second[part])
        found = np.zeros(end - begin, dtype=np.uint16)
        some = np.flatnonzero(np.diff(start))
        if some.size:
            found[some] = np.maximum.reduceat(self.level.ravel().take(cell), start[some] - start[0])
        return found
