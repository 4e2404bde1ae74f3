"""Hypervolumes in accuracy and any number of costs, trial by trial.

In one cost and in two they are exact (`pareto`, `regions`). In three and more the exact algorithms take long with the
thousands of designs that a hundred models have, and ever longer the more costs there are. Seen in one direction from
the reference point a model is one number, how far its designs reach (`scalarisation.reach`), and the hypervolume is the
mean over all directions of areas in the plane of accuracy and t(w)^k: `DIRECTIONS` fixed ones give it within a
thousandth in three costs and half a per cent in four. They are the same for all strategies, seeds and moments, so that
hypervolumes compare, and that one never falls when a design is added, nor rises when one is taken away, is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from catransformers.search.acquisition.scalarisation import directions as drawn_directions
from catransformers.search.acquisition.scalarisation import reach, volume_unit
from catransformers.search.geometry.pareto import hypervolume
from catransformers.search.geometry.regions import layers
from catransformers.search.space import FloatArray

DIRECTIONS = 8192  # a power of two keeps the sequence balanced
_SEED = 0  # of the fixed directions


@lru_cache(maxsize=8)
def fixed_directions(costs: int, count: int = DIRECTIONS) -> FloatArray:
    """(count, costs) the directions in which every front is looked at."""
    found = drawn_directions(_SEED, costs, count)
    found.setflags(write=False)
    return found


def shadow(points: FloatArray, reference: tuple[float, ...], count: int = DIRECTIONS) -> FloatArray:
    """(count,) the volume beyond a model's designs in each direction; its mean is the volume that they dominate.

    Args:
        points: (designs, costs) SI.
        reference: the costs of the reference point.
        count: how many directions are looked at.
    """
    bounds = np.array(reference)
    reached = reach(points.reshape(-1, bounds.size) / bounds, fixed_directions(bounds.size, count))
    return volume_unit(reference) * reached**bounds.size


def hypervolume_curve(
    accuracy: Sequence[float | None],
    points: Sequence[FloatArray],
    reference: tuple[float, ...],
    floor: float = 0.0,
    *,
    directions: int = DIRECTIONS,
) -> FloatArray:
    """(trials,) hypervolume after each trial, accuracy × SI unit of each cost.

    Args:
        accuracy: of each trial, None where it brings nothing.
        points: of each trial, the costs of its designs (designs, costs), SI.
        reference: the costs of the reference point.
        floor: its accuracy.
        directions: in which three costs or more are looked at.
    """
    if len(reference) > 2:
        return hypervolumes(accuracy, [shadow(own, reference, directions) for own in points], floor)
    values: list[float] = []
    levels: list[float] = []
    known: list[FloatArray] = []
    for level, own in zip(accuracy, points, strict=True):
        if level is not None and len(own):
            levels.append(level)
            known.append(own)
        if len(reference) == 1:
            values.append(hypervolume(levels, [own.min() for own in known], reference[0], floor))
        else:
            fronts = [(own[:, 0], own[:, 1]) for own in known]
            values.append(layers(levels, fronts, (reference[0], reference[1]), floor).hypervolume)
    return np.array(values, dtype=np.float64)


def hypervolumes(accuracy: Sequence[float | None], shadows: Sequence[FloatArray], floor: float = 0.0) -> FloatArray:
    """(trials,) hypervolume after each trial; never falls.

    Args:
        accuracy: of each trial, None where it brings nothing.
        shadows: of each trial's designs, as of `shadow`.
        floor: the accuracy of the reference point.
    """
    values: list[float] = []
    levels: list[float] = []  # falling
    known: list[FloatArray] = []
    for level, own in zip(accuracy, shadows, strict=True):
        if level is not None and level > floor:
            place = int(np.searchsorted(-np.array(levels), -level, side="right"))
            levels.insert(place, level)
            known.insert(place, own)
        values.append(hypervolume_of(np.array(levels), np.array(known), floor) if levels else 0.0)
    return np.maximum.accumulate(np.array(values)) if values else np.empty(0)


def hypervolume_of(accuracy: FloatArray, shadows: FloatArray, floor: float = 0.0) -> float:
    """The hypervolume of models by falling accuracy (models,), all above `floor`, with `shadows` (models, directions).

    Between two levels of accuracy counts what the models at least as accurate reach together.
    """
    thick = -np.diff(np.append(accuracy, floor))
    return float(thick @ np.maximum.accumulate(shadows, axis=0).mean(axis=1))
