"""Designs of equal accuracy: among the trained models within a band of accuracy, the best design for each aim.

The paper compares at equal accuracy what it brings to optimise one quantity or another (arXiv 2505.01386, section
5.2). Its modes are `carbon`, `latency`, `energy` and `all`, which is carbon and latency at once; here also `area` and
`tcdp`. Of the designs that no other beats in carbon and latency, `all` takes the knee: the one nearest to the best of
both, each as the logarithm of its ratio to the best, scaled by the front's extent. A mode whose quantity does not
depend on latency is kept within the paper's 50 ms where nothing else limits latency: the slowest chip is the cleanest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from catransformers.config.sections import PRESET_LATENCY_MS
from catransformers.designs.limits import Limits, Shortfall
from catransformers.errors import InputError, Problem
from catransformers.hardware.front import knee
from catransformers.search.analysis.question import Candidates, asked, candidates, unlimited
from catransformers.search.costs.designs import no_accelerator
from catransformers.search.costs.space import Costs
from catransformers.search.fronts import FrontMember, accuracy_of, complete
from catransformers.search.geometry.regions import front2
from catransformers.study.records import TrialRecord
from catransformers.units import MILLI

#: Mode → the quantities that it minimises.
MODES: Mapping[str, tuple[str, ...]] = {
    "carbon": ("carbon",),
    "latency": ("latency",),
    "energy": ("energy",),
    "all": ("carbon", "latency"),
    "area": ("area",),
    "tcdp": ("tcdp",),
}
#: What each choice is measured in.
MEASURES = ("carbon", "latency", "energy", "area", "tcdp")
_WITH_LATENCY = ("latency", "all", "tcdp")
#: Accuracies are compared as people read them: without what the last binary digit makes of 0.9 − 0.01.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class ModeChoice:
    """The best design for one mode.

    Args:
        mode: one of `MODES`.
        limits: what it had to keep.
        member: the trained model and its design.
        values: carbon (at the study's quantile), latency, energy, area and carbon × latency by name, SI.
        trade_offs: how many designs of the band no other beats in the mode's quantities; the choice is one of them.
    """

    mode: str
    limits: Limits
    member: FrontMember
    values: Mapping[str, float]
    trade_offs: int

    def relative_to(self, other: ModeChoice) -> dict[str, float]:
        """Each value over that of another choice."""
        return {name: value / other.values[name] for name, value in self.values.items()}


@dataclass(frozen=True, slots=True)
class IsoAccuracy:
    """The best designs at one accuracy.

    Args:
        accuracy: the middle of the band, a fraction.
        tolerance: its half width, a fraction.
        trials: numbers of the trained models in the band, by falling accuracy.
        choices: one for each mode that has a design.
        missed: for every other mode the limit that no model of the band keeps, as the one that comes nearest misses it.
    """

    accuracy: float
    tolerance: float
    trials: tuple[int, ...]
    choices: tuple[ModeChoice, ...]
    missed: Mapping[str, Shortfall]

    def choice(self, mode: str) -> ModeChoice | None:
        """The choice of a mode; None where it has none or was not asked for."""
        return next((one for one in self.choices if one.mode == mode), None)


def iso_accuracy(
    costs: Costs,
    trials: Sequence[TrialRecord],
    accuracy: float,
    tolerance: float = 0.01,
    modes: Sequence[str] = tuple(MODES),
    *,
    limits: Limits | None = None,
    preset_latency_s: float | None = PRESET_LATENCY_MS * MILLI,
) -> IsoAccuracy:
    """The best design for each mode among the trained models of nearly one accuracy; exact, nothing is trained.

    Args:
        costs: of the study.
        trials: finished ones; those that failed count for nothing.
        accuracy: the middle of the band, a fraction.
        tolerance: its half width, a fraction.
        modes: some of `MODES`.
        limits: what no design may exceed; by default the study's.
        preset_latency_s: the latency limit of the modes that do not minimise latency, beside `limits`; None is none.

    Raises:
        InputError: if no trained model is in the band; the nearest accuracies are named.
        InfeasibleError: if no model of the band keeps the limits of any mode.

    Reference: arXiv 2505.01386, section 5.2.
    """
    chosen = in_band(trials, accuracy, tolerance)
    question = asked(costs, None, limits)
    own_limits = {mode: _limits(question.limits, mode, preset_latency_s) for mode in modes}
    bounds = {name for one in own_limits.values() for name in one.of_designs()}
    found = [candidates(question, costs.space.index(trial.dimensions), {*MEASURES, *bounds}) for trial in chosen]
    choices, missed = [], {}
    for mode in modes:
        best = _best(mode, own_limits[mode], found)
        if best is None:
            misses = [own.shortfall(own_limits[mode]) for own in found]
            missed[mode] = min(misses, key=lambda miss: miss.demand / miss.bound)
            continue
        place, position, trade_offs = best
        own = found[place]
        design = unlimited(question).design(own.found, int(own.accelerator[position]))
        member = FrontMember(chosen[place], own.model, design)
        values = {name: float(own.values[name][position]) for name in MEASURES}
        choices.append(ModeChoice(mode, own_limits[mode], member, values, trade_offs))
    if not choices:
        nearest = min(missed.values(), key=lambda miss: miss.ratio)
        raise no_accelerator(nearest, f"each trained model of {100 * accuracy:g} ± {100 * tolerance:g} % accuracy")
    return IsoAccuracy(accuracy, tolerance, tuple(trial.number for trial in chosen), tuple(choices), missed)


def in_band(trials: Sequence[TrialRecord], accuracy: float, tolerance: float) -> list[TrialRecord]:
    """The trained models of nearly one accuracy, the most accurate first.

    Raises:
        InputError: if there is none.
    """
    done = complete(trials)
    chosen = [trial for trial in done if abs(accuracy_of(trial) - accuracy) <= tolerance + _ROUNDING]
    if not chosen:
        raise InputError(_empty_band(done, accuracy, tolerance))
    return sorted(chosen, key=lambda trial: -accuracy_of(trial))


def _empty_band(done: Sequence[TrialRecord], accuracy: float, tolerance: float) -> Problem:
    what = f"no trained model has an accuracy of {100 * accuracy:g} ± {100 * tolerance:g} %"
    if not done:
        return Problem("accuracy", what, hint="no trial has been completed")
    known = sorted(accuracy_of(trial) for trial in done)
    gap = min(abs(value - accuracy) for value in known)
    return Problem(
        "accuracy",
        what,
        f"{100 * known[0]:.4g} to {100 * known[-1]:.4g}, where the trained models are",
        f"a tolerance of {np.ceil(1e4 * gap) / 100:g} points reaches the nearest one",
    )


def _limits(limits: Limits, mode: str, preset_latency_s: float | None) -> Limits:
    if preset_latency_s is None or mode in _WITH_LATENCY:
        return limits
    return limits.but(latency=min(preset_latency_s, np.inf if limits.latency is None else limits.latency))


def _best(mode: str, limits: Limits, found: Sequence[Candidates]) -> tuple[int, int, int] | None:
    """(model, design, trade-offs) of a mode, as positions in `found` and its candidates; None if nothing is kept."""
    kept = [own.within(limits) for own in found]
    quantities = MODES[mode]
    if len(quantities) == 1:
        least = [(k, own.least(quantities[0], mask)) for k, (own, mask) in enumerate(zip(found, kept, strict=True))]
        designs = [(k, at) for k, at in least if at is not None]
        if not designs:
            return None

        def rank(design: tuple[int, int]) -> tuple[float, float]:
            own, at = found[design[0]], design[1]
            return float(own.values[quantities[0]][at]), float(own.values["carbon"][at])

        return *min(designs, key=rank), 1
    positions = [np.flatnonzero(mask) for mask in kept]
    owner = np.repeat(np.arange(len(found)), [rows.size for rows in positions])
    rows = np.concatenate(positions)
    columns = [
        np.concatenate([own.values[name][at] for own, at in zip(found, positions, strict=True)]) for name in quantities
    ]
    members = front2(columns[0], columns[1])
    if not members.size:
        return None
    chosen = members[knee([column[members] for column in columns])]
    return int(owner[chosen]), int(rows[chosen]), int(members.size)
