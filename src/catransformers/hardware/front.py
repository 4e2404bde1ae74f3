"""Pareto fronts of many groups at once: the candidates that no other one of their group beats on every cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def undominated(group: IntArray, costs: FloatArray) -> IntArray:
    """Indices of the candidates that nothing in their group beats, sorted by group; of equal ones, one.

    Each round confirms, in every group at once, the candidate with the least score, which nothing left can beat, and
    drops what it beats.

    Args:
        group: (S,) group of each candidate.
        costs: (C, S), not negative.
    """
    owner = group
    order = np.lexsort((np.log1p(costs).sum(axis=0), group))
    group, rows = group[order], np.ascontiguousarray(costs[:, order])
    confirmed = []
    while len(order):
        first = np.concatenate([[True], group[1:] != group[:-1]])
        leaders = np.flatnonzero(first)
        confirmed.append(order[leaders])
        leader = leaders[np.cumsum(first) - 1]
        kept = np.zeros(len(order), dtype=np.bool_)
        for row in rows:
            kept |= row < row[leader]
        group, rows, order = group[kept], rows[:, kept], order[kept]
    if not confirmed:
        return order
    found = np.concatenate(confirmed)
    return found[np.argsort(owner[found], kind="stable")]


def knee(costs: Sequence[FloatArray]) -> int:
    """Position of the candidate nearest to the best of every cost at once.

    Each cost is taken as the logarithm of its ratio to the best, scaled by the candidates' extent.

    Args:
        costs: (S,) each, not negative.

    Reference: M. Zeleny, Multiple Criteria Decision Making (1982), the displaced ideal.
    """
    distance = np.zeros(costs[0].size)
    for cost in costs:
        values = np.log(np.maximum(cost, np.finfo(np.float64).tiny))
        extent = float(np.ptp(values))
        if extent > 0:
            distance += ((values - values.min()) / extent) ** 2
    return int(distance.argmin())


class Leaders:
    """The best candidates so far of each of V groups by a few scores: most later candidates are beaten by one of them.

    The scores are the product of the first three costs, and that product times the `EMPHASIS`-th power of each of them.
    """

    EMPHASIS = 3

    def __init__(self, groups: int) -> None:
        """For `groups` groups."""
        self._scores = np.full((4, groups), np.inf)
        self._costs: list[FloatArray] = []

    def screen(self, costs: Sequence[FloatArray]) -> IntArray:
        """Let some candidates lead, and drop those that a leader of their group beats.

        Args:
            costs: of R candidates of each group, (R, V) each, three or more, the first three positive; infinite where
                there is no candidate.

        Returns:
            Flat indices into (R, V), in no order; of equal candidates perhaps only one, a leader perhaps twice.
        """
        shape = costs[0].shape
        if not self._costs:
            self._costs = [np.full((len(costs), shape[1]), np.inf) for _ in self._scores]
        product = costs[0] * costs[1] * costs[2]
        groups = np.arange(shape[1])
        kept = []
        for number, (scores, leader) in enumerate(zip(self._scores, self._costs, strict=True)):
            score = product if number == 0 else product * costs[number - 1] ** self.EMPHASIS
            best = score.argmin(axis=0)
            least = score[best, groups]
            new = np.flatnonzero(least < scores)
            scores[new] = least[new]
            for row, cost in zip(leader, costs, strict=True):
                row[new] = cost[best[new], new]
            kept.append(best[new] * shape[1] + new)
        alive = np.isfinite(product)
        for leader in self._costs:
            less = np.zeros(shape, dtype=np.bool_)
            for cost, limit in zip(costs, leader, strict=True):
                less |= cost < limit
            alive &= less
        return np.concatenate([*kept, np.flatnonzero(alive)])

    def unbeaten(self, group: IntArray, costs: Sequence[FloatArray]) -> IntArray:
        """Indices of the candidates, costs (S,) each, that no leader of their group beats; leaders themselves stay."""
        alive = np.arange(len(group))
        for leader in self._costs:
            at = group[alive]
            less, same = np.zeros(len(alive), dtype=np.bool_), np.ones(len(alive), dtype=np.bool_)
            for cost, best in zip(costs, leader, strict=True):
                own, other = cost[alive], best[at]
                less |= own < other
                same &= own == other
            alive = alive[less | same]
        return alive
