"""Staircases and hypervolumes in two costs: what some designs dominate within a reference point.

A region is a staircase: its corners (x, y), x rising and y falling, dominate all points right of and above them up to
the reference. Its lower edge is the step function y(x), least second cost that is had for a first cost up to x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from catransformers.search.space import FloatArray, IntArray


@dataclass(frozen=True)
class Region:
    """What some designs dominate in the plane of two costs.

    Args:
        first: (n,) first costs of the corners, rising.
        second: (n,) second costs, falling.
        reference: the point up to which anything counts.
    """

    first: FloatArray
    second: FloatArray
    reference: tuple[float, float]

    @classmethod
    def of(cls, first: ArrayLike, second: ArrayLike, reference: tuple[float, float]) -> Region:
        """The region of any designs, (n,) each."""
        x, y = np.asarray(first, dtype=np.float64).ravel(), np.asarray(second, dtype=np.float64).ravel()
        inside = (x < reference[0]) & (y < reference[1])
        x, y = x[inside], y[inside]
        corners = front2(x, y)
        return cls(x[corners], y[corners], reference)

    def united(self, other: Region) -> Region:
        """What either dominates."""
        if not other.first.size:
            return self
        return Region.of(
            np.concatenate([self.first, other.first]), np.concatenate([self.second, other.second]), self.reference
        )

    @cached_property
    def area(self) -> float:
        """Its size, first × second cost."""
        widths = np.diff(np.append(self.first, self.reference[0]))
        return float(np.sum(widths * (self.reference[1] - self.second)))

    def dominates(self, first: ArrayLike, second: ArrayLike) -> NDArray[np.bool_]:
        """Whether some corner is at least as good as each point in both costs."""
        return np.asarray(self.edge(first) <= np.asarray(second))

    def edge(self, first: ArrayLike) -> FloatArray:
        """y(x): the reference left of the first corner."""
        return np.asarray(self._steps[np.searchsorted(self.first, np.asarray(first), side="right")], dtype=np.float64)

    def integral(self, first: FloatArray) -> FloatArray:
        """∫ y dx from 0 to each first cost, which is within the reference; the edge is the reference's left of all."""
        knots, sums = self._sums
        place = np.searchsorted(self.first, first, side="right")
        return np.asarray(sums[place] + (first - knots[place]) * self._steps[place])

    @cached_property
    def _steps(self) -> FloatArray:
        """(n + 1,) heights of the edge: left of all corners, then from each one on."""
        return np.concatenate(([self.reference[1]], self.second))

    @cached_property
    def _ends(self) -> tuple[FloatArray, FloatArray]:
        """(n + 1,) where each step ends, and the heights of all but the first, rising."""
        return np.concatenate((self.first, [self.reference[0]])), self.second[::-1].copy()

    @cached_property
    def _sums(self) -> tuple[FloatArray, FloatArray]:
        """(n + 1,) where each step begins, and the integral up to there."""
        knots = np.concatenate(([0.0], self.first))
        return knots, np.concatenate(([0.0], np.cumsum(np.diff(knots) * self._steps[:-1])))

    def reaches(self, second: FloatArray) -> FloatArray:
        """Least first cost at which the edge is at or below each second cost; the reference where it never is."""
        ends, rising = self._ends
        return np.asarray(ends[rising.size - np.searchsorted(rising, second, side="right")])


def front2(first: ArrayLike, second: ArrayLike) -> IntArray:
    """Positions of the points that no other beats in two costs, by rising first cost; of equals the first one."""
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    order = np.lexsort((np.arange(x.size), y, x))
    order = order[np.isfinite(x[order]) & np.isfinite(y[order])]
    least = np.concatenate(([np.inf], np.minimum.accumulate(y[order])[:-1])) if order.size else y[order]
    return np.asarray(order[y[order] < least], dtype=np.int64)


@dataclass(frozen=True)
class Layers:
    """A front over accuracy and two costs, cut into layers of equal accuracy.

    Args:
        levels: (k,) accuracies at which something is added to the region below, falling strictly.
        regions: what all designs at least that accurate dominate; each holds the one before.
        reference: the costs of the reference point.
        floor: its accuracy.
    """

    levels: FloatArray
    regions: tuple[Region, ...]
    reference: tuple[float, float]
    floor: float = 0.0

    @cached_property
    def all_regions(self) -> tuple[Region, ...]:
        """(k + 1) what is dominated above all levels, which is nothing, and below each of them."""
        return Region.of([], [], self.reference), *self.regions

    @property
    def hypervolume(self) -> float:
        """Volume that the front dominates: accuracy × first × second cost."""
        thick = -np.diff(np.append(self.levels, self.floor))
        return float(sum(t * region.area for t, region in zip(thick, self.regions, strict=True)))


def layers(
    accuracy: Sequence[float] | FloatArray,
    fronts: Sequence[tuple[FloatArray, FloatArray]],
    reference: tuple[float, float],
    floor: float = 0.0,
) -> Layers:
    """The front of some models, each with an accuracy and the costs of its designs."""
    levels: list[float] = []
    regions: list[Region] = []
    so_far = Region.of([], [], reference)
    for k in sorted(range(len(accuracy)), key=lambda k: -accuracy[k]):
        if accuracy[k] <= floor:
            break
        more = so_far.united(Region.of(*fronts[k], reference))
        if more.area <= so_far.area:
            continue
        so_far = more
        if levels and levels[-1] == accuracy[k]:
            regions[-1] = more
        else:
            levels.append(float(accuracy[k]))
            regions.append(more)
    return Layers(np.array(levels), tuple(regions), reference, floor)
