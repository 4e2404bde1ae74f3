"""`catransformers analyse`: the paper's studies, answered by a study's trained models; nothing is trained."""

from __future__ import annotations

from pathlib import Path

import click

from catransformers.cli.analyse_inputs import (
    Question,
    limit_options,
    minimise_option,
    read_picture,
    read_question,
    scenario_option,
)
from catransformers.cli.groups import VerbGroup
from catransformers.cli.output import json_option, print_json
from catransformers.config.sections import PRESET_LATENCY_MS
from catransformers.errors import InputError, Problem, Problems, unknown_name, writing
from catransformers.execution.studies.base_model import metric_of
from catransformers.files import write_whole
from catransformers.reports.analysis import data as objects
from catransformers.reports.analysis.figure import fronts_figure
from catransformers.reports.terminal.analysis import (
    need_designs,
    show_fronts,
    show_header,
    show_iso,
    show_lines,
    show_pruning,
    show_shares,
)
from catransformers.search import analysis
from catransformers.search.analysis import MODES, LimitedFronts, fronts_under
from catransformers.search.fronts import FrontMember
from catransformers.units import MILLI

study_argument = click.argument("study", metavar="DIR", type=click.Path(path_type=Path))
all_option = click.option("--all", "everything", is_flag=True, help="Show every design of the front.")


@click.group(cls=VerbGroup, no_args_is_help=True)
def analyse() -> None:
    """The paper's analyses, answered by the trained models of the study in DIR; nothing is trained.

    A study knows the accuracies of its trained models, and what each costs on every accelerator: so fronts under other
    limits, designs of equal accuracy, shares of carbon and what the front prunes follow in seconds.
    """


@analyse.command(short_help="The front under several values of one limit.")
@study_argument
@click.argument("rest", nargs=-1, metavar="")
@limit_options("V[,V…]")
@minimise_option
@scenario_option
@click.option("--figure", type=click.Path(path_type=Path), help="Draw the fronts into this file, svg or png.")
@all_option
@json_option
def fronts(
    study: Path,
    rest: tuple[str, ...],
    minimise: str | None,
    scenario: str | None,
    figure: Path | None,
    everything: bool,
    as_json: bool,
    **limits: str | None,
) -> None:
    """The front under several values of one limit: how large, its ends, its hypervolume, which models it leaves out.

    A limit stands in the place of the study's own; the study's others hold. `none` waives one. Hypervolumes are
    measured against one reference point.

    \b
    Examples:
      catransformers analyse fronts runs/my-study --max-tops 20,4,1
      catransformers analyse fronts runs/my-study --max-latency-ms 10,50,100 --figure fronts.svg
      catransformers analyse fronts runs/my-study --minimise carbon,latency --max-area-mm2 1,2 --max-latency-ms none
    """
    problems = Problems()
    if rest:
        hint = "several values of a limit are joined by commas: --max-tops 20,4,1"
        problems.append(Problem(" ".join(rest), "stands alone", hint=hint))
    kind = problems.of(read_picture, figure)
    asked = read_question(problems, study, limits, scenario=scenario, minimise=minimise, several=True)
    found = _fronts(asked)
    need_designs(found, str(study))
    if figure is not None and kind is not None:
        picture = fronts_figure(found, asked.labels, kind, metric_of(asked.results.config))
        with writing(figure):
            write_whole(figure, picture)
    if as_json:
        drawn = {} if figure is None else {"figure": str(figure)}
        print_json(asked.header() | objects.fronts_object(found, asked.labels) | drawn)
        return
    show_header(asked.results, asked.notes, f"accuracy against {' and '.join(found.minimise)}")
    show_fronts(found, asked.labels, everything=everything)
    if figure is not None:
        show_lines([f"Picture: {figure}"])


@analyse.command("iso-accuracy", short_help="The best design for each mode at one accuracy.")
@study_argument
@click.option("--accuracy", type=float, metavar="PERCENT", help="The middle of the band.  [default: the base model's]")
@click.option("--tolerance", type=float, default=1.0, show_default=True, metavar="POINTS", help="Half its width.")
@click.option(
    "--modes", default="carbon,latency,energy,all,area,tcdp", show_default=True, metavar="NAME,…", help="What for."
)
@limit_options("V")
@scenario_option
@json_option
def iso_accuracy(
    study: Path,
    accuracy: float | None,
    tolerance: float,
    modes: str,
    scenario: str | None,
    as_json: bool,
    **limits: str | None,
) -> None:
    """The best design for each mode at one accuracy, beside the one for carbon: what the choice of the aim costs.

    Modes carbon, energy and area keep latency within the paper's 50 ms, if neither the study nor --max-latency-ms
    limits it. `all` is carbon and latency together: the knee of the designs that no other beats in both.

    \b
    Examples:
      catransformers analyse iso-accuracy runs/my-study
      catransformers analyse iso-accuracy runs/my-study --accuracy 90 --tolerance 0.5 --modes carbon,latency
    """
    problems = Problems()
    chosen = problems.of(_modes, modes)
    problems.of(_band, accuracy, tolerance)
    asked = read_question(problems, study, limits, scenario=scenario, on_front=False)
    results = asked.results
    base = results.evaluation(None, "validation")
    if accuracy is None and base is None:
        raise InputError(Problem("--accuracy", "the base model's accuracy is not known yet", "a percentage"))
    middle = accuracy / 100 if accuracy is not None else base.accuracy if base is not None else 0.0
    told = limits["max_latency_ms"] is not None or "latency" in results.config.objectives.limits
    try:
        found = analysis.iso_accuracy(
            results.costs,
            results.trials,
            middle,
            tolerance / 100,
            chosen or tuple(analysis.MODES),
            limits=asked.limits[0],
            preset_latency_s=None if told else PRESET_LATENCY_MS * MILLI,
        )
    except InputError as error:  # the library's words, with the option's name
        raise InputError([Problem("--accuracy", p.what, p.allowed, p.hint) for p in error.problems]) from None
    if as_json:
        print_json(asked.header() | objects.iso_object(found))
        return
    of_base = ", the base's" if accuracy is None else ""
    show_header(results, asked.notes, f"{100 * middle:.4g} ± {tolerance:g} % accuracy{of_base}")
    show_iso(found)


@analyse.command(short_help="Embodied and operational carbon along the front.")
@study_argument
@limit_options("V")
@minimise_option
@scenario_option
@all_option
@json_option
def shares(
    study: Path,
    minimise: str | None,
    scenario: str | None,
    everything: bool,
    as_json: bool,
    **limits: str | None,
) -> None:
    """Embodied and operational carbon along the front, by falling accuracy, and of the base.

    \b
    Examples:
      catransformers analyse shares runs/my-study
      catransformers analyse shares runs/my-study --scenario paper
    """
    asked = read_question(Problems(), study, limits, scenario=scenario, minimise=minimise)
    found = analysis.shares(_members(asked, study))
    base = analysis.asked(asked.results.costs, asked.minimise, asked.limits[0]).base_best
    known = asked.results.evaluation(None, "validation")
    base_accuracy = None if known is None else known.accuracy
    if as_json:
        print_json(asked.header() | objects.shares_object(found, base, base_accuracy))
        return
    show_header(asked.results, asked.notes, f"the front of accuracy against {' and '.join(asked.minimise)}")
    show_shares(found, base, base_accuracy, everything=everything)


@analyse.command(short_help="Which dimensions the front prunes first.")
@study_argument
@click.option("--bands", type=click.IntRange(1, 10), default=3, show_default=True, help="Ranges of accuracy.")
@limit_options("V")
@minimise_option
@scenario_option
@json_option
def pruned(
    study: Path, bands: int, minimise: str | None, scenario: str | None, as_json: bool, **limits: str | None
) -> None:
    """Which dimensions the front prunes first, and what it keeps of each, in bands of accuracy from the top.

    Beside it what all trained models keep on average: where the front keeps less, pruning that dimension was worth it.

    \b
    Examples:
      catransformers analyse pruned runs/my-study
      catransformers analyse pruned runs/my-study --bands 4 --minimise latency
    """
    asked = read_question(Problems(), study, limits, scenario=scenario, minimise=minimise)
    results = asked.results
    found = analysis.pruning(results.costs.space, _members(asked, study), results.trials, bands)
    if as_json:
        print_json(asked.header() | objects.pruning_object(found))
        return
    show_header(asked.results, asked.notes, f"the front of accuracy against {' and '.join(asked.minimise)}")
    show_pruning(found)


def _fronts(asked: Question) -> LimitedFronts:
    return fronts_under(asked.results.costs, asked.results.trials, asked.limits, asked.minimise)


def _members(asked: Question, study: Path) -> tuple[FrontMember, ...]:
    """The front under the first limits; there is one, or an error that says why not."""
    found = _fronts(asked)
    need_designs(found, str(study))
    return found.rows[0].members


def _modes(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    problems = Problems(unknown_name("--modes", "mode", name, MODES) for name in names if name not in MODES)
    if not names:
        problems.append(Problem("--modes", "no mode", ", ".join(MODES)))
    problems.finish()
    return names


def _band(accuracy: float | None, tolerance: float) -> None:
    problems = Problems()
    if accuracy is not None and not 0 <= accuracy <= 100:
        problems.append(Problem("--accuracy", f"{accuracy:g} is no accuracy", "0 to 100 (per cent)"))
    if not 0 <= tolerance <= 100:
        problems.append(Problem("--tolerance", f"{tolerance:g} is no tolerance", "0 to 100 (points)"))
    problems.finish()
