"""Expected hypervolume improvement (EHVI) in one cost: of a model whose cost is known and whose accuracy is not.

Let the front so far have members (f_k, c_k), and let C(y) be the least cost at which it reaches accuracy y (the
reference cost where it does not). A model of cost c* and accuracy Y adds the area ∫₀^Y (C(y) − c*)⁺ dy, so that

    EHVI = ∫₀¹ P(Y > y) (C(y) − c*)⁺ dy = Σₖ widthₖ(c*) · EI(f_k),   EI(f) = E[(Y − f)⁺] = ∫_f¹ P(Y > y) dy,

where widthₖ is the part right of c* of the step on which the front's accuracy is f_k. The hypervolume is measured in
accuracy, as people and the final judge see it, not in its logit, which would make the step from 2 % to 4 % worth
three times that from 60 % to 65 %. The Gaussian process says that logit Y is normal; C(y) is constant between two
levels, so that what is needed of Y is the expected improvement between them (`increments`).

The best of a million candidates needs few such integrals: with upper bounds of the increments, which are looked up, the
same sum bounds a candidate's gain. Candidates are looked at by falling bound until none is left that could win.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from catransformers.search.acquisition.improvement_increments import IncrementBounds, increments
from catransformers.search.geometry.pareto import Staircase
from catransformers.search.space import FloatArray, IntArray
from catransformers.search.threads import in_threads

ROWS = 1 << 14  # candidates in one pass of the bound
PART = 1 << 10  # candidates in one pass of the exact value
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
    result = np.empty(mean.shape)
    for begin in range(0, mean.size, PART):
        some = slice(begin, begin + PART)
        mass = increments(mean[some], deviation[some], steps.levels[::-1], steps.reference_level)
        result[some] = (mass * _widths(cost[some], steps)).sum(axis=1)
    return result


def _widths(cost: FloatArray, steps: Staircase) -> FloatArray:
    """(n, k + 1) (C(y) − c*)⁺ above all levels of the front, then below each of them."""
    prices = np.append(steps.reference_cost, steps.costs[::-1])
    return np.maximum(prices - cost[:, None], 0.0)


def most_promising(
    mean: FloatArray,
    deviation: FloatArray,
    cost: FloatArray,
    steps: Staircase,
    success_probability: FloatArray | None = None,
    exact: Callable[[IntArray], FloatArray] | None = None,
) -> tuple[int, float]:
    """Position and gain of the candidate with the greatest expected improvement; exhaustive, by the bound above.

    Args:
        mean, deviation, cost, steps: as of `expected_improvement`.
        success_probability: (n,) factor on each candidate's gain, at most 1: that its training succeeds.
        exact: the costs of the candidates at some positions, where `cost` is only what these are not below: it is
            asked for those that could win.

    Returns:
        The position (the lowest of equals, as far as rounding can tell) and its gain; a gain of 0 says that no
        candidate promises anything.
    """
    factor = np.ones(mean.size) if success_probability is None else success_probability
    table = IncrementBounds.of(mean, deviation, steps.levels[::-1], steps.reference_level)
    bound = improvement_bound(table, mean, deviation, cost, steps) * factor
    order = np.argsort(-bound, kind="stable")
    best, gain = 0, 0.0
    begin, step = 0, PART  # the first few give a gain to compare the many with
    while begin < order.size and bound[order[begin]] > gain:
        chosen = order[begin : begin + step]
        begin, step = begin + step, BATCH
        chosen = chosen[bound[chosen] > gain]
        costs = cost[chosen]
        if exact is not None:
            costs = exact(chosen)
            closer = improvement_bound(table, mean[chosen], deviation[chosen], costs, steps) * factor[chosen]
            chosen, costs = chosen[closer > gain], costs[closer > gain]
        if not chosen.size:
            continue
        alike = np.argsort(deviation[chosen], kind="stable")  # they need fewer nodes of quadrature
        chosen, costs = chosen[alike], costs[alike]
        found = expected_improvement(mean[chosen], deviation[chosen], costs, steps) * factor[chosen]
        greatest = float(found.max())
        if greatest > gain:
            best, gain = int(chosen[found == greatest].min()), greatest
    return best, gain


def improvement_bound(
    table: IncrementBounds, mean: FloatArray, deviation: FloatArray, cost: FloatArray, steps: Staircase
) -> FloatArray:
    """(n,) what the expected improvement of each candidate does not exceed; see the module."""
    bound = np.empty(mean.size)

    def part(begin: int) -> None:
        some = slice(begin, begin + ROWS)
        bound[some] = np.einsum("ij,ij->i", table.at(mean[some], deviation[some]), _widths(cost[some], steps))

    in_threads(part, range(0, mean.size, ROWS))
    return bound
