"""Fronts and hypervolumes for one quantity to maximise (accuracy) and one to minimise (cost).

A design is on the front if no other is at least as good in both and better in one; of equal designs one is kept.
The hypervolume is the area between the front and a reference point (Zitzler & Thiele, 1998): with accuracy upwards
and cost to the right, of all points (f, c) with f below and c right of some member, and inside the reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def front(accuracy: ArrayLike, cost: ArrayLike) -> NDArray[np.int64]:
    """Positions of the designs that no other beats, by rising cost; duplicates kept once (the first).

    Args:
        accuracy: (n,), to maximise.
        cost: (n,), to minimise; designs of infinite cost are never on the front.

    Raises:
        ValueError: if a number is NaN or the lengths differ.
    """
    f, c = _columns(accuracy, cost)
    order = np.lexsort((np.arange(f.size), -f, c))
    order = order[np.isfinite(c[order])]
    best_before = np.concatenate(([-np.inf], np.maximum.accumulate(f[order])[:-1])) if order.size else f[order]
    return order[f[order] > best_before].astype(np.int64)


@dataclass(frozen=True)
class Staircase:
    """A front as steps: spending up to `costs[k]` buys `levels[k]`; both rise strictly.

    Args:
        costs: (k,) of the front's members within the reference.
        levels: (k,) their accuracies.
        reference_cost: the greatest cost that counts.
        reference_level: the accuracy below which nothing counts; had for free.
    """

    costs: FloatArray
    levels: FloatArray
    reference_cost: float
    reference_level: float = 0.0

    @property
    def hypervolume(self) -> float:
        """Area under the steps, in accuracy × cost."""
        widths = np.diff(np.append(self.costs, self.reference_cost))
        return float(np.sum((self.levels - self.reference_level) * widths))

    def level_at(self, cost: ArrayLike) -> FloatArray:
        """The best accuracy that the front has at `cost` or less."""
        steps = np.concatenate(([self.reference_level], self.levels))
        return np.asarray(steps[np.searchsorted(self.costs, np.asarray(cost), side="right")], dtype=np.float64)

    def cost_of(self, level: ArrayLike) -> FloatArray:
        """The least cost at which the front has `level` or more; the reference cost where it never has."""
        steps = np.append(self.costs, self.reference_cost)
        return np.asarray(steps[np.searchsorted(self.levels, np.asarray(level), side="left")], dtype=np.float64)


def staircase(accuracy: ArrayLike, cost: ArrayLike, reference_cost: float, reference_level: float = 0.0) -> Staircase:
    """The front of some designs, cut at the reference point."""
    f, c = _columns(accuracy, cost)
    inside = (c < reference_cost) & (f > reference_level)
    f, c = f[inside], c[inside]
    members = front(f, c)
    return Staircase(c[members], f[members], reference_cost, reference_level)


def hypervolume(accuracy: ArrayLike, cost: ArrayLike, reference_cost: float, reference_level: float = 0.0) -> float:
    """Area that some designs dominate within the reference point, in accuracy × cost."""
    return staircase(accuracy, cost, reference_cost, reference_level).hypervolume


def _columns(accuracy: ArrayLike, cost: ArrayLike) -> tuple[FloatArray, FloatArray]:
    f, c = np.asarray(accuracy, dtype=np.float64).ravel(), np.asarray(cost, dtype=np.float64).ravel()
    if f.shape != c.shape:
        raise ValueError(f"{f.size} accuracies and {c.size} costs")
    if np.isnan(f).any() or np.isnan(c).any():
        raise ValueError("a front of numbers that are not numbers")
    return f, c
