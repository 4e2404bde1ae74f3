"""The first trials of a learning strategy: the space's corners that every study asks about, its centre, a few more.

The largest model says what there is to lose, the smallest how much at most is lost; the centre and three Sobol points
give the Gaussian process something to fit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from catransformers.search.problem import Proposal, Searched
from catransformers.search.strategies.sobol import next_sobol

SOBOL_STARTS = 3


def start(problem: Searched, seed: int) -> Iterator[Proposal]:
    """Up to six different feasible models; where one is infeasible or stands twice, a Sobol point takes its place."""
    shape = np.array(problem.space.shape)
    corners = {
        "largest model": shape - 1,
        "smallest model": np.zeros_like(shape),
        "centre": shape // 2,
    }
    chosen: set[int] = set()
    for origin, places in corners.items():
        model = int(np.ravel_multi_index(tuple(places), problem.space.shape))
        if model not in chosen and problem.feasible(model):
            chosen.add(model)
            yield Proposal(model, origin, {"cost": problem.cost_of(model)})
    while len(chosen) < len(corners) + SOBOL_STARTS:
        point = next_sobol(problem, seed, chosen)
        if point is None:
            return
        chosen.add(point)
        yield Proposal(point, "Sobol", {"cost": problem.cost_of(point)})
