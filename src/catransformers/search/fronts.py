"""Pareto fronts are derived, never stored: trained models × all accelerators, from trials and exact costs.

Where one quantity is minimised, each trained model stands with its cheapest feasible accelerator; where more are, with
every design of its hardware front. Designs that another beats in accuracy and all costs go, and so do those below the
accuracy that the study asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catransformers.search.costs.designs import DesignCost
from catransformers.search.costs.space import Costs
from catransformers.search.geometry.pareto import levels
from catransformers.search.geometry.volumes import hypervolume_curve
from catransformers.search.space import FloatArray
from catransformers.study.records import TrialRecord


@dataclass(frozen=True, slots=True)
class FrontMember:
    """A design that no other beats.

    Args:
        trial: the finished trial that trained its model.
        model: the model's number in the space.
        design: the accelerator and what the model costs there.
    """

    trial: TrialRecord
    model: int
    design: DesignCost


def derive_front(costs: Costs, trials: Sequence[TrialRecord]) -> tuple[FrontMember, ...]:
    """The front of all trained models × all accelerators, by rising (first) cost; equal designs once, the first's."""
    finished = [trial for trial in complete(trials) if accuracy_of(trial) >= costs.limits.floor]
    models = [costs.space.index(trial.dimensions) for trial in finished]
    own = {model: costs.front_of(model) for model in dict.fromkeys(models)}
    places = levels([accuracy_of(trial) for trial in finished], [own[model].points for model in models])
    members = [
        FrontMember(finished[k], models[k], own[models[k]].design(int(place)))
        for owners, at in places
        for k, place in zip(owners, at, strict=True)
    ]
    return tuple(sorted(members, key=_by_cost))


def _by_cost(member: FrontMember) -> tuple[float, ...]:
    """The order of a front; where all costs but the last one are equal, the more accurate design comes first."""
    first, *others = member.design.minimised
    return first, *others[:-1], -accuracy_of(member.trial)


def convergence(costs: Costs, trials: Sequence[TrialRecord]) -> FloatArray:
    """(trials,) hypervolume after each trial, in number order, against the study's fixed reference point.

    The unit is accuracy × the SI unit of each objective; failed trials add nothing.
    """
    ordered = sorted(trials, key=lambda trial: trial.number)
    accuracy = [trial.accuracy for trial in ordered]
    nothing = np.empty((0, len(costs.reference)))
    points = [
        nothing if trial.accuracy is None else costs.front_of(costs.space.index(trial.dimensions)).points
        for trial in ordered
    ]
    return hypervolume_curve(accuracy, points, costs.reference, costs.limits.floor)


def representatives(members: Sequence[FrontMember]) -> tuple[FrontMember, ...]:
    """A few designs to show of a front in several costs: of each trained model the members that cost least in one.

    Where one cost is minimised these are all.
    """
    chosen: dict[int, set[int]] = {}
    for position, member in enumerate(members):
        chosen.setdefault(member.trial.number, set()).add(position)
    kept: set[int] = set()
    for positions in chosen.values():
        for cost in range(len(members[0].design.minimised)):
            kept.add(min(sorted(positions), key=lambda k: members[k].design.minimised[cost]))
    return tuple(members[k] for k in sorted(kept))


def complete(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials that gave an accuracy, by number."""
    return sorted((trial for trial in trials if trial.accuracy is not None), key=lambda trial: trial.number)


def accuracy_of(trial: TrialRecord) -> float:
    """The accuracy of a complete trial."""
    if trial.accuracy is None:
        raise ValueError(f"trial {trial.number} failed")
    return trial.accuracy
