"""The first trials of a learning strategy: the space's corners that every study asks about, its centre, a few more.

The largest model says what there is to lose, the smallest how much at most is lost; the centre and three Sobol points
give the Gaussian process something to fit.
"""

from __future__ import annotations

import numpy as np

from catransformers.search.problem import Proposal, SearchProblem
from catransformers.search.strategies.sobol import next_sobol

SOBOL_STARTS = 3


def start(problem: SearchProblem, seed: int) -> list[Proposal]:
    """Up to six different feasible models; where one is infeasible or stands twice, a Sobol point takes its place."""
    shape = np.array(problem.space.shape)
    corners = {
        "largest model": shape - 1,
        "smallest model": np.zeros_like(shape),
        "centre": shape // 2,
    }
    chosen: dict[int, str] = {}
    for origin, places in corners.items():
        model = int(np.ravel_multi_index(tuple(places), problem.space.shape))
        if np.isfinite(problem.cost[model]):
            chosen.setdefault(model, origin)
    while len(chosen) < len(corners) + SOBOL_STARTS:
        model_or_none = next_sobol(problem, seed, chosen)
        if model_or_none is None:
            break
        chosen[model_or_none] = "Sobol"
    return [Proposal(model, origin, {"cost": float(problem.cost[model])}) for model, origin in chosen.items()]
