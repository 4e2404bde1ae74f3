"""Fronts are derived, never stored: trained models × all accelerators, from the trials and the exact costs.

Each trained model stands with its cheapest feasible accelerator; models that another beats in accuracy and cost go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catransformers.search.pareto import front, hypervolume
from catransformers.search.space import FloatArray
from catransformers.search.space_cost import DesignCost, SpaceCost
from catransformers.study.records import TrialRecord


@dataclass(frozen=True, slots=True)
class FrontMember:
    """A design that no other beats.

    Args:
        trial: the finished trial that trained its model.
        model: the model's number in the space.
        design: its cheapest accelerator and what it costs there.
    """

    trial: TrialRecord
    model: int
    design: DesignCost


def derive_front(costs: SpaceCost, trials: Sequence[TrialRecord]) -> tuple[FrontMember, ...]:
    """The front of all trained models × all accelerators, by rising cost; equal designs once, of the first trial."""
    finished = complete(trials)
    models = [costs.space.index(trial.dimensions) for trial in finished]
    members = front([accuracy_of(trial) for trial in finished], costs.cost[models] if models else [])
    return tuple(FrontMember(finished[i], models[i], costs.best(models[i])) for i in members)


def convergence(costs: SpaceCost, trials: Sequence[TrialRecord]) -> FloatArray:
    """(trials,) hypervolume after each trial, in number order, against the study's fixed reference point.

    The unit is accuracy × the objective's SI unit; failed trials add nothing.
    """
    reference = costs.problem().reference_cost
    ordered = sorted(trials, key=lambda trial: trial.number)
    accuracy, cost, values = [], [], []
    for trial in ordered:
        if trial.accuracy is not None:
            accuracy.append(trial.accuracy)
            cost.append(float(costs.cost[costs.space.index(trial.dimensions)]))
        values.append(hypervolume(accuracy, cost, reference))
    return np.array(values, dtype=np.float64)


def complete(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials that gave an accuracy, by number."""
    return sorted((trial for trial in trials if trial.accuracy is not None), key=lambda trial: trial.number)


def accuracy_of(trial: TrialRecord) -> float:
    """The accuracy of a complete trial."""
    if trial.accuracy is None:
        raise ValueError(f"trial {trial.number} failed")
    return trial.accuracy
