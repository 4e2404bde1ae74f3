"""The benchmark's judge: hypervolume by true accuracy, as a share of the exact optimum, for one cost or two.

In three dimensions the hypervolume is Σ f_i ΔA_i over designs by falling accuracy f_i, where ΔA_i is the area that the
design's costs newly dominate in the cost plane within the reference (each design's slab reaches down to accuracy 0, and
what more accurate ones dominate is there already). With one cost, areas are widths: the same code serves both.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from catransformers.search.problem import SearchProblem
from catransformers.search.space import FloatArray
from catransformers.search.space_cost import SpaceCost

CHUNK = 1 << 12  # models that are compared with the staircase at once


class Area:
    """The part of the cost plane that some points dominate within a reference; a staircase of the undominated ones.

    Args:
        reference: of one cost or of two.
    """

    def __init__(self, reference: Sequence[float]) -> None:
        # One cost is two with a second that is 0 for all, against a reference of 1.
        self.reference = (reference[0], reference[1] if len(reference) > 1 else 1.0)
        self.first: list[float] = []  # rising
        self.second: list[float] = []  # falling

    def add(self, first: float, second: float) -> float:
        """Add a point; returns the area it adds."""
        if not (first < self.reference[0] and second < self.reference[1]):
            return 0.0
        left = bisect_right(self.first, first)  # those before are at most `first`
        if left and self.second[left - 1] <= second:
            return 0.0
        begin = bisect_left(self.first, first)
        end = begin
        gained, ceiling, x = 0.0, self.second[begin - 1] if begin else self.reference[1], first
        while end < len(self.first) and self.second[end] >= second:
            gained += (self.first[end] - x) * (ceiling - second)
            x, ceiling = self.first[end], self.second[end]
            end += 1
        right = self.first[end] if end < len(self.first) else self.reference[0]
        gained += (right - x) * (ceiling - second)
        self.first[begin:end], self.second[begin:end] = [first], [second]
        return gained

    def dominated(self, first: FloatArray, second: FloatArray) -> NDArray[np.bool_]:
        """(n,) whether each point adds nothing."""
        inside = (first < self.reference[0]) & (second < self.reference[1])
        steps = np.concatenate(([np.inf], self.second))
        return ~inside | (steps[np.searchsorted(self.first, first, side="right")] <= second)


def hypervolume(points: Iterable[tuple[float, FloatArray]], reference: Sequence[float]) -> float:
    """Hypervolume of designs: pairs of an accuracy and (k, costs) designs that have it, in accuracy × costs."""
    area, total = Area(reference), 0.0
    for accuracy, costs in sorted(points, key=lambda pair: -pair[0]):
        for row in costs:
            total += accuracy * area.add(float(row[0]), float(row[1]) if len(row) > 1 else 0.0)
    return total


def hypervolume_of_all(
    accuracy: FloatArray,
    start: NDArray[np.int64],
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    reference: Sequence[float],
) -> float:
    """The same for a whole space, quickly.

    Args:
        accuracy: (models,); models of NaN are left out.
        start: (models + 1,) where each model's designs begin.
        first: (designs,) their first costs; infinite ones count for nothing.
        second: (designs,) their second costs; zeros where there is one cost.
        reference: of one cost or of two.
    """
    order = np.argsort(-accuracy, kind="stable")
    order = order[np.isfinite(accuracy[order])]
    area, total = Area(reference), 0.0
    for begin in range(0, order.size, CHUNK):
        models = order[begin : begin + CHUNK]
        counts = start[models + 1] - start[models]
        owner = np.repeat(np.arange(models.size), counts)
        rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + start[models][owner]
        rows_left = ~area.dominated(first[rows], second[rows])
        for row, level in zip(rows[rows_left], accuracy[models[owner[rows_left]]], strict=True):
            total += float(level) * area.add(float(first[row]), float(second[row]))
    return total


class Judge:
    """Judges the trials of one landscape and mode.

    Args:
        accuracy: (models,) true accuracy; NaN where unknown.
        problem: the costs and the reference point.
        costs: makes the designs of one model.
    """

    def __init__(self, accuracy: FloatArray, problem: SearchProblem, costs: SpaceCost) -> None:
        self.accuracy, self.problem, self.costs = accuracy, problem, costs
        self.reference = problem.reference

    def optimum(self) -> float:
        """Hypervolume of all models × all accelerators."""
        fronts = self.problem.fronts
        if fronts is None:
            cost = self.problem.cost
            return hypervolume_of_all(
                self.accuracy, np.arange(cost.size + 1), cost, np.zeros_like(cost), self.reference
            )
        return hypervolume_of_all(self.accuracy, fronts.start, fronts.first, fronts.second, self.reference)

    def trained(self, model: int) -> FloatArray:
        """(k, costs) the exact hardware front of a model."""
        fronts = self.problem.fronts
        if fronts is None:
            return self.problem.cost[[model], None]
        return np.stack(fronts.of(model)[:2], axis=1)

    def as_run(self, model: int, accelerator: int | None) -> FloatArray:
        """(k, costs) of a design; nothing where it breaks a limit; the model's front where none was chosen."""
        if accelerator is None:
            return self.trained(model)
        found = self.costs.designs(model)
        row = [float(found.quantity(name)[accelerator]) for name in self.problem.objectives.minimise]
        return np.array([row]) if found.within[accelerator] else np.empty((0, len(row)))
