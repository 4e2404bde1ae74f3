"""The analyses of a study as data for other programs (JSON). Keys are stable: see docs/json.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catransformers.designs.limits import Shortfall, round_figures
from catransformers.designs.quantities import QUANTITIES
from catransformers.execution.results import StudyResults
from catransformers.execution.studies.base_model import metric_of
from catransformers.reports.study.tables import SCHEMA, cost_object
from catransformers.search.analysis import IsoAccuracy, LimitedFront, LimitedFronts, ModeChoice, Pruning, Share
from catransformers.search.costs.designs import DesignCost
from catransformers.search.fronts import FrontMember, accuracy_of


def study_header(results: StudyResults, notes: Sequence[str]) -> dict[str, Any]:
    """What stands at the head of every object here."""
    return {
        "schema": SCHEMA,
        "study": results.config.name,
        "metric": metric_of(results.config),
        "scenario": results.costs.scenario.to_dict(),
        "finished": results.finished,
        "notes": list(notes),
    }


def member_object(member: FrontMember) -> dict[str, Any]:
    """A trained model on an accelerator."""
    return {
        "trial": member.trial.number,
        "accuracy": accuracy_of(member.trial),
        "dimensions": dict(member.trial.dimensions),
        **cost_object(member.design),
    }


def shortfall_object(missed: Shortfall) -> dict[str, Any]:
    """A limit that cannot be kept: which, the least that is possible, the limit, and by how much it is missed."""
    row = QUANTITIES[missed.quantity]
    return {
        "limit": missed.key,
        "unit": row.shown,
        "least": round_figures(missed.demand * row.factor),
        "bound": round_figures(missed.bound * row.factor),
        "missed_by": missed.ratio - 1,
    }


def fronts_object(found: LimitedFronts, labels: Sequence[str]) -> dict[str, Any]:
    """Fronts under several limits. `reference` is SI, its accuracy a fraction."""
    return {
        "minimise": list(found.minimise),
        "reference": {"accuracy": found.floor, **dict(zip(found.minimise, found.reference, strict=True))},
        "below_accuracy": found.below_floor,
        "fronts": [_front_object(row, label) for row, label in zip(found.rows, labels, strict=True)],
    }


def _front_object(row: LimitedFront, label: str) -> dict[str, Any]:
    return {
        "label": label,
        "limits": row.limits.to_dict(),
        "hypervolume": row.hypervolume,
        "designs": len(row.members),
        "models": row.models,
        "feasible_models": row.feasible,
        "left_out": [{"trial": one.trial, **shortfall_object(one.missed)} for one in row.left_out],
        "front": [member_object(member) for member in row.members],
    }


def iso_object(found: IsoAccuracy) -> dict[str, Any]:
    """The best design for each mode at one accuracy, each beside the one for carbon."""
    reference = found.choice("carbon")
    return {
        "accuracy": found.accuracy,
        "tolerance": found.tolerance,
        "trials": list(found.trials),
        "modes": [_choice_object(one, reference) for one in found.choices],
        "infeasible": {mode: shortfall_object(missed) for mode, missed in found.missed.items()},
    }


def _choice_object(one: ModeChoice, reference: ModeChoice | None) -> dict[str, Any]:
    return {
        "mode": one.mode,
        "limits": one.limits.to_dict(),
        "trade_offs": one.trade_offs,
        **member_object(one.member),
        "values": dict(one.values),
        "relative_to_carbon": None if reference is None else one.relative_to(reference),
    }


def shares_object(found: Sequence[Share], base: DesignCost, base_accuracy: float | None) -> dict[str, Any]:
    """Embodied and operational carbon along a front, by falling accuracy; shares are fractions."""
    return {
        "designs": [
            {**member_object(one.member), "embodied_share": one.embodied, "operational_share": one.operational}
            for one in found
        ],
        "base": {
            "accuracy": base_accuracy,
            **cost_object(base),
            "operational_share": base.operational_kg / base.total_kg,
        },
    }


def pruning_object(found: Pruning) -> dict[str, Any]:
    """What a front prunes: fractions of the base's dimensions that are kept, dimensions in order of first pruning."""
    return {
        "models": found.models,
        "trained": found.trials,
        "bands": [{"low": band.low, "high": band.high, "models": band.models} for band in found.bands],
        "dimensions": [
            {
                "name": row.name,
                "base": row.base,
                "first_pruned_by": None if row.first is None else row.first.number,
                "first_pruned_at": None if row.first is None else accuracy_of(row.first),
                "kept_there": row.kept,
                "front": row.front,
                "trials": row.trials,
                "space": row.space,
                "bands": list(row.bands),
            }
            for row in found.dimensions
        ],
    }
