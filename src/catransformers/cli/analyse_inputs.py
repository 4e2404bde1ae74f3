"""What the commands of `analyse` share when they read: the study, limits with their units, quantities, a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from catransformers.carbon.scenario import read_scenario
from catransformers.cli.inputs import levers_are_options
from catransformers.designs.limits import Limits
from catransformers.designs.quantities import OBJECTIVES, QUANTITIES
from catransformers.errors import InputError, Problem, Problems, present, unknown_name
from catransformers.execution.results import StudyResults
from catransformers.reports.analysis.data import study_header
from catransformers.reports.study.derive import read_results
from catransformers.reports.study.other_scenario import results_under
from catransformers.reports.terminal.analysis import limit_text
from catransformers.reports.wording import plural

scenario_option = click.option(
    "--scenario", metavar="NAME|FILE", help="Cost everything under this scenario.  [default: the study's own]"
)
minimise_option = click.option(
    "--minimise",
    metavar="NAME[,NAME]",
    help="What the front minimises beside maximising accuracy.  [default: as the study]",
)


def limit_options(metavar: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--max-latency-ms`, `--max-tops`, …: each in the place of the study's own limit; `none` waives it."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        command = levers_are_options(command)
        for row in reversed(list(QUANTITIES.values())):
            command = click.option(row.option, row.limit, metavar=metavar, help=row.says)(command)
        return command

    return decorate


@dataclass(frozen=True)
class Question:
    """A study and what is asked of it.

    Args:
        results: the study, costed under the scenario that was asked for.
        limits: the limits under which it is asked, at least one.
        labels: what each of them is called.
        minimise: what fronts minimise.
        notes: what the reader should know.
    """

    results: StudyResults
    limits: tuple[Limits, ...]
    labels: tuple[str, ...]
    minimise: tuple[str, ...]
    notes: tuple[str, ...]

    def header(self) -> dict[str, Any]:
        """What stands at the head of the answer as data."""
        return study_header(self.results, self.notes)


def read_question(
    problems: Problems,
    study: Path,
    given: Mapping[str, str | None],
    *,
    scenario: str | None = None,
    minimise: str | None = None,
    several: bool = False,
    on_front: bool = True,
) -> Question:
    """Read the study and what is asked of it; with `several`, one of the limits may have more values than one.

    Args:
        problems: knows the mistakes found so far; all are raised here.
        study: the study's folder.
        given: by name of the limit, what the command line says.
        scenario: name or file of another scenario.
        minimise: names of quantities; None is what the study minimises.
        several: whether a limit may have several values.
        on_front: whether the question is about a front.

    Raises:
        InputError: with every mistake.
    """
    values = problems.of(_values, given, several)
    names = None if minimise is None else problems.of(_quantities, minimise)
    situation = None if scenario is None else problems.of(read_scenario, scenario)
    results = problems.of(read_results, study)
    if results is not None and situation is not None:
        results = problems.of(results_under, results, situation)
    if results is not None and all(trial.accuracy is None for trial in results.trials):
        hint = f"`catransformers status {study}` says more"
        problems.append(Problem(str(study), "no trial has been completed, so nothing can be told", "", hint))
    if on_front and results is not None and minimise is None and len(results.costs.objectives.minimise) > 2:
        what = f"this study minimises {', '.join(results.costs.objectives.minimise)}, and a front here one or two"
        problems.append(Problem("--minimise", what, "one or two of them"))
    problems.finish()
    results, values = present(results), present(values)
    limits, labels = _limits(results.costs.limits, values, results.costs.scenario.period_s)
    return Question(
        results=results,
        limits=limits,
        labels=labels,
        minimise=names or results.costs.objectives.minimise,
        notes=tuple(_notes(results, limits, values)),
    )


def _quantities(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    problems = Problems(
        unknown_name("--minimise", "quantity", name, OBJECTIVES) for name in names if name not in OBJECTIVES
    )
    if not 1 <= len(names) <= 2 or len(set(names)) != len(names):
        what = "a quantity twice" if len(set(names)) != len(names) else f"{len(names)} quantities"
        problems.append(Problem(f"--minimise {text}", what, "one quantity or two, e.g. carbon,latency"))
    problems.finish()
    return tuple(names)


def _values(given: Mapping[str, str | None], several: bool) -> dict[str, list[float | None]]:
    """By quantity the limits that were given, SI; None waives one."""
    found: dict[str, list[float | None]] = {}
    problems = Problems()
    for quantity, row in QUANTITIES.items():
        text = given.get(row.limit)
        if text is None:
            continue
        option = row.option
        parts = [part.strip() for part in text.split(",")]
        numbers = [_number(part) for part in parts]
        least = 1 if row.of_model else 0  # these are counted
        wrong = [p for p, value in zip(parts, numbers, strict=True) if value is not None and not value >= least]
        allowed = f"{'1 or more' if least else 'a number above 0'}, or none"
        if several:
            allowed += "; several are joined by commas, e.g. 20,4,1"
        problems += [Problem(option, f"{part!r} is no limit", allowed) for part in wrong]
        if not several and len(parts) > 1:
            hint = "`catransformers analyse fronts` takes several values of one limit"
            problems.append(Problem(f"{option} {text}", "more than one value", "one number", hint))
        found[quantity] = [None if value is None else value / row.factor for value in dict.fromkeys(numbers)]
    varied = [key for key, values in found.items() if len(values) > 1]
    if several and len(varied) > 1:
        names = " and ".join(QUANTITIES[name].option for name in varied)
        problems.append(Problem(names, "have several values each", "several values of one limit, one of each other"))
    problems.finish()
    return found


def _number(text: str) -> float | None:
    """A number above 0; None for `none`; NaN for what is neither."""
    if text == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) and value > 0 else math.nan


def _limits(
    own: Limits, values: Mapping[str, Sequence[float | None]], period_s: float
) -> tuple[tuple[Limits, ...], tuple[str, ...]]:
    """The study's limits with the given ones in their place, and what each set is called."""

    def changed(quantity: str, value: float | None) -> Limits:
        number: Any = int(value) if QUANTITIES[quantity].of_model and value is not None else value
        return own.but(**{quantity: number})

    def called(quantity: str, value: float | None) -> str:
        due = ""
        if quantity == "latency" and period_s < (math.inf if value is None else value):
            due = f" (due every {limit_text(quantity, period_s)})"
        return f"≤ {limit_text(quantity, value)}{due}" if value is not None else f"no limit on {quantity}{due}"

    for quantity, given in values.items():
        if len(given) == 1:
            own = changed(quantity, given[0])
    varied = next((quantity for quantity, given in values.items() if len(given) > 1), None)
    if varied is not None:
        return (
            tuple(changed(varied, value) for value in values[varied]),
            tuple(called(varied, value) for value in values[varied]),
        )
    return (own,), (", ".join(called(name, given[0]) for name, given in values.items()) or "the study's limits",)


def _notes(results: StudyResults, limits: Sequence[Limits], values: Mapping[str, Sequence[float | None]]) -> list[str]:
    """What limits what is told here."""
    notes = []
    costs, config = results.costs, results.config
    if not results.finished:
        made = f"{len(results.trials)} of {plural(results.planned, 'trial')}"
        notes.append(f"This study is not finished ({made}): what follows may change.")
    if costs.objectives.carbon_quantile == "p95":
        notes.append(
            "Carbon, where it is minimised or limited, is at the 95th percentile of its range, as in the study."
        )
    looser = [
        quantity
        for quantity, given in values.items()
        if (bound := getattr(costs.limits, quantity)) is not None and any(v is None or v > bound for v in given)
    ]
    for quantity in looser:
        own = getattr(costs.limits, quantity)
        notes.append(
            f"The search looked for models under {QUANTITIES[quantity].limit} {limit_text(quantity, own)}: "
            "under a looser limit it might have trained others."
        )
    period = costs.scenario.period_s
    if math.isfinite(period) and any(one.latency is None or one.latency > period for one in limits):
        notes.append(f"An inference is due every {limit_text('latency', period)}: no design may take longer.")
    most, tops = config.hardware.max_tops, costs.silicon.tops
    if most is not None and tops is not None and any(v is not None and v > most for v in values.get("tops", ())):
        notes.append(
            f"The study's accelerators have at most {tops.max():.4g} TOPS (hardware.max_tops = {most:g}): a higher "
            "limit adds none."
        )
    return notes


def read_picture(place: Path | None) -> Literal["svg", "png"] | None:
    """What kind of picture a name asks for; None without one.

    Raises:
        InputError: for other kinds.
    """
    if place is None:
        return None
    if place.suffix not in (".svg", ".png"):
        raise InputError(Problem("--figure", f"{str(place)!r} is no picture", "a name that ends in .svg or .png"))
    return "svg" if place.suffix == ".svg" else "png"
