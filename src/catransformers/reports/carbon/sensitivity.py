"""Sensitivity analysis: how a study's front moves with its scenario, and how sure each member is of being on it.

One assumption is changed at a time: the grids, the lifetime, the rate, the yield, the DRAM, the package. Each time the
trained models choose their accelerators anew, and the front of accuracy against carbon is drawn again, whatever the
study minimised; its limits hold. Nothing is trained. What a changed assumption would have cost one who had built for
the study's own scenario is the *regret*: carbon of the design as it was chosen, over that of the best design of at
least its accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from catransformers.carbon.grid import region_intensity
from catransformers.carbon.grid_path import IntensityPath
from catransformers.carbon.scenario import Scenario
from catransformers.carbon.uncertainty import draw_factors, front_probability, sample_totals, tornado
from catransformers.errors import InputError, Problem, present
from catransformers.execution.results import StudyResults
from catransformers.execution.studies.under_scenario import under_scenario
from catransformers.hardware.accelerator import AcceleratorTable
from catransformers.search.costs.designs import Designs
from catransformers.search.costs.space import Costs
from catransformers.search.fronts import accuracy_of, complete
from catransformers.search.geometry.pareto import front

SAMPLES = 10_000
USE_ZONES = ("wind", "FRA", "world", "coal")
FAB_PLACES = ("wind", "KOR", "TWN", "IND")
YIELDS = ("fixed:0.875", "poisson", "murphy", "seeds", "negative-binomial")
DRAM_KINDS = ("lpddr4", "lpddr3_20nm", "micron_18nm")


@dataclass(frozen=True, slots=True)
class Variation:
    """A scenario in which one assumption is another: which, its value in words, and the whole scenario."""

    factor: str
    value: str
    scenario: Scenario


@dataclass(frozen=True, slots=True)
class Member:
    """A trained model on its best accelerator under some scenario."""

    trial: int
    accuracy: float
    total_kg: float
    accelerator: int


@dataclass(frozen=True, slots=True)
class MovedFront:
    """The front under one variation, beside the study's own.

    Args:
        variation: what was changed.
        members: the front by rising carbon; empty where no design keeps the limits.
        stay, come, leave: numbers of trials on both fronts, on this one only, on the study's own only.
        moved: how many of those that stay do so on another accelerator.
        regret: the largest fraction of carbon that the study's own designs emit too much; None where one of them
            breaks a limit or no front exists.
    """

    variation: Variation
    members: tuple[Member, ...]
    stay: tuple[int, ...]
    come: tuple[int, ...]
    leave: tuple[int, ...]
    moved: int
    regret: float | None

    def to_dict(self, table: AcceleratorTable) -> dict[str, Any]:
        """Plain data with stable keys; `table` holds the study's accelerators."""
        return {
            "factor": self.variation.factor,
            "value": self.variation.value,
            "front": [
                {
                    "trial": member.trial,
                    "accuracy": member.accuracy,
                    "total_kg": member.total_kg,
                    "accelerator": table[member.accelerator].to_dict(),
                }
                for member in self.members
            ],
            "stay": list(self.stay),
            "come": list(self.come),
            "leave": list(self.leave),
            "moved": self.moved,
            "regret": self.regret,
        }


@dataclass(frozen=True)
class Sensitivity:
    """A study's front and how it moves.

    Args:
        study: its name.
        scenario: its own, or the one asked for.
        costs: its models and accelerators under that scenario.
        own: the front under it.
        probability: by trial of `own`, the share of draws of the carbon factors in which it is on the front.
        swings: by factor, the total of the front's middle member at the factor's low and high, kg.
        middle: that member.
        rows: the fronts under each variation.
    """

    study: str
    scenario: Scenario
    costs: Costs
    own: MovedFront
    probability: dict[int, float]
    swings: dict[str, tuple[float, float]]
    middle: Member
    rows: tuple[MovedFront, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data with stable keys."""
        table = self.costs.table
        own = self.own.to_dict(table)
        for member in own["front"]:
            member["probability_on_front"] = self.probability[member["trial"]]
        return {
            "study": self.study,
            "scenario": self.scenario.to_dict(),
            "front": own["front"],
            "variations": [row.to_dict(table) for row in self.rows],
            "tornado": {
                "trial": self.middle.trial,
                "factors": {name: {"low_kg": low, "high_kg": high} for name, (low, high) in self.swings.items()},
            },
        }


def variations(scenario: Scenario) -> tuple[Variation, ...]:
    """Every scenario with one assumption changed to another value."""
    found = []
    steady = scenario.use_path if not scenario.use_path.by_year_kg_per_kwh else IntensityPath()
    for code in USE_ZONES:
        grid = region_intensity(code)
        changed = replace(scenario, use=grid, use_path=steady)
        found.append(Variation("grid of use", _grid(grid.name, changed.use.intensity_kg_per_kwh), changed))
    for code in FAB_PLACES:
        grid = region_intensity(code, use="fab")
        found.append(
            Variation("grid of the fab", _grid(grid.name, grid.intensity_kg_per_kwh), replace(scenario, fab=grid))
        )
    for times in (0.5, 2.0):
        years = scenario.lifetime_years * times
        changed = replace(scenario, lifetime_years=years, explicit_inferences=_scaled(scenario, times))
        found.append(Variation("lifetime", f"{years:g} years", changed))
    for times in (0.1, 10.0):
        rate = scenario.inferences_per_second * times
        changed = replace(scenario, inferences_per_second=rate, explicit_inferences=_scaled(scenario, times))
        found.append(Variation("rate", f"{rate:.4g} a second", changed))
    known = scenario.fab_node.defects_per_m2 is not None or scenario.defect_density_per_cm2 is not None
    found += [
        Variation("yield", model, replace(scenario, yield_model=model))
        for model in YIELDS
        if model != scenario.yield_model and (known or model.startswith("fixed"))
    ]
    for policy in ("when-needed", "always"):
        if policy != scenario.dram:
            found.append(Variation("DRAM", policy.replace("-", " "), replace(scenario, dram=policy)))
    found += [
        Variation("DRAM", kind, replace(scenario, dram_kind=kind)) for kind in DRAM_KINDS if kind != scenario.dram_kind
    ]
    for package in ("none", "per-package"):
        if package != scenario.package:
            changed = replace(scenario, package=package, package_g_per_cm2=None)
            found.append(Variation("package", package.replace("-", " "), changed))
    return tuple(found)


def _grid(name: str, kg_per_kwh: float) -> str:
    return f"{name.removesuffix(' (as the only source)')}, {kg_per_kwh * 1e3:.4g} g/kWh"


def _scaled(scenario: Scenario, times: float) -> float | None:
    """The given total of inferences, where there is one, `times` as large."""
    return None if scenario.explicit_inferences is None else scenario.explicit_inferences * times


def sensitivity(results: StudyResults, scenario: Scenario | None = None) -> Sensitivity:
    """How the front of a study moves.

    Args:
        results: the study.
        scenario: what to start from; its own by default.

    Raises:
        InputError: if no trial has been completed, no trained model keeps the limits, or the scenario is of another
            process node.
    """
    start = scenario or results.costs.scenario
    trained = _Trained(results)
    costs = trained.costs(start)
    found = trained.designs(costs)
    own = trained.members(found)
    if not own:
        raise InputError(Problem(str(results.directory.root), "no trained model keeps the study's limits, so no front"))
    reference = MovedFront(Variation("", "as it is", start), own, tuple(m.trial for m in own), (), (), 0, 0.0)
    rows = []
    for variation in variations(start):
        moved = trained.designs(trained.costs(variation.scenario))
        rows.append(_moved(variation, own, moved, trained))
    middle = own[len(own) // 2]
    chosen, at = found[trained.place[middle.trial]], middle.accelerator
    swings = tornado(float(chosen.area_m2[at]), float(chosen.life_energy_j[at]), not bool(chosen.resident[at]), start)
    return Sensitivity(
        study=results.config.name,
        scenario=start,
        costs=costs,
        own=reference,
        probability=trained.probability(found, own, start),
        swings={swing.factor: (swing.low_kg, swing.high_kg) for swing in swings},
        middle=middle,
        rows=tuple(rows),
    )


class _Trained:
    """The trained models of a study: their accuracies, and their designs under any scenario."""

    def __init__(self, results: StudyResults) -> None:
        self.results = results
        self.trials = complete(results.trials)
        if not self.trials:
            raise InputError(Problem(str(results.directory.root), "no trial has been completed, so there is no front"))
        self.accuracy = np.array([accuracy_of(trial) for trial in self.trials])
        self.place = {trial.number: position for position, trial in enumerate(self.trials)}

    def costs(self, scenario: Scenario) -> Costs:
        return under_scenario(self.results.costs, self.results.config, scenario)

    def designs(self, costs: Costs) -> list[Designs]:
        """Each trained model on every accelerator."""
        return [costs.designs(costs.space.index(trial.dimensions)) for trial in self.trials]

    def members(self, found: list[Designs]) -> tuple[Member, ...]:
        """The front of accuracy against carbon."""
        best = [designs.best("carbon") for designs in found]
        cost = [np.inf if at is None else designs.total_kg[at] for designs, at in zip(found, best, strict=True)]
        members = []
        for position in front(self.accuracy, cost):
            at = present(best[position])  # a design of infinite cost is never on a front
            trial = self.trials[position]
            members.append(Member(trial.number, float(self.accuracy[position]), float(cost[position]), at))
        return tuple(members)

    def probability(self, found: list[Designs], own: tuple[Member, ...], scenario: Scenario) -> dict[int, float]:
        """By trial of the front, the share of draws in which no trained model beats it, each where it is now."""
        chosen = [
            (self.accuracy[i], designs, at)
            for i, designs in enumerate(found)
            if (at := designs.best("carbon")) is not None
        ]
        numbers = [trial.number for trial, designs in zip(self.trials, found, strict=True) if designs.within.any()]
        totals = sample_totals(
            np.array([designs.area_m2[at] for _, designs, at in chosen]),
            np.array([designs.life_energy_j[at] for _, designs, at in chosen]),
            np.array([not designs.resident[at] for _, designs, at in chosen]),
            scenario,
            draw_factors(scenario, SAMPLES),
        )
        shares = front_probability(totals, np.array([accuracy for accuracy, _, _ in chosen]))
        by_trial = dict(zip(numbers, map(float, shares), strict=True))
        return {member.trial: by_trial[member.trial] for member in own}


def _moved(variation: Variation, own: tuple[Member, ...], found: list[Designs], trained: _Trained) -> MovedFront:
    members = trained.members(found)
    now = {member.trial: member for member in members}
    before = {member.trial: member for member in own}
    stay = tuple(number for number in before if number in now)
    return MovedFront(
        variation,
        members,
        stay,
        tuple(number for number in now if number not in before),
        tuple(number for number in before if number not in now),
        sum(now[number].accelerator != before[number].accelerator for number in stay),
        _regret(own, members, found, trained),
    )


def _regret(
    own: tuple[Member, ...], members: tuple[Member, ...], found: list[Designs], trained: _Trained
) -> float | None:
    worst = 0.0
    for member in own:
        designs = found[trained.place[member.trial]]
        if not designs.within[member.accelerator]:
            return None
        kept = float(designs.total_kg[member.accelerator])
        best = min((m.total_kg for m in members if m.accuracy >= member.accuracy), default=None)
        if best is None:
            return None
        worst = max(worst, kept / best - 1 if best else 0.0)
    return worst
