"""Increments of expected improvement (EI) between two levels of accuracy, ∫ P(Y > y) dy, of a Y whose logit is normal.

They are all that EHVI needs. With levels f_k falling, that above the first, E[(Y − f_1)⁺], and those from each level
down to the next are integrals over P(Y > y) = Φ((μ − logit y)/s). They have no closed form, so they are done by
Gauss–Legendre quadrature in z = logit y, in panels that end at every f_k and are no wider than twice the least s, or
0.05 if that is more: right to 1e-5 of accuracy for s of 0.01 and more, to 2e-3 where s is next to nothing, and with it
what can be gained.

A million candidates are too many for that. But an increment depends on nothing but μ and s: it rises with μ, and at
each y P(Y > y) is greatest at one end of a range of s. So over a cell of a grid of μ and s it is at most the integral
of the greater P(Y > y) of the cell's two upper corners, worked out once a cell: an upper bound to look up
(`IncrementBounds`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr

from catransformers.search.space import FloatArray, IntArray

NODES = 4  # Gauss–Legendre nodes a panel
REACH = 6.0  # standard deviations from the mean beyond which P(Y > y) is 0 or 1
LOWEST = -14.0  # logit of the least accuracy that counts (8e-7)
MEANS, DEVIATIONS = 256, 48  # cells of the table
SLACK = 1 + 2e-3  # of the table, for the quadrature


def increments(mean: FloatArray, deviation: FloatArray, levels: FloatArray, floor: float = 0.0) -> FloatArray:
    """Increments of expected improvement above all levels, then from each level to the next and at last to the floor.

    Args:
        mean: (n,) of logit accuracy.
        deviation: (n,) standard deviation of logit accuracy, positive.
        levels: (k,) accuracies, falling strictly.
        floor: the accuracy below which nothing counts.

    Returns:
        (n, k + 1)
    """
    z, weight = quadrature(mean, deviation, levels, floor)
    return _between(ndtr((mean[:, None] - z) / deviation[:, None]) * weight, z, levels)


def _between(mass: FloatArray, z: FloatArray, levels: FloatArray) -> FloatArray:
    """(n, nodes) summed up between the levels: (n, k + 1)."""
    slot = np.searchsorted(-levels, -expit(z), side="left")  # how many levels are above a node
    return np.stack([mass[:, slot == k].sum(axis=1) for k in range(levels.size + 1)], axis=1)


@dataclass(frozen=True)
class IncrementBounds:
    """What the increments of some candidates do not exceed.

    Args:
        means: (MEANS + 1,) ends of the cells of the mean of logit accuracy, equally far apart.
        deviations: (DEVIATIONS + 1,) ends of those of its standard deviation.
        values: (MEANS × DEVIATIONS, k + 1) as of `increments`.
    """

    means: FloatArray
    deviations: FloatArray
    values: NDArray[np.float32]

    @classmethod
    def of(cls, mean: FloatArray, deviation: FloatArray, levels: FloatArray, floor: float = 0.0) -> IncrementBounds:
        """The table for some candidates; arguments as of `increments`."""
        means = np.linspace(mean.min(), max(mean.max(), mean.min() + 1e-6), MEANS + 1)
        sample = deviation[:: max(1, deviation.size >> 14)]
        deviations = np.quantile(sample, np.linspace(0, 1, DEVIATIONS + 1))
        deviations[0], deviations[-1] = deviation.min(), deviation.max()
        z, weight = quadrature(mean, deviation, levels, floor)
        exceeds = [ndtr((means[1:, None] - z) / one) for one in deviations]
        cells = [_between(np.maximum(a, b) * weight, z, levels) for a, b in pairwise(exceeds)]
        values = np.stack(cells, axis=1).reshape(MEANS * DEVIATIONS, -1)
        return cls(means, deviations, (values * SLACK).astype(np.float32))

    @cached_property
    def sums(self) -> FloatArray:
        """(MEANS × DEVIATIONS, k + 2) the masses above each level, 0 at first."""
        return np.pad(np.cumsum(self.values, axis=1, dtype=np.float64), ((0, 0), (1, 0)))

    def at(self, mean: FloatArray, deviation: FloatArray) -> NDArray[np.float32]:
        """(n, k + 1) for some of the candidates that the table was made for."""
        return np.asarray(self.values[self.cells(mean, deviation)])

    def cells(self, mean: FloatArray, deviation: FloatArray) -> IntArray:
        """(n,) the rows of `values` and `sums` that hold for each of them."""
        row = np.clip(np.searchsorted(self.means, mean) - 1, 0, MEANS - 1)
        column = np.clip(np.searchsorted(self.deviations, deviation, side="right") - 1, 0, DEVIATIONS - 1)
        return np.asarray(row * DEVIATIONS + column)


def quadrature(
    mean: FloatArray, deviation: FloatArray, levels: FloatArray, floor: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Nodes in z = logit y, rising, and weights for an integral over y from `floor` up, with kinks at `levels`."""
    bottom = LOWEST if floor <= expit(LOWEST) else float(logit(floor))
    low = max(float(np.min(mean - REACH * deviation)), bottom + (1 if bottom == LOWEST else 0))
    high = max(float(np.max(mean + REACH * deviation)), low + 1)
    kinks = logit(levels[(levels > expit(bottom)) & (levels < 1)])
    ends = np.unique(np.concatenate(([bottom, low, high, max(high, *kinks, low) + 1], kinks)))
    finest = min(max(2 * float(deviation.min()), 0.05), 0.5)
    edges = [ends[:1]]
    for a, b in pairwise(ends):
        width = finest if low <= a < high else 1.0
        edges.append(np.linspace(a, b, int(np.ceil((b - a) / width)) + 1)[1:])
    edge = np.concatenate(edges)
    x, w = np.polynomial.legendre.leggauss(NODES)
    half, middle = np.diff(edge)[:, None] / 2, (edge[1:, None] + edge[:-1, None]) / 2
    z = (middle + half * x).ravel()
    y = expit(z)
    return z, (half * w).ravel() * y * (1 - y)
