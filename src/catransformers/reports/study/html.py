"""`report.html`: one file that works without a network, on a phone, in the dark and on paper.

Plotly's script is inside, compressed, and unpacked by the browser; before that, and without JavaScript, the front is
there as a picture. Bars and tables are plain HTML. Every text is escaped by the template engine; only JSON made here is
passed through, with nothing in it that could end a script.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from catransformers.designs.limits import Limits
from catransformers.designs.quantities import QUANTITIES
from catransformers.lazy import lazy
from catransformers.reports import assumptions
from catransformers.reports.figures.template import plotly_script, render
from catransformers.reports.study import figures, narrative, search_footprint_text
from catransformers.reports.study.parts import Share, carbon_parts, energy_parts, operator_rows
from catransformers.reports.study.static import front_svg
from catransformers.reports.study.summary import Design, StudySummary, Trial, ValueWithError, saving, tolerated_loss
from catransformers.reports.wording import (
    DIMENSIONS,
    Unit,
    amount,
    compact,
    duration,
    number,
    percent,
    plain,
    plural,
    points,
    pruned,
    score,
    share,
    unit_for,
)
from catransformers.units import MM2_PER_M2

markupsafe = lazy("markupsafe")

NONE = "–"


def render_html(summary: StudySummary, *, checkpoints: Mapping[str, str] | None = None, version: str = "") -> str:
    """The whole page.

    Args:
        summary: what to show.
        checkpoints: by design name, where the report keeps its model, relative to the page.
        version: of this package.
    """
    return render("report.html.j2", _context(summary, checkpoints or {}, version))


def _json(text: str) -> Any:
    """JSON that may stand in a script element: no `<`, `>` or `&` is left to end it."""
    return markupsafe.Markup(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))


def _context(summary: StudySummary, checkpoints: Mapping[str, str], version: str) -> dict[str, Any]:
    shown = [*summary.front, summary.base] if summary.front else []
    units = _Units.of(summary, shown)
    finished = bool(summary.trials)
    svg = front_svg(summary) if shown else ""
    drawn = {"front": figures.front_figure(summary), "convergence": figures.convergence_figure(summary)}
    source = "{" + ",".join(f'"{name}":{text}' for name, text in drawn.items()) + "}"
    components = dict.fromkeys(row.component for row in summary.base.estimate.cost.rows)
    operators = max((row.latency_s for d in shown for row in operator_rows(d.estimate)), default=0.0)
    return {
        "name": summary.name,
        "version": version,
        "metric": summary.metric,
        "quantity": summary.objective + (" at p95" if summary.is_high(summary.objective) else ""),
        "unfinished": narrative.unfinished(summary),
        "headline": narrative.headline(summary),
        "accuracies": narrative.accuracies(summary),
        "scenario_sentence": assumptions.sentence(summary.base.estimate.scenario),
        "assumptions": assumptions.assumptions(summary.base.estimate.scenario, summary.base.estimate.model.family),
        "attribution_sentence": narrative.attribution_sentence(summary),
        "steps": _steps(summary),
        "caption": figures.caption(summary),
        "shown": narrative.shown(summary),
        "designs": [_design(d, summary, units, checkpoints, operators) for d in shown],
        "members": summary.front,
        "loss_where": summary.pool,
        "carbon_unit": units.carbon.label,
        "latency_unit": units.latency.label,
        "energy_unit": units.energy.label,
        "objective_unit": units.objective.label,
        "others": [f"{QUANTITIES[name].axis} ({unit.label})" for name, unit in units.others.items()],
        "rule": _rule(summary),
        "carbon_legend": _present([carbon_parts(d.estimate) for d in shown]),
        "energy_legend": _present([energy_parts(d.estimate) for d in shown]),
        "operator_legend": [Share(name, name, 1.0) for name in components],
        "kept": _kept(summary),
        "kept_sentence": _kept_sentence(summary),
        "convergence": _convergence(summary),
        "trials": [_trial(t, units) for t in summary.trials],
        "trials_title": narrative.state(summary),
        "objective_sentence": f"{summary.metric} as high, {summary.minimised} as low as possible",
        "limits": ", ".join(_limits(summary.limits)) or "none",
        "models": f"{summary.models:,} in the space, {plural(len(summary.trials), 'trial')} trained",
        "accelerators": f"{summary.accelerators:,}, each costed for every model",
        "doubts": narrative.doubts(summary),
        "command": summary.provenance.command,
        "seed": summary.config.search.seed,
        "versions": list(summary.provenance.versions.items()),
        "base_sha256": summary.provenance.base_sha256,
        "study_toml": summary.provenance.study_toml,
        "search_sentence": search_footprint_text.sentence(summary.search_footprint),
        "search_rows": search_footprint_text.table(summary.search_footprint),
        "trial_time": duration(sum(trial.seconds for trial in summary.trials if not trial.adopted)),
        "svg": base64.b64encode(svg.encode()).decode("ascii"),
        "figures": _json(source),
        "plotly": plotly_script() if finished else "",
    }


def _present(rows: Sequence[Sequence[Share]]) -> list[Share]:
    """The parts that any row has."""
    return [column[0] for column in zip(*rows, strict=True) if any(part.value > 0 for part in column)]


class _Units:
    """One unit a column, chosen by its greatest number."""

    def __init__(self, carbon: Unit, latency: Unit, energy: Unit, objective: Unit, others: dict[str, Unit]) -> None:
        self.carbon, self.latency, self.energy, self.objective = carbon, latency, energy, objective
        self.others = others

    @classmethod
    def of(cls, summary: StudySummary, shown: Sequence[Design]) -> _Units:
        costs = [d.cost for d in shown] or [summary.base.cost]
        objectives = [t.cost.objective for t in summary.trials if t.cost] + [c.objective for c in costs]
        return cls(
            unit_for("carbon", [c.total_kg for c in costs]),
            unit_for("latency", [c.latency_s for c in costs]),
            unit_for("energy", [c.energy_j for c in costs]),
            unit_for(summary.objective, objectives),
            {name: unit_for(name, [c.minimised[place] for c in costs]) for name, place in summary.unusual.items()},
        )


def _design(
    d: Design, summary: StudySummary, units: _Units, checkpoints: Mapping[str, str], slowest: float
) -> dict[str, Any]:
    """A design as the template shows it."""
    everything = [*summary.front, summary.base]
    cost, estimate = d.cost, d.estimate
    low, _, high = d.range_kg
    machine = cost.accelerator
    title = "Base" if d.is_base else f"Design {d.name}"
    loss = d.test_loss if summary.tested else d.validation_loss
    best = summary.best is not None and summary.best.name == d.name
    carbon, energy = carbon_parts(estimate), energy_parts(estimate)
    relative = "" if d.is_base else percent(-saving(cost.objective, summary.base.cost.objective), sign=True)
    return {
        "name": d.name,
        "title": title,
        "css": "best" if best else "base" if d.is_base else "",
        "open": best or d.is_base,
        "trial": d.trial,
        "checkpoint": checkpoints.get(d.name, ""),
        "saving": f"{relative} {summary.objective}" if relative else "unpruned",
        "stacks": compact(d.dimensions).split(", "),
        "parameters": _millions(estimate.parameters),
        "pruned": pruned(d.dimensions, summary.base.dimensions),
        "accelerator": str(machine),
        **_machine(machine),
        "tops": number(estimate.tops),
        "memory": "no DRAM" if cost.resident else "with DRAM",
        "validation": _score(d.validation),
        "test": _score(d.test),
        "loss": "" if d.is_base else NONE if loss is None else points(loss.value, loss.error),
        "carbon": units.carbon.text(cost.total_kg),
        "range": f"{units.carbon.text(low)} – {units.carbon.text(high)}",
        "embodied_share": share(cost.embodied_kg, cost.total_kg),
        "operational_share": share(cost.operational_kg, cost.total_kg),
        "latency": units.latency.text(cost.latency_s),
        "energy": units.energy.text(cost.energy_j),
        "area": number(cost.area_m2 * MM2_PER_M2),
        "others": [unit.text(cost.minimised[summary.unusual[name]]) for name, unit in units.others.items()],
        "brief": f"{relative + ' ' + summary.objective + ', ' if relative else ''}{amount('carbon', cost.total_kg)}, "
        f"{_score(d.test or d.validation)} % {summary.metric}, {amount('latency', cost.latency_s)}",
        "carbon_parts": _texts(carbon, "carbon", cost.total_kg),
        "carbon_whole": cost.total_kg,
        "carbon_width": _width(cost.total_kg, max(e.cost.total_kg for e in everything)),
        "energy_parts": _texts(energy, "energy", cost.energy_j),
        "energy_whole": cost.energy_j,
        "energy_width": _width(cost.energy_j, max(e.cost.energy_j for e in everything)),
        "operators": [
            {
                "key": row.component,
                "name": row.name,
                "title": f"{row.component} {row.name}: {amount('latency', row.latency_s)}, bound by {row.bound}",
                "width": _width(row.latency_s, slowest),
                "share": share(row.latency_s, cost.latency_s),
            }
            for row in operator_rows(estimate)
        ],
    }


def _texts(parts: Sequence[Share], quantity: str, whole: float) -> list[dict[str, Any]]:
    return [
        {
            "key": part.key,
            "name": part.name,
            "value": part.value,
            "text": amount(quantity, part.value),
            "share": share(part.value, whole),
        }
        for part in parts
    ]


def _machine(machine: Any) -> dict[str, str]:
    """An accelerator in two short lines: arrays, buffers."""
    cores = f"{machine.cores} × " if machine.cores > 1 else ""
    buffers = f"{machine.local_kib:g} KiB at {machine.local_bandwidth}, {machine.global_mib:g} MiB"
    return {"array": f"{cores}{machine.pe_x} × {machine.pe_y} PEs", "buffers": buffers}


def _width(value: float, whole: float) -> str:
    return f"{100 * value / whole:.3f}" if whole > 0 else "0"


def _millions(parameters: int) -> str:
    return f"{number(parameters / 1e6)} M"


def _score(value: ValueWithError | None) -> str:
    return NONE if value is None else score(value.value, value.error)


def _rule(summary: StudySummary) -> str:
    if summary.best is None:
        return "none, since no design has less than the base."
    most = f"{100 * tolerated_loss(summary.base):.2g} points"
    return (
        f"the lowest {summary.objective} at a validation loss of at most {most} (or else the "
        "least loss), among designs that have less than the base. The test set had no say."
    )


def _steps(summary: StudySummary) -> list[dict[str, str]]:
    found = summary.attribution
    lines = narrative.attribution(summary)
    if found is None:
        return []
    machines = [c.accelerator for c in (found.base_fastest, found.base_best, found.pruned_same, found.pruned_best)]
    unit = unit_for(summary.objective, [line.cost for line in lines])
    greatest = max(line.cost for line in lines)
    return [
        {
            "what": line.what,
            "label": line.label,
            "accelerator": ", ".join(_machine(machine).values()),
            "cost": f"{unit.text(line.cost)} {unit.label}",
            "width": _width(line.cost, greatest),
            "colour": colour,
            "against_fastest": percent(-line.against_fastest, sign=True) if position else NONE,
            "against_best": NONE if line.against_best is None else percent(-line.against_best, sign=True),
        }
        for position, (line, machine, colour) in enumerate(
            zip(lines, machines, ("start", "front", "front", "best"), strict=True)
        )
    ]


def _kept(summary: StudySummary) -> list[dict[str, Any]]:
    """Per dimension, those that shrink most first: the share of the base that each front design keeps."""
    rows = []
    for name, mean in summary.kept.items():
        whole = summary.base.dimensions[name]
        fractions = [d.dimensions[name] / whole for d in summary.front]
        cells = [
            {
                "text": f"{100 * fraction:.0f}",
                "shade": f"{70 * max(0.0, fraction - 0.4) / 0.6:.0f}",
                "title": f"{d.dimensions[name]} of {whole}",
            }
            for d, fraction in zip(summary.front, fractions, strict=True)
        ]
        rows.append({"name": DIMENSIONS.get(name, name), "base": whole, "cells": cells, "mean": f"{100 * mean:.0f}"})
    return rows


def _kept_sentence(summary: StudySummary) -> str:
    kept = list(summary.kept.items())
    if not kept:
        return ""
    (first, least), (last, most) = kept[0], kept[-1]
    return (
        f"On average the front keeps {percent(least)} of the {DIMENSIONS.get(first, first)}, the dimension that "
        f"shrinks most, and {percent(most)} of the {DIMENSIONS.get(last, last)}, the one that shrinks least."
    )


def _convergence(summary: StudySummary) -> str:
    if not summary.hypervolume:
        return ""
    last = summary.hypervolume[-1]
    unit = unit_for(summary.objective, [summary.reference[0]])
    enough = 0.99 * last
    near = next((t.number + 1 for t, v in zip(summary.trials, summary.hypervolume, strict=True) if v >= enough), 0)
    costs = ", ".join(
        f"{name} {amount(name, value)}"
        for name, value in zip(summary.config.objectives.quantities, summary.reference, strict=True)
    )
    label = unit.label
    for name, value in zip(summary.further, summary.further_references, strict=True):
        other = unit_for(name, [value])
        last, label = last * other.scale, f"{label} × {other.label}"
    kind = "area" if summary.second is None else "volume"
    level = f"{number(100 * summary.limits.floor)} %" if summary.limits.floor else "0"
    text = (
        f"The hypervolume is the {kind} between the front and the reference point ({summary.metric} {level}, {costs}); "
        f"the last is {number(last * unit.scale)} {label}."
    )
    return f"{text} It was within 1 % of that after {plural(near, 'trial')}." if last > 0 else text


def _trial(t: Trial, units: _Units) -> dict[str, Any]:
    machine = _machine(t.cost.accelerator) if t.cost else {"array": "none", "buffers": t.missed or ""}
    reasons = [
        f"{name.replace('_', ' ')} {plain(value) if value == round(value) else number(value)}"
        for name, value in t.reason.items()
    ]
    if t.chosen is not None:
        reasons.append(f"run on {', '.join(_machine(t.chosen).values())}")
    broken = [f"{name} {amount(name, value)} > {amount(name, bound)}" for name, value, bound in t.broken]
    if broken:
        reasons.append(f"which breaks {'a limit' if len(broken) == 1 else 'limits'}: {', '.join(broken)}")
    return {
        "number": t.number,
        "status": "on the front" if t.on_front else "not trained" if t.untrained else t.status,
        "error": "" if t.untrained else t.error,
        "on_front": t.on_front,
        "feasible": t.cost is not None,
        "origin": t.origin,
        "reason": ", ".join(reasons),
        "stacks": compact(t.dimensions).split(", "),
        "accuracy": _score(t.accuracy),
        "cost": units.objective.text(t.cost.objective) if t.cost else NONE,
        **machine,
        "seconds": number(t.seconds),
    }


def _limits(limits: Limits) -> list[str]:
    texts = [f"{name} ≤ {amount(name, bound)}" for name, bound in limits.of_designs().items()]
    if limits.parameters is not None:
        texts.append(f"parameters ≤ {limits.parameters:,}")
    return texts if limits.accuracy is None else [*texts, f"accuracy of the front ≥ {100 * limits.accuracy:g} %"]
