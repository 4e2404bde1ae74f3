"""Pareto fronts and hypervolumes for one quantity to maximise (accuracy) and one to minimise; in many costs.

A design is on the front if no other is at least as good in both and better in one; of equal designs one is kept.
The hypervolume is the area between the front and a reference point (Zitzler & Thiele, 1998): with accuracy upwards
and cost to the right, of all points (f, c) with f below and c right of some member, and inside the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from catransformers.search.geometry.regions import front2

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


def frontk(points: ArrayLike) -> NDArray[np.int64]:
    """Positions of the points (n, costs) that no other beats in any number of costs, by rising first cost.

    Points of infinite cost are never on the front; of equal points the first one is kept.
    """
    costs = np.asarray(points, dtype=np.float64)
    if costs.shape[1] == 2:
        return front2(costs[:, 0], costs[:, 1])
    rest = np.flatnonzero(np.isfinite(costs).all(axis=1))
    # In lexicographic order no point is beaten by a later one: each first one left is a member.
    rest = rest[np.lexsort((rest, *costs[rest].T[::-1]))]
    members = []
    while rest.size:
        best, rest = rest[0], rest[1:]
        members.append(best)
        rest = rest[(costs[rest] < costs[best]).any(axis=1)]
    return np.array(members, dtype=np.int64)


def levels(
    accuracy: Sequence[float], points: Sequence[FloatArray]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The front of some models in accuracy and many costs, level by level of accuracy from the highest.

    Args:
        accuracy: of each model.
        points: (designs, costs) of each.

    Yields:
        For each level its members: (members,) which model, and which of its designs. Equal designs once.
    """
    below = np.empty((0, points[0].shape[1])) if points else np.empty((0, 0))
    for level in sorted(set(accuracy), reverse=True):
        group = [k for k, own in enumerate(accuracy) if own == level]
        owner = np.repeat(group, [len(points[k]) for k in group])
        place = np.concatenate([np.arange(len(points[k])) for k in group])
        designs = np.concatenate([points[k] for k in group])
        members = frontk(designs)
        members = members[[not (below <= design).all(axis=1).any() for design in designs[members]]]
        yield owner[members], place[members]
        # What the new members beat in all costs need not be kept: what it beats below, they beat too.
        for one in designs[members]:
            below = below[(below < one).any(axis=1)]
        below = np.concatenate([below, designs[members]])


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
