"""Chebyshev scalarisation of three costs and more: one random direction a proposal turns them into one.

No front is stored: with k costs the hardware fronts of a million models no longer fit into memory. Instead every
proposal looks from the reference point r in one direction w, drawn evenly from the simplex, and asks how far along it a
model's designs reach:

    t(w) = max over accelerators of min over costs j of (1 − c_j / r_j) / w_j,

the largest t for which r·(1 − t·w) is still dominated. It is Chebyshev's scalarisation with the reference point in the
place of the ideal one. A linear sum of costs would only ever find the convex part of a front; this reaches every part,
as the augmented Chebyshev sum of ParEGO does (Knowles, IEEE Transactions on Evolutionary Computation 10(1), 2006), and
in polar coordinates around r it has one thing more to it: the volume that some designs dominate within r is

    Vol = Π r_j · E_w[t(w)^k] / k!,    w ~ Dirichlet(1, …, 1).

So with the scalar cost 1 − (t(w) · max w)^k, between 0 and 1 = its reference, the expected improvement in the plane of
(accuracy, scalar cost), which is known in closed form, is without bias the expected improvement of the hypervolume in
accuracy and all k costs, but for a constant factor of the direction (for the scalarisations: Zhang and Golovin, ICML
2020; Deng and Zhang, Approximating hypervolume contributions using polar coordinates, IEEE Transactions on Evolutionary
Computation 23(5), 2019). No term needs to be added to break ties: which accelerators a model gets is not read from t.

The directions of a study are a scrambled Sobol sequence mapped to the simplex, number n for trial n: even over any
stretch of trials, and a function of the seed and the trial's number alone.
"""

from __future__ import annotations

from math import factorial

import numpy as np

from catransformers.lazy import lazy
from catransformers.search.space import FloatArray

stats = lazy("scipy.stats")  # slow to import, and few studies have three costs

ROWS = 1 << 21  # shares × directions in one pass of `reach`
SMALLEST = 1e-12  # a weight is no smaller: nothing is divided by 0


def direction(seed: int, number: int, costs: int) -> FloatArray:
    """(costs,) the direction of trial `number` of a study: positive, sum 1."""
    return np.asarray(directions(seed, costs, 1, skip=number)[0])


def directions(seed: int, costs: int, count: int, *, skip: int = 0) -> FloatArray:
    """(count, costs) directions that follow the first `skip` of a seed; each is Dirichlet(1, …, 1)."""
    points = stats.qmc.Sobol(costs - 1, scramble=True, rng=np.random.default_rng(seed))
    if skip:
        points.fast_forward(skip)
    cuts = np.sort(points.random(count), axis=1)
    found = np.diff(cuts, axis=1, prepend=0.0, append=1.0)  # the gaps of uniform cuts are Dirichlet
    found = np.maximum(found, SMALLEST)
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def reach(shares: FloatArray, towards: FloatArray) -> FloatArray:
    """(directions,) t(w): how far some designs reach from the reference point; 0 where none is inside of it.

    Args:
        shares: (designs, costs) costs over those of the reference point.
        towards: (directions, costs).
    """
    room = np.maximum(1 - shares, 0)
    room = room[(room > 0).all(axis=1)]
    found = np.zeros(len(towards))
    rows = max(1, ROWS // max(1, len(towards)))
    for begin in range(0, len(room), rows):
        part = room[begin : begin + rows]
        least = part[:, :1] / towards[:, 0]
        for j in range(1, towards.shape[1]):
            np.minimum(least, part[:, j : j + 1] / towards[:, j], out=least)
        np.maximum(found, least.max(axis=0), out=found)
    return found


def volume_unit(reference: tuple[float, ...]) -> float:
    """Π r_j / k!, by which the mean of t(w)^k over all directions is a volume."""
    return float(np.prod(reference)) / factorial(len(reference))


def scalar_cost(reached: FloatArray, weights: FloatArray) -> FloatArray:
    """1 − (t · max w)^k of what reaches t in one direction.

    Between 0 and 1; 1 where no design is inside the reference (t = 0), infinite where none keeps the limits (t = −1).
    """
    with np.errstate(invalid="ignore"):
        return np.where(reached < 0, np.inf, 1 - np.abs(reached * weights.max()) ** len(weights))
