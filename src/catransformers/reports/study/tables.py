"""A study as data for other programs (JSON, CSV) and as rows for a terminal. Keys are stable: see docs/json.md."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

from catransformers.designs.quantities import QUANTITIES
from catransformers.reports.study import narrative
from catransformers.reports.study.summary import Design, Member, StudySummary, ValueWithError, saving
from catransformers.reports.wording import breakable, compact, number, percent, points, score, unit_for
from catransformers.search.costs.enumerated import DesignCost
from catransformers.units import MM2_PER_M2

SCHEMA = 1  # of every JSON object here; rises when a key changes its meaning or goes


def cost_object(cost: DesignCost) -> dict[str, Any]:
    """What one design costs; SI units but for `area_mm2`."""
    return {
        "accelerator": cost.accelerator.to_dict(),
        "weights_on_chip": cost.resident,
        "feasible": cost.feasible,
        "latency_s": cost.latency_s,
        "energy_j": cost.energy_j,
        "area_mm2": cost.area_m2 * MM2_PER_M2,
        "embodied_kg": cost.embodied_kg,
        "operational_kg": cost.operational_kg,
        "total_kg": cost.total_kg,
    }


def design_object(design: Design) -> dict[str, Any]:
    """A design in short, for lists; `estimate_object` has the breakdown."""
    low, middle, high = design.range_kg
    return {
        "design": design.name,
        "trial": design.trial,
        "dimensions": dict(design.dimensions),
        "params": design.estimate.parameters,
        "macs": design.estimate.macs,
        **cost_object(design.cost),
        "total_kg_p5": low,
        "total_kg_p50": middle,
        "total_kg_p95": high,
        "accuracy": accuracy_object(design),
    }


def accuracy_object(design: Design) -> dict[str, Any]:
    """Accuracies and losses against the base (base minus design), fractions with their standard errors."""

    def plain(value: ValueWithError | None) -> dict[str, float | None] | None:
        return None if value is None else value.to_dict()

    return {
        "validation": plain(design.validation),
        "test": plain(design.test),
        "validation_loss": plain(design.validation_loss),
        "test_loss": plain(design.test_loss),
    }


def study_object(summary: StudySummary) -> dict[str, Any]:
    """What `status --json` prints and `front.json` holds."""
    return {
        "schema": SCHEMA,
        "study": summary.name,
        "objective": summary.objective,
        **({"second_objective": summary.second} if summary.second else {}),
        "objectives": list(summary.config.objectives.quantities),
        "metric": summary.metric,
        "scenario": summary.base.estimate.scenario.to_dict(),
        "technology": summary.base.estimate.technology.name,
        "trials": {
            "planned": summary.planned,
            "complete": len(summary.trials) - summary.failed - summary.untrained,
            "failed": summary.failed,
            "not_trained": summary.untrained,
            "left": summary.left,
            **({"adopted": summary.adopted} if summary.adopted else {}),
        },
        "tested": summary.tested,
        "finished": summary.finished,
        "seconds_left": summary.seconds_left if summary.left else 0.0,
        "hypervolume": summary.hypervolume[-1] if summary.hypervolume else 0.0,
        "reference": {
            "accuracy": summary.limits.floor,
            "cost": summary.reference[0],
            **({"second_cost": summary.reference[1]} if summary.second else {}),
            "costs": dict(zip(summary.config.objectives.quantities, summary.reference, strict=True)),
        },
        "headline": breakable(narrative.headline(summary)),
        "best": None if summary.best is None else summary.best.name,
        "attribution": attribution_object(summary),
        "own_footprint": None if summary.search_footprint is None else summary.search_footprint.to_dict(),
        "base": _judged(summary.base, summary),
        "front": [_member(member, summary) for member in summary.members],
        "shown": [design.name for design in summary.front],
    }


def _judged(design: Design, summary: StudySummary) -> dict[str, Any]:
    """A design in short with the values of all that is minimised, SI."""
    values = dict(zip(summary.config.objectives.quantities, design.cost.minimised, strict=True))
    return {**design_object(design), "objectives": values}


def _member(member: Member, summary: StudySummary) -> dict[str, Any]:
    """A design of the front in short, whether it is shown or not."""
    model = replace(member.model, name=member.name, cost=member.cost, range_kg=member.range_kg)
    return _judged(model, summary)


def attribution_object(summary: StudySummary) -> dict[str, Any] | None:
    """The headline design's saving, split; None without such a design. Savings are fractions of the objective."""
    found = summary.attribution
    if found is None:
        return None
    fastest, own = found.base_fastest, found.base_best
    same, best = found.pruned_same, found.pruned_best
    return {
        "base_fastest": cost_object(fastest),
        "base_best": cost_object(own),
        "pruned_same": cost_object(same),
        "pruned_best": cost_object(best),
        "hardware_alone": saving(own.objective, fastest.objective),
        "pruning_alone": saving(same.objective, own.objective),
        "both_against_base_best": saving(best.objective, own.objective),
        "both_against_base_fastest": saving(best.objective, fastest.objective),
    }


def estimate_object(design: Design, summary: StudySummary) -> dict[str, Any]:
    """`design.json`: one design with its estimate and breakdown, as `estimate --json` has it."""
    return {
        "schema": SCHEMA,
        "study": summary.name,
        "metric": summary.metric,
        "design": design.name,
        "trial": design.trial,
        "dimensions": dict(design.dimensions),
        "accuracy": accuracy_object(design),
        "estimate": design.estimate.to_dict(),
    }


def dumps(data: Any) -> str:
    """JSON for people and programs; a number that is not finite raises ValueError."""
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def front_csv(summary: StudySummary) -> str:
    """The front, a row a design, by rising cost. Every row names the scenario that its carbon holds for."""
    rows = [_flat(member, summary) for member in summary.members]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else ["design"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _flat(member: Member, summary: StudySummary) -> dict[str, Any]:
    design, cost, carbon = member.model, member.cost, member.footprint
    estimate = design.estimate
    low, middle, high = member.range_kg
    row: dict[str, Any] = {"study": summary.name, "design": member.name, "trial": design.trial, **design.dimensions}
    row |= {"params": estimate.parameters, "macs": estimate.macs, **cost.accelerator.to_dict()}
    for name in ("validation", "test", "validation_loss", "test_loss"):
        value: ValueWithError | None = getattr(design, name)
        row[name] = "" if value is None else value.value
        row[f"{name}_se"] = "" if value is None or value.error is None else value.error
    return row | {
        "scenario": estimate.scenario.name,
        "total_kg": cost.total_kg,
        "total_kg_p5": low,
        "total_kg_p50": middle,
        "total_kg_p95": high,
        "die_kg": float(carbon.die_kg),
        "dram_kg": float(carbon.dram_kg),
        "package_kg": float(carbon.package_kg),
        "operational_kg": cost.operational_kg,
        "latency_s": cost.latency_s,
        "energy_j": cost.energy_j,
        "area_mm2": cost.area_m2 * MM2_PER_M2,
        "weights_on_chip": cost.resident,
        **{QUANTITIES[name].key: cost.minimised[place] for name, place in summary.unusual.items()},
    }


def terminal_front(summary: StudySummary) -> tuple[list[str], list[list[str]]]:
    """The front and the base as a table: column titles and rows of text."""
    shown = [*summary.front, summary.base]
    carbon = unit_for("carbon", [d.cost.total_kg for d in shown])
    latency = unit_for("latency", [d.cost.latency_s for d in shown])
    energy = unit_for("energy", [d.cost.energy_j for d in shown])
    others = {n: unit_for(n, [d.cost.minimised[place] for d in shown]) for n, place in summary.unusual.items()}
    where = summary.pool
    titles = [
        "design",
        "model",
        "accelerator",
        f"{summary.metric} %\n{where}",
        f"loss, points\n{where}",
        f"{carbon.label}\np5–p95",
        f"{summary.objective}{' p95' if summary.is_high(summary.objective) else ''}\nvs base",
        latency.label,
        energy.label,
        "mm²",
        *(f"{name}\n{unit.label}" for name, unit in others.items()),
        "DRAM",
    ]
    rows = []
    for d in shown:
        accuracy, loss = (d.test, d.test_loss) if summary.tested else (d.validation, d.validation_loss)
        low, _, high = d.range_kg
        machine = d.cost.accelerator
        array = f"{machine.cores}×{machine.pe_x}×{machine.pe_y}, {machine.local_kib:g} KiB, {machine.global_mib:g} MiB"
        row = [
            d.name
            + ("*" if summary.best is not None and d.name == summary.best.name else "")
            + ("" if d.trial is None else f"\ntrial {d.trial}"),
            compact(d.dimensions).replace(", ", "\n"),
            array.replace(", ", "\n", 1),
            "–" if accuracy is None else score(accuracy.value, accuracy.error),
            "–" if loss is None else points(loss.value, loss.error),
            f"{carbon.text(d.cost.total_kg)}\n{carbon.text(low)}–{carbon.text(high)}",
            "" if d.is_base else percent(-saving(d.cost.objective, summary.base.cost.objective), sign=True),
            latency.text(d.cost.latency_s),
            energy.text(d.cost.energy_j),
            number(d.cost.area_m2 * MM2_PER_M2),
            *(unit.text(d.cost.minimised[summary.unusual[name]]) for name, unit in others.items()),
            "no" if d.cost.resident else "yes",
        ]
        rows.append([breakable(cell) for cell in row])
    return [breakable(title) for title in titles], rows
