"""`catransformers carbon sensitivity`: how a finished study's front moves with what its scenario assumes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from catransformers.cli.output import json_option, print_json
from catransformers.designs import estimate as design
from catransformers.errors import InputError, Problem, Problems
from catransformers.execution.studies.base_model import metric_of
from catransformers.files import write_whole
from catransformers.reports.carbon import sensitivity as moves
from catransformers.reports.carbon.sensitivity import MovedFront, Sensitivity
from catransformers.reports.carbon.sensitivity_figure import sensitivity_figure
from catransformers.reports.study.derive import read_results
from catransformers.reports.terminal.screen import carbon, console, table


@click.command()
@click.argument("study", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--scenario", metavar="NAME|FILE", help="Start from this scenario.  [default: the study's own]")
@click.option(
    "--figure",
    type=click.Path(path_type=Path),
    help="Where the picture goes, svg or png.  [default: DIR/sensitivity.svg]",
)
@json_option
def sensitivity(study: Path, scenario: str | None, figure: Path | None, as_json: bool) -> None:
    """How the front of the study in DIR moves with grid, fab, lifetime, rate, yield, DRAM and package.

    One assumption is changed at a time, and the trained models choose their accelerators anew; nothing is trained. Also
    how sure each design is of being on the front, and which uncertain factor matters most. Prints a table, draws a
    picture.

    \b
    Example:
      catransformers carbon sensitivity runs/demo
    """

    problems = Problems()
    start = None if scenario is None else problems.of(design.read_scenario, scenario)
    place = figure or study / "sensitivity.svg"
    kind = problems.of(_kind, place)
    results = problems.of(read_results, study)
    problems.finish()
    assert results is not None and kind is not None  # noqa: S101 - finish() has raised otherwise
    found = moves.sensitivity(results, start)
    try:
        write_whole(place, sensitivity_figure(found, kind, metric_of(results.config)))
    except OSError as error:
        raise InputError(Problem(str(place), f"cannot be written: {error.strerror or error}")) from error
    if as_json:
        print_json({**found.to_dict(), "figure": str(place)})
    else:
        _show(found, place)


def _kind(place: Path) -> Literal["svg", "png"]:
    if place.suffix == ".svg":
        return "svg"
    if place.suffix == ".png":
        return "png"
    raise InputError(Problem("--figure", f"{str(place)!r} is no picture", "a name that ends in .svg or .png"))


def _show(found: Sensitivity, place: Path) -> None:
    screen = console()
    screen.print(f"[bold]{found.study}[/]", end=" ")
    screen.print(f"under {found.scenario.describe()}\n", markup=False)
    front = [
        (
            f"trial {member.trial}",
            f"{100 * member.accuracy:.1f}",
            carbon(member.total_kg),
            f"{found.probability[member.trial]:.0%}",
            str(found.costs.table[member.accelerator]),
        )
        for member in found.own.members
    ]
    titles = ("model", "accuracy %", "carbon", "on the front in", "accelerator")
    screen.print(table("The front, and in how many draws of the carbon factors each design is on it", titles, front))
    screen.print(
        table(
            "How it moves",
            (
                "assumption",
                "value",
                "designs",
                "stay",
                "come",
                "leave",
                "moved",
                "least carbon",
                "most accurate",
                "regret",
            ),
            [_row(row, repeated) for row, repeated in zip(found.rows, _repeats(found), strict=True)],
            left=2,
        )
    )
    screen.print(
        "moved: stays, on another accelerator; least carbon, most accurate: carbon of the front's two ends; regret: "
        "what the study's own designs would emit too much, at most.",
        style="dim",
    )
    total = found.middle.total_kg
    swings = [
        (name, carbon(low), carbon(high), f"{(high - low) / total:+.1%}")
        for name, (low, high) in found.swings.items()
        if high != low
    ]
    title = f"Which factor matters: trial {found.middle.trial}, {carbon(total)}, with one factor at low or high"
    screen.print(table(title, ("factor", "low", "high", "swing"), swings))
    screen.print(f"Picture: {place}", markup=False, soft_wrap=True)


def _repeats(found: Sensitivity) -> list[bool]:
    """Whether a row's assumption is that of the row above, and need not be named again."""
    names = [row.variation.factor for row in found.rows]
    return [i > 0 and names[i] == names[i - 1] for i in range(len(names))]


def _row(row: MovedFront, repeated: bool) -> tuple[str, ...]:
    name = "" if repeated else row.variation.factor
    if not row.members:
        return (name, row.variation.value, "none keeps the limits", "", "", "", "", "", "", "")
    return (
        name,
        row.variation.value,
        str(len(row.members)),
        str(len(row.stay)),
        str(len(row.come)),
        str(len(row.leave)),
        str(row.moved),
        carbon(row.members[0].total_kg),
        carbon(row.members[-1].total_kg),
        "limit broken" if row.regret is None else f"{row.regret:.1%}",
    )
