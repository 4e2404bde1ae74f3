"""Expected hypervolume improvement of a model whose cost is known exactly and whose accuracy is not.

Let the front so far have members (f_k, c_k), and let C(y) be the least cost at which it reaches accuracy y (the
reference cost where it does not). A model of cost c* and accuracy Y adds the area ∫₀^Y (C(y) − c*)⁺ dy, so that

    EHVI = ∫₀¹ P(Y > y) (C(y) − c*)⁺ dy = Σₖ widthₖ(c*) · EI(f_k),   EI(f) = E[(Y − f)⁺] = ∫_f¹ P(Y > y) dy,

where widthₖ is the part right of c* of the step on which the front's accuracy is f_k. The hypervolume is measured in
accuracy, as people and the final judge see it, not in its logit, which would make the step from 2 % to 4 % worth
three times that from 60 % to 65 %. The Gaussian process says that logit Y is normal, P(Y > y) = Φ((μ − logit y)/s);
EI(f) of such a Y has no closed form, so the one-dimensional integral is done by Gauss–Legendre quadrature in z = logit
y, in panels that end at every f_k (where the integrand has its only kinks) and are no wider than twice the least s.

The best of a million candidates needs few such integrals. A candidate's gain is at most (reference − c*) · EI(f*) with
f* the front's accuracy at c*, and the logistic function is nowhere above f* steeper than σ' = its slope at max(f*, ½):
EHVI ≤ (reference − c*) · σ' · s·(x Φ(x) + φ(x)), x = (μ − logit f*)/s. Candidates are looked at by falling bound until
no bound is left that could win.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.special import expit, logit, ndtr

from catransformers.search.pareto import Staircase
from catransformers.search.space import FloatArray

NODES = 4  # Gauss–Legendre nodes a panel
REACH = 6.0  # standard deviations from the mean beyond which P(Y > y) is 0 or 1
LOWEST = -14.0  # logit of the least accuracy that counts (8e-7)
CHUNK = 1 << 22  # probabilities in one pass (32 MiB)
BATCH = 1 << 13  # candidates between two looks at the bound


def expected_improvement(mean: FloatArray, deviation: FloatArray, cost: FloatArray, steps: Staircase) -> FloatArray:
    """Expected hypervolume improvement of every candidate over a front.

    Args:
        mean: (n,) of logit accuracy.
        deviation: (n,) standard deviation of logit accuracy, positive.
        cost: (n,) exact cost; infinite for infeasible candidates.
        steps: the front.

    Returns:
        (n,) in accuracy × cost, 0 where the cost is at or beyond the reference.

    Reference: Emmerich, Giannakoglou and Naujoks (2006) define EHVI; with one objective known it is the sum above.
    """
    z, weight = quadrature(mean, deviation, steps.levels, steps.reference_level)
    limit = steps.cost_of(expit(z))  # falls never: a higher accuracy costs no less
    result = np.zeros(mean.shape)
    order = np.argsort(cost, kind="stable")
    order = order[cost[order] < steps.reference_cost]
    rows = max(1, CHUNK // z.size)
    for begin in range(0, order.size, rows):
        chosen = order[begin : begin + rows]
        first = int(np.searchsorted(limit, cost[chosen[0]], side="right"))
        exceeds = ndtr((mean[chosen, None] - z[first:]) / deviation[chosen, None])
        result[chosen] = np.einsum(
            "ij,ij,j->i", exceeds, np.maximum(limit[first:] - cost[chosen, None], 0), weight[first:]
        )
    return result


def most_promising(
    mean: FloatArray, deviation: FloatArray, cost: FloatArray, steps: Staircase, chance: FloatArray | None = None
) -> tuple[int, float]:
    """Position and gain of the candidate with the greatest expected improvement; exhaustive, by the bound above.

    Args:
        mean, deviation, cost, steps: as of `expected_improvement`.
        chance: (n,) factor on each candidate's gain, at most 1: the chance that its training succeeds.

    Returns:
        The position (the lowest of equals, as far as rounding can tell) and its gain; a gain of 0 says that no
        candidate promises anything.
    """
    bound = improvement_bound(mean, deviation, cost, steps)
    if chance is not None:
        bound = bound * chance
    order = np.argsort(-bound, kind="stable")
    best, gain = int(order[0]), 0.0
    for begin in range(0, order.size, BATCH):
        chosen = order[begin : begin + BATCH]
        if bound[chosen[0]] <= gain:
            break
        found = expected_improvement(mean[chosen], deviation[chosen], cost[chosen], steps)
        if chance is not None:
            found = found * chance[chosen]
        winner = int(found.argmax())
        if found[winner] > gain:
            best, gain = int(chosen[winner]), float(found[winner])
    return best, gain


def improvement_bound(mean: FloatArray, deviation: FloatArray, cost: FloatArray, steps: Staircase) -> FloatArray:
    """(n,) what the expected improvement of each candidate cannot exceed; see the module."""
    level = logit(np.clip(steps.level_at(cost), expit(LOWEST), 1 - 1e-12))
    steepest = expit(np.maximum(level, 0))
    slope = steepest * (1 - steepest)
    x = (mean - level) / deviation
    excess = deviation * (x * ndtr(x) + np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))
    room = np.maximum(steps.reference_cost - cost, 0)
    # Below LOWEST the integral is not cut off: what the front has for free counts from accuracy 0.
    return np.where(room > 0, room * (slope * np.maximum(excess, 0) + expit(LOWEST)), 0.0)


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
