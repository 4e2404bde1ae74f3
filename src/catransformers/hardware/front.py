"""Pareto fronts of many groups at once: the candidates that no other one of their group beats on every cost."""

from __future__ import annotations

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


class Leaders:
    """The best candidates so far of each group by a few scores: most later candidates are beaten by one of them."""

    def __init__(self, groups: int, weights: FloatArray) -> None:
        """For `groups` groups and scores that weigh the logarithms of the costs, `weights` (K, C)."""
        self._weights = weights
        self._scores = np.full((len(weights), groups), np.inf)
        self._costs = np.full((*weights.shape, groups), np.inf)

    def unbeaten(self, group: IntArray, costs: FloatArray) -> IntArray:
        """Indices of the candidates, costs (C, S), that no leader of their group beats; the leaders themselves stay."""
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

    def update(self, group: IntArray, costs: FloatArray) -> None:
        """Let some candidates lead, costs (C, S)."""
        scores = self._weights @ np.log1p(costs)
        for score, best, leader in zip(scores, self._scores, self._costs, strict=True):
            np.minimum.at(best, group, score)
            hits = np.flatnonzero(score == best[group])
            leader[:, group[hits]] = costs[:, hits]
