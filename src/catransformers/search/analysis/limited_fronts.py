"""The front of the trained models × all accelerators under each of several limits, and whom a limit leaves out.

All fronts of one call are measured against one reference point, which their trials have no say in: 1.1 × what the base
model costs on its best accelerator under whichever of the limits makes it dearest. A tighter limit can then only take
hypervolume away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catransformers.designs.limits import Limits, Shortfall
from catransformers.search.analysis.question import Candidates, asked, candidates, in_time, unlimited
from catransformers.search.costs.space import Costs
from catransformers.search.fronts import FrontMember, accuracy_of, complete
from catransformers.search.geometry.pareto import front, hypervolume
from catransformers.search.geometry.regions import Region, front2, layers
from catransformers.search.problem import REFERENCE_MARGIN
from catransformers.search.space import FloatArray, IntArray
from catransformers.study.records import TrialRecord


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A trained model that no accelerator lets keep the limits: its trial, and the limit that it misses."""

    trial: int
    missed: Shortfall


@dataclass(frozen=True, slots=True)
class LimitedFront:
    """The front under some limits.

    Args:
        limits: SI; the latency is never more than the time until the next inference.
        members: the designs that no other beats, by rising first cost; they keep the limits.
        hypervolume: against the reference point of all fronts, accuracy × SI unit of each quantity.
        feasible: how many trained models have an accelerator that keeps the limits.
        left_out: those that have none.
    """

    limits: Limits
    members: tuple[FrontMember, ...]
    hypervolume: float
    feasible: int
    left_out: tuple[LeftOut, ...]

    @property
    def models(self) -> int:
        """How many trained models have a design on the front."""
        return len({member.trial.number for member in self.members})

    @property
    def cheapest(self) -> FrontMember | None:
        """The design of the least first cost; None where nothing keeps the limits."""
        return self.members[0] if self.members else None

    @property
    def most_accurate(self) -> FrontMember | None:
        """The design of the best accuracy, of equals the cheapest; None where nothing keeps the limits."""
        return max(self.members, key=lambda member: accuracy_of(member.trial), default=None)


@dataclass(frozen=True, slots=True)
class LimitedFronts:
    """Fronts under several limits, comparable.

    Args:
        minimise: the quantities beside accuracy.
        reference: their values at the reference point, SI.
        floor: the accuracy there, which a member of a front must reach.
        below_floor: how many trained models do not.
        best: the accuracy of the most accurate trained model; None without any.
        rows: one for each of the limits, in the order in which they were given.
    """

    minimise: tuple[str, ...]
    reference: tuple[float, ...]
    floor: float
    below_floor: int
    best: float | None
    rows: tuple[LimitedFront, ...]


@dataclass(frozen=True)
class _Points:
    """A model's designs that may be on the front: (n,) costs in each quantity, and accelerators."""

    values: tuple[FloatArray, ...]
    accelerator: IntArray


def fronts_under(
    costs: Costs,
    trials: Sequence[TrialRecord],
    limits: Sequence[Limits] | None = None,
    minimise: tuple[str, ...] | None = None,
) -> LimitedFronts:
    """The fronts of a study's trained models × all accelerators under several limits; exact, nothing is trained.

    Args:
        costs: of the study; its own limits are replaced, all but the accuracy that a front must reach.
        trials: finished ones; those that failed count for nothing.
        limits: by default the study's own alone.
        minimise: one quantity or two beside accuracy; by default the study's.

    Raises:
        InputError: if water is asked for on a grid whose factor is not known.
        ValueError: for no quantity or more than two.

    Reference: arXiv 2505.01386, section 5: fronts under 20, 4 and 1 TOPS and under 10, 50 and 100 ms.
    """
    chosen = [in_time(one, costs.scenario.period_s) for one in ([costs.limits] if limits is None else limits)]
    question = costs
    for one in chosen:
        question = asked(question, minimise, one)  # adds the water that any of them needs
    names = question.objectives.minimise
    if len(names) > 2:
        raise ValueError(f"fronts are of one quantity or two, not of {names}")
    quantities = {*names, *(name for one in chosen for name in one.of_designs())}
    floor = costs.limits.floor
    done = complete(trials)
    kept = [trial for trial in done if accuracy_of(trial) >= floor]
    points: list[list[_Points | LeftOut]] = [[] for _ in chosen]
    for trial in kept:
        own = candidates(question, costs.space.index(trial.dimensions), quantities)
        for found, one in zip(points, chosen, strict=True):
            inside = own.within(one)
            if inside.any():
                found.append(_front_of(own, inside, names))
            else:
                found.append(LeftOut(trial.number, own.shortfall(one)))
    reference = _reference(question, chosen)
    rows = tuple(_row(question, one, kept, found, reference, floor) for one, found in zip(chosen, points, strict=True))
    best = max((accuracy_of(trial) for trial in done), default=None)
    return LimitedFronts(names, reference, floor, len(done) - len(kept), best, rows)


def _front_of(own: Candidates, inside: NDArray[np.bool_], names: tuple[str, ...]) -> _Points:
    """A model's own front over the accelerators that keep the limits."""
    if len(names) == 1:
        best = own.least(names[0], inside)
        assert best is not None  # noqa: S101 - something is inside
        chosen = np.array([best])
    else:
        first, second = (np.where(inside, own.values[name], np.inf) for name in names)
        chosen = front2(first, second)
    return _Points(tuple(own.values[name][chosen] for name in names), own.accelerator[chosen])


def _reference(question: Costs, limits: Sequence[Limits]) -> tuple[float, ...]:
    """1.1 × the dearest that the base's own front is under any of the limits; without limits if it keeps none."""
    base, names = question.base_designs, question.objectives.minimise
    everywhere = np.ones(base.within.shape, dtype=np.bool_)
    kept = []
    for one in limits:
        inside = everywhere & (one.parameters is None or base.parameters <= one.parameters)
        for name, bound in one.of_designs().items():
            inside &= base.quantity(name) <= bound
        if inside.any():
            kept.append(inside)
    ends = []
    for inside in kept or [everywhere]:
        values = [np.where(inside, base.quantity(name), np.inf) for name in names]
        chosen = front2(values[0], values[1]) if len(values) > 1 else np.array([values[0].argmin()])
        ends.append([float(value[chosen].max()) for value in values])
    return tuple(REFERENCE_MARGIN * max(column) for column in zip(*ends, strict=True))


def _row(
    question: Costs,
    limits: Limits,
    trials: Sequence[TrialRecord],
    found: Sequence[_Points | LeftOut],
    reference: tuple[float, ...],
    floor: float,
) -> LimitedFront:
    feasible = [(trial, one) for trial, one in zip(trials, found, strict=True) if isinstance(one, _Points)]
    accuracy = [accuracy_of(trial) for trial, _ in feasible]
    if len(reference) == 1:
        least = [float(one.values[0][0]) for _, one in feasible]
        members = [(int(k), int(feasible[k][1].accelerator[0])) for k in front(accuracy, least)]
        volume = hypervolume(accuracy, least, reference[0], floor)
    else:
        members = _members_in_two_costs(accuracy, [one for _, one in feasible])
        both = [(one.values[0], one.values[1]) for _, one in feasible]
        volume = layers(accuracy, both, (reference[0], reference[1]), floor).hypervolume
    models = [question.space.index(trial.dimensions) for trial, _ in feasible]
    free = unlimited(question)  # what is on the front keeps the limits
    designs = {model: free.designs(model) for model in {models[k] for k, _ in members}}
    return LimitedFront(
        limits=limits,
        members=tuple(FrontMember(feasible[k][0], models[k], free.design(designs[models[k]], a)) for k, a in members),
        hypervolume=volume,
        feasible=len(feasible),
        left_out=tuple(one for one in found if isinstance(one, LeftOut)),
    )


def _members_in_two_costs(accuracy: Sequence[float], points: Sequence[_Points]) -> list[tuple[int, int]]:
    """(model, accelerator) of the front by rising first cost: level by level of accuracy, from the highest."""
    members: list[tuple[float, float, int, int]] = []
    better = Region.of([], [], (np.inf, np.inf))
    for level in sorted(set(accuracy), reverse=True):
        group = [k for k, own in enumerate(accuracy) if own == level]
        owner = np.repeat(group, [points[k].accelerator.size for k in group])
        first, second = (np.concatenate([points[k].values[i] for k in group]) for i in (0, 1))
        accelerator = np.concatenate([points[k].accelerator for k in group])
        for at in front2(first, second):
            if not better.dominates(first[at], second[at]):
                members.append((float(first[at]), -level, int(owner[at]), int(accelerator[at])))
        better = better.united(Region.of(first, second, better.reference))
    return [(k, a) for _, _, k, a in sorted(members)]
