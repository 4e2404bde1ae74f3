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
from catransformers.search.geometry.pareto import front, hypervolume, levels
from catransformers.search.geometry.regions import Region, front2, layers
from catransformers.search.geometry.volumes import hypervolumes, shadow
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
    if costs.both is not None:
        return _front_in_two_costs(costs, costs.both, finished, models)
    if costs.many is not None:
        return _front_in_many_costs(costs, costs.many, finished, models)
    members = front([accuracy_of(trial) for trial in finished], costs.costs_of(models))
    return tuple(FrontMember(finished[i], models[i], costs.best(models[i])) for i in members)


def _front_in_two_costs(
    costs: Costs, quantities: tuple[str, str], trials: Sequence[TrialRecord], models: Sequence[int]
) -> tuple[FrontMember, ...]:
    """Level by level of accuracy, from the highest: what nothing at least as accurate dominates."""
    members: list[FrontMember] = []
    below = Region.of([], [], (np.inf, np.inf))
    found = {model: costs.designs(model) for model in set(models)}
    for level in sorted({accuracy_of(trial) for trial in trials}, reverse=True):
        rows = [
            (k, int(accelerator))
            for k, trial in enumerate(trials)
            if accuracy_of(trial) == level
            for accelerator in found[models[k]].front(quantities)
        ]
        first, second = (
            np.array([found[models[k]].quantity(name)[accelerator] for k, accelerator in rows], dtype=np.float64)
            for name in quantities
        )
        for position in front2(first, second):
            if not below.dominates(first[position], second[position]):
                k, accelerator = rows[position]
                members.append(FrontMember(trials[k], models[k], costs.design(found[models[k]], accelerator)))
        below = below.united(Region.of(first, second, below.reference))
    return tuple(sorted(members, key=lambda member: (member.design.objective, -accuracy_of(member.trial))))


def _front_in_many_costs(
    costs: Costs, quantities: tuple[str, ...], trials: Sequence[TrialRecord], models: Sequence[int]
) -> tuple[FrontMember, ...]:
    """Likewise in three costs and more."""
    found = {model: costs.designs(model) for model in set(models)}
    rows = {model: own.front(quantities) for model, own in found.items()}
    points = [found[model].points(rows[model], quantities) for model in models]
    members = [
        FrontMember(trials[k], models[k], costs.design(found[models[k]], int(rows[models[k]][place])))
        for owners, places in levels([accuracy_of(trial) for trial in trials], points)
        for k, place in zip(owners, places, strict=True)
    ]
    return tuple(sorted(members, key=lambda member: (*member.design.minimised, -accuracy_of(member.trial))))


def convergence(costs: Costs, trials: Sequence[TrialRecord]) -> FloatArray:
    """(trials,) hypervolume after each trial, in number order, against the study's fixed reference point.

    The unit is accuracy × the SI unit of each objective; failed trials add nothing.
    """
    reference, floor = costs.reference, costs.limits.floor
    ordered = sorted(trials, key=lambda trial: trial.number)
    if costs.many is not None:
        nothing = np.empty((0, len(reference)))
        points = [nothing if t.accuracy is None else costs.points_of(costs.space.index(t.dimensions)) for t in ordered]
        return hypervolumes([trial.accuracy for trial in ordered], [shadow(own, reference) for own in points], floor)
    models = [costs.space.index(trial.dimensions) for trial in ordered if trial.accuracy is not None]
    accuracy = [accuracy_of(trial) for trial in ordered if trial.accuracy is not None]
    known = np.cumsum([trial.accuracy is not None for trial in ordered])
    values = []
    if costs.both is not None:
        fronts = [costs.front_of(model) for model in models]
        for count in known:
            values.append(layers(accuracy[:count], fronts[:count], (reference[0], reference[1]), floor).hypervolume)
    else:
        cost = costs.costs_of(models)
        for count in known:
            values.append(hypervolume(accuracy[:count], cost[:count], reference[0], floor))
    return np.array(values, dtype=np.float64)


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
