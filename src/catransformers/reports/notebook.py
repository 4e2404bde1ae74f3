"""Notebook views (HTML): what Jupyter shows of an estimate, a sweep, an explanation, a schedule and a study.

Each function is named as the class that it draws; `display.Displayed` finds it by that name. All text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from catransformers.reports.assumptions import sentence
from catransformers.reports.estimate.explanation import conclusions, findings
from catransformers.reports.schedule import report
from catransformers.reports.wording import amount, compact, score

if TYPE_CHECKING:
    from catransformers.api.models import ModelTable as Models
    from catransformers.api.study import Study as AnyStudy
    from catransformers.designs.estimate import Estimate as AnyEstimate
    from catransformers.designs.explain import Explanation as AnyExplanation
    from catransformers.designs.sweep import Sweep as AnySweep
    from catransformers.intensity.scheduling import Schedule as AnySchedule

MOST_ROWS = 20


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], notes: Sequence[str] = ()) -> str:
    """A table with a title above it and notes below, as an HTML fragment.

    Args:
        title: above; may be empty.
        columns: heads.
        rows: cells, as many as columns.
        notes: paragraphs below.
    """
    head = "".join(f"<th>{escape(str(column))}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    caption = f"<p><b>{escape(title)}</b></p>" if title else ""
    below = "".join(f"<p><small>{escape(note)}</small></p>" for note in notes)
    return f"<div>{caption}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}</div>"


def Estimate(found: AnyEstimate) -> str:  # noqa: N802 - named as the class that it draws
    """Latency, energy, area and carbon by part."""
    low, _, high = found.range_kg
    carbon = amount("carbon", found.total_kg)
    rows = [
        ("latency", amount("latency", found.latency_s)),
        ("energy", amount("energy", found.energy_j)),
        ("die", amount("area", found.cost.area_m2)),
        ("carbon", f"{carbon} ({amount('carbon', low)} to {amount('carbon', high)}, p5 to p95)"),
        ("of it made", amount("carbon", float(found.footprint.embodied_kg))),
        ("of it used", amount("carbon", float(found.footprint.operational_kg))),
    ]
    return table(f"{found.accelerator} ({found.technology.name})", ("", ""), rows, [sentence(found.scenario)])


def Sweep(found: AnySweep) -> str:  # noqa: N802
    """The front by rising carbon, and its knee."""
    rows = []
    for row in found.front[:MOST_ROWS]:
        values = [amount(name, float(found.quantity(name)[row])) for name in found.objectives]
        rows.append((str(found.table[int(row)]), *values, "knee" if row == found.knee else ""))
    more = len(found.front) - len(rows)
    notes = [f"… and {more} more"] if more > 0 else []
    title = f"{len(found.front)} of {len(found.table):,} accelerators are on the front"
    return table(title, ("accelerator", *found.objectives, ""), rows, [*notes, sentence(found.scenario)])


def Explanation(found: AnyExplanation) -> str:  # noqa: N802
    """What binds the design, and what would help it most."""
    words = [*findings(found), *conclusions(found).values()]
    return "<div>" + "".join(f"<p>{escape(text)}</p>" for text in words) + "</div>"


def Schedule(found: AnySchedule) -> str:  # noqa: N802
    """When to run, against starting at once and the worst start."""
    rows = report.rows(found, weighed=True)
    return table("", report.columns(weighed=True), rows, report.sentences(found, datetime.now(UTC), weighed=True))


def Study(study: AnyStudy) -> str:  # noqa: N802
    """The front of the study, and how far it is."""
    names = study.results.costs.objectives.minimise
    rows = [
        (
            member.trial.number,
            score(member.trial.accuracy or 0.0, member.trial.accuracy_se),
            *(amount(name, value) for name, value in zip(names, member.design.minimised, strict=True)),
            compact(member.trial.dimensions),
            str(member.design.accelerator),
        )
        for member in study.front[:MOST_ROWS]
    ]
    title = f"{study.name}: {len(study.front)} designs on the front, {len(study.trials)} trials"
    columns = ("trial", "accuracy", *names, "model", "accelerator")
    return table(title, columns, rows, [sentence(study.results.costs.scenario)])


def ModelTable(models: Models) -> str:  # noqa: N802
    """The named models."""
    rows = [(m.name, m.family, f"{m.parameters:,}", "yes" if m.shipped else "") for m in models]
    return table("", ("name", "family", "parameters", "weights shipped"), rows)
