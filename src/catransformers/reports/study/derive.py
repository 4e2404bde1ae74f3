"""From a study's folder to its `StudySummary`: the only place where a report's numbers are worked out.

Fronts, costs, hypervolumes and attributions come from `search` and `execution.results`; here they are put beside the
accuracies, and the few designs that a report dwells on get their full estimate.
"""

from __future__ import annotations

import json
import platform
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import numpy as np

from catransformers.carbon.footprint import Footprint, footprint, footprint_range
from catransformers.designs import estimate as designs
from catransformers.errors import InfeasibleError, InputError, IntegrityError, Problem
from catransformers.execution.results import StudyResults, load_study
from catransformers.execution.studies.base_model import metric_of
from catransformers.hardware.accelerator import Accelerator
from catransformers.reports.study.search_footprint import search_footprint
from catransformers.reports.study.summary import (
    Design,
    Interval,
    Member,
    Provenance,
    StudySummary,
    Trial,
    ValueWithError,
    choose_headline,
)
from catransformers.search.costs.designs import DesignCost
from catransformers.search.costs.space import Costs
from catransformers.search.fronts import representatives
from catransformers.study.records import EvaluationRecord, TrialRecord
from catransformers.workloads.spec import ModelSpec

PACKAGES = ("catransformers", "torch", "numpy", "botorch")


def read_results(root: Path) -> StudyResults:
    """The study in the folder `root`; a search may be writing to it meanwhile.

    Raises:
        InputError: if there is no study in the folder or its files are damaged.
    """
    try:
        return load_study(root)
    except IntegrityError as error:
        raise InputError(Problem(str(root), f"this study is damaged: {error}")) from error


def summarise(results: StudyResults) -> StudySummary:
    """Everything that a report says, worked out once."""
    costs, config = results.costs, results.config
    members = {member.trial.number for member in results.front}
    trials = _trials(results, members)
    base = _base(results)
    front, whole_front = _front(results, trials)
    tuned = _tuned_base(results)
    chosen = choose_headline(front, base)
    return StudySummary(
        config=config,
        metric=metric_of(config),
        models=costs.space.size,
        accelerators=len(costs.table),
        base=base,
        base_feasible=costs.base_best.feasible,
        front=front,
        trials=tuple(trials.values()),
        attribution=None if chosen is None else costs.attribution(costs.space.index(front[chosen].dimensions)),
        headline=chosen,
        hypervolume=tuple(float(value) for value in results.convergence),
        reference_cost=costs.reference[0],
        further_references=costs.reference[1:],
        whole_front=whole_front,
        exhausted=results.finished,
        provenance=_provenance(results),
        limits=costs.limits,
        tuned_validation=None
        if tuned is None or tuned.accuracy is None
        else ValueWithError(tuned.accuracy, tuned.accuracy_se),
        tuned_test=None if tuned is None else _score(results.evaluation(tuned.number, "test")),
        search_footprint=search_footprint(
            config.execution,
            results.energy,
            results.trials,
            results.evaluations,
            None if chosen is None else base.cost.total_kg - front[chosen].cost.total_kg,
        ),
    )


def _tuned_base(results: StudyResults) -> TrialRecord | None:
    """The first complete trial that pruned nothing."""
    whole = results.costs.space.base.dimensions()
    return next((t for t in results.trials if t.accuracy is not None and dict(t.dimensions) == whole), None)


def _trials(results: StudyResults, members: set[int]) -> dict[int, Trial]:
    """All trials by number, each complete one on its best accelerator."""
    missed: dict[int, str] = {}
    found = {record.number: _cost(results.costs, record, missed) for record in results.trials}
    as_run = {record.number: _as_run(results.costs, record) for record in results.trials}
    ranges = _ranges({number: cost for number, cost in found.items() if cost is not None}, results.costs)
    return {
        record.number: Trial(
            number=record.number,
            status=record.status,
            dimensions=record.dimensions,
            origin=record.proposal.origin,
            reason=record.proposal.reason,
            seconds=record.seconds,
            error=record.error,
            accuracy=None if record.accuracy is None else ValueWithError(record.accuracy, record.accuracy_se),
            cost=found[record.number],
            range_kg=ranges.get(record.number),
            on_front=record.number in members,
            untrained=record.untrained,
            missed=missed.get(record.number, ""),
            chosen=as_run[record.number][0],
            broken=as_run[record.number][1],
            adopted=record.proposal.adopted,
        )
        for record in sorted(results.trials, key=lambda record: record.number)
    }


def _cost(costs: Costs, record: TrialRecord, missed: dict[int, str]) -> DesignCost | None:
    """A trial's model on its best accelerator; None, with the limit that none keeps put into `missed`."""
    try:
        return costs.best(costs.space.index(record.dimensions))
    except InfeasibleError as error:
        missed[record.number] = error.shortfall
        return None


def _as_run(costs: Costs, record: TrialRecord) -> tuple[Accelerator | None, tuple[tuple[str, float, float], ...]]:
    """The accelerator that the strategy chose with a trial's model, and the limits that the two break."""
    row = record.proposal.accelerator
    if row is None:
        return None, ()
    found = costs.designs(costs.space.index(record.dimensions))
    if found.within[row]:
        return costs.table[row], ()
    values = [(name, found.of(name, row), bound) for name, bound in costs.limits.of_designs().items()]
    return costs.table[row], tuple(one for one in values if one[1] > one[2])


def _ranges(found: dict[int, DesignCost], costs: Costs) -> dict[int, Interval]:
    """The footprints' ranges, all from the same draws."""
    if not found:
        return {}
    chosen = list(found.values())
    columns = footprint_range(
        np.array([cost.area_m2 for cost in chosen]),
        np.array([cost.life_energy_j for cost in chosen]),
        np.array([not cost.resident for cost in chosen]),
        costs.scenario,
    )
    rows = zip(*columns, strict=True)
    return {
        number: (float(low), float(middle), float(high))
        for number, (low, middle, high) in zip(found, rows, strict=True)
    }


def _estimate(spec: ModelSpec, cost: DesignCost, costs: Costs) -> designs.Estimate:
    return designs.estimate(spec, cost.accelerator, technology=costs.technology, scenario=costs.scenario)


def _base(results: StudyResults) -> Design:
    costs = results.costs
    cost = costs.base_best
    return Design(
        name="base",
        trial=None,
        dimensions=costs.space.base.dimensions(),
        cost=cost,
        range_kg=_ranges({0: cost}, costs)[0],
        estimate=_estimate(costs.space.base, cost, costs),
        validation=_score(results.evaluation(None, "validation")),
        test=_score(results.evaluation(None, "test")),
    )


def _front(results: StudyResults, trials: dict[int, Trial]) -> tuple[tuple[Design, ...], tuple[Member, ...]]:
    """The designs of the front that reports show, and all of them where these are more."""
    costs, members = results.costs, results.front
    chosen = {id(member) for member in representatives(members)}
    ranges = _ranges({place: member.design for place, member in enumerate(members)}, costs)
    shown = {
        place: _front_design(str(place + 1), results, trials[member.trial.number], member.design, ranges[place])
        for place, member in enumerate(members)
        if id(member) in chosen
    }
    if len(shown) == len(members):
        return tuple(shown.values()), ()
    of_model = {design.trial: design for design in reversed(shown.values())}
    whole = tuple(
        Member(
            name=str(place + 1),
            model=shown.get(place, of_model[member.trial.number]),
            cost=member.design,
            range_kg=ranges[place],
            footprint=_footprint(member.design, costs),
        )
        for place, member in enumerate(members)
    )
    return tuple(shown.values()), whole


def _footprint(cost: DesignCost, costs: Costs) -> Footprint:
    return footprint(cost.area_m2, cost.life_energy_j, not cost.resident, costs.scenario)


def _front_design(name: str, results: StudyResults, trial: Trial, cost: DesignCost, range_kg: Interval) -> Design:
    record = next(record for record in results.trials if record.number == trial.number)
    test = results.evaluation(trial.number, "test")
    base = results.evaluation(None, "validation")
    difference = record.metrics.get("difference_to_base")
    if difference is None and base is not None and record.accuracy is not None:
        difference = record.accuracy - base.accuracy
    return Design(
        name=name,
        trial=trial.number,
        dimensions=trial.dimensions,
        cost=cost,
        range_kg=range_kg,
        estimate=_estimate(results.costs.space.spec(trial.dimensions), cost, results.costs),
        validation=trial.accuracy,
        test=_score(test),
        validation_loss=_loss(difference, record.metrics.get("difference_to_base_se")),
        test_loss=None if test is None else _loss(test.difference, test.difference_se),
    )


def _score(record: EvaluationRecord | None) -> ValueWithError | None:
    return None if record is None else ValueWithError(record.accuracy, record.standard_error)


def _loss(difference: float | None, error: float | None) -> ValueWithError | None:
    return None if difference is None else ValueWithError(-difference if difference else 0.0, error)


def _provenance(results: StudyResults) -> Provenance:
    versions = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return Provenance(
        command="catransformers search study.toml",
        versions=versions,
        base_sha256=_base_sha256(results.config.model.base),
        study_toml=results.config.to_toml(),
    )


def _base_sha256(base: str) -> str:
    """The hash recorded beside the base model's weights; empty where none is (an open_clip name, say)."""
    if base == "embedded":
        description = files("catransformers.data").joinpath("embedded", "model.json")
    else:
        path = Path(base).expanduser()
        description = path / "model.json" if path.is_dir() else path.with_suffix(".json")
    try:
        recorded = json.loads(description.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(recorded.get("sha256", "")) if isinstance(recorded, dict) else ""
