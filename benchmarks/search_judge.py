"""One judge for all strategies: hypervolumes against a fixed reference point, fronts, and curves over the trials.

What a run has found is judged twice. *As run*: each trial's model on the accelerator that the strategy chose with it
(or, where it chose none, on the exact best or the whole hardware front). *Trained × all*: every trained model on all
accelerators, since these cost nothing more to know. Failed trials count for nothing, and so do designs that break a
limit; equal designs count once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catransformers.search.acquisition.scalarisation import volume_unit
from catransformers.search.costs.enumerated import SpaceCost
from catransformers.search.costs.many_costs import ManyCosts
from catransformers.search.costs.model_fronts import Staircases
from catransformers.search.geometry.pareto import hypervolume
from catransformers.search.geometry.pareto import levels as levels_of
from catransformers.search.geometry.regions import Layers, Region
from catransformers.search.geometry.volumes import DIRECTIONS, fixed_directions, hypervolume_curve
from catransformers.search.problem import SearchProblem
from catransformers.search.space import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial as the judge sees it.

    Args:
        model: its number in the space.
        accuracy: None if it failed.
        accelerator: the one that the strategy chose, None where the exact costs choose.
    """

    model: int
    accuracy: float | None
    accelerator: int | None = None


def curve(problem: SearchProblem, trials: Sequence[Tried], *, directions: int = DIRECTIONS) -> FloatArray:
    """(trials,) hypervolume of trained models × all accelerators after each trial; never falls.

    Args:
        problem: the models and what they cost.
        trials: in order.
        directions: in which it is looked at where three costs or more are minimised; see `volumes`.
    """
    accuracy, points = [trial.accuracy for trial in trials], [problem.fronts.points_of(trial.model) for trial in trials]
    curve = hypervolume_curve(accuracy, points, problem.reference, problem.floor, directions=directions)
    return np.maximum.accumulate(curve) if curve.size else curve


def curve_as_run(costs: SpaceCost, trials: Sequence[Tried], *, directions: int = DIRECTIONS) -> FloatArray:
    """(trials,) hypervolume after each trial of the designs that were tried, and of no others; never falls."""
    names, points = costs.objectives.minimise, []
    for trial in trials:
        found = costs.designs(trial.model)
        rows = found.front(names) if trial.accelerator is None else np.array([trial.accelerator])
        points.append(found.points(rows[found.within[rows]], names))
    accuracy = [trial.accuracy for trial in trials]
    curve = hypervolume_curve(accuracy, points, costs.reference, costs.limits.floor, directions=directions)
    return np.maximum.accumulate(curve) if curve.size else curve


def best_possible(problem: SearchProblem, accuracy: FloatArray, *, directions: int = DIRECTIONS) -> float:
    """The hypervolume of all models of the space, of which the accuracies (models,) are known: the exact optimum.

    With three costs and more every direction takes a pass over all designs: fewer do for a large space, if the curves
    that are compared with it are made with as many.
    """
    if isinstance(problem.fronts, ManyCosts):
        unit, costs = volume_unit(problem.reference), len(problem.reference)
        volumes = [
            hypervolume(accuracy, -(np.maximum(problem.fronts.reached(towards), 0) ** costs), 0.0, problem.floor)
            for towards in fixed_directions(costs, directions)
        ]
        return unit * float(np.mean(volumes))
    if isinstance(problem.fronts, Staircases):
        return best_layers(problem, accuracy).hypervolume
    return hypervolume(accuracy, problem.cost, problem.reference[0], problem.floor)


def best_layers(problem: SearchProblem, accuracy: FloatArray) -> Layers:
    """The front of all models of a space in two costs, from their accuracies (models,)."""
    if not isinstance(problem.fronts, Staircases):
        raise ValueError("this problem has not two costs")
    fronts, reference = problem.fronts.steps, (problem.reference[0], problem.reference[1])
    levels: list[float] = []
    regions: list[Region] = []
    so_far = Region.of([], [], reference)
    order = np.argsort(-accuracy, kind="stable")
    order = order[(accuracy[order] > problem.floor) & fronts.feasible[order]]
    step = 1
    at = 0
    while at < order.size:
        # Most models add nothing: a batch's points are tested at once, and only models with a new point are united.
        batch = order[at : at + step]
        at, step = at + step, min(2 * step, 1 << 14)
        counts = fronts.points[batch]
        position = np.repeat(fronts.start[batch] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        first, second = fronts.first[position].astype(np.float64), fronts.second[position].astype(np.float64)
        new = (first < reference[0]) & (second < reference[1]) & ~so_far.dominates(first, second)
        for k in np.unique(np.repeat(np.arange(batch.size), counts)[new]):
            more = so_far.united(Region.of(*fronts.of(int(batch[k]))[:2], reference))
            if more.area <= so_far.area:
                continue
            so_far, level = more, float(accuracy[batch[k]])
            if levels and levels[-1] == level:
                regions[-1] = more
            else:
                levels.append(level)
                regions.append(more)
    return Layers(np.array(levels), tuple(regions), reference, problem.floor)


def incumbents(problem: SearchProblem, trials: Sequence[Tried]) -> IntArray:
    """Positions of the trials whose models have a design on the front, equal ones once; one cost: by rising cost."""
    done = [k for k, trial in enumerate(trials) if trial.accuracy is not None and trial.accuracy >= problem.floor]
    accuracy = [float(trials[k].accuracy or 0.0) for k in done]
    own = [problem.fronts.points_of(trials[k].model) for k in done]
    kept = {
        done[k]: float(own[k][place, 0])
        for owners, at in levels_of(accuracy, own)
        for k, place in zip(owners, at, strict=True)
    }
    if len(problem.reference) == 1:
        return np.array(sorted(kept, key=lambda k: (kept[k], k)), dtype=np.int64)
    return np.array(sorted(kept), dtype=np.int64)


def trials_to_reach(values: FloatArray, optimum: float, share: float) -> int | None:
    """How many trials a curve needs to reach a share of the optimum; None if it never does."""
    reached = np.flatnonzero(values >= share * optimum)
    return int(reached[0]) + 1 if reached.size else None


def over_seeds(curves: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Median, least and greatest value of several runs' curves after each trial, as far as all of them go."""
    length = min(curve.size for curve in curves)
    values = np.stack([curve[:length] for curve in curves])
    return np.median(values, axis=0), values.min(axis=0), values.max(axis=0)


def attainment(
    accuracy: Sequence[FloatArray], cost: Sequence[FloatArray], at: FloatArray, share: float = 0.5
) -> FloatArray:
    """The empirical attainment curve of several runs in one cost: the accuracy that a share of them attain.

    Args:
        accuracy, cost: of each run's designs, (designs,) each.
        at: (n,) costs at which to look.
        share: of the runs; 0.5 gives the median attainment curve.

    Returns:
        (n,) greatest accuracy that at least that share of the runs has at each cost or less; 0 where they have none.

    Reference: V. Grunert da Fonseca, C. M. Fonseca, A. O. Hall (EMO 2001), the empirical attainment function.
    """
    reached = np.zeros((len(accuracy), at.size))
    for row, (own, price) in enumerate(zip(accuracy, cost, strict=True)):
        inside: NDArray[np.bool_] = price[:, None] <= at
        reached[row] = np.where(inside, own[:, None], 0.0).max(axis=0, initial=0.0)
    needed = max(1, int(np.ceil(share * len(accuracy))))
    return np.asarray(-np.sort(-reached, axis=0)[needed - 1])
