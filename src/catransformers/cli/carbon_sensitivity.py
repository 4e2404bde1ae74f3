"""`catransformers carbon sensitivity`: how a finished study's front moves with what its scenario assumes."""

from __future__ import annotations

from pathlib import Path

import click

from catransformers.carbon.scenario import read_scenario
from catransformers.cli.analyse_inputs import read_picture
from catransformers.cli.output import json_option, print_json
from catransformers.errors import Problems, present, writing
from catransformers.execution.studies.base_model import metric_of
from catransformers.files import write_whole
from catransformers.reports.carbon import sensitivity as moves
from catransformers.reports.carbon.sensitivity_figure import sensitivity_figure
from catransformers.reports.study.derive import read_results
from catransformers.reports.terminal.sensitivity import show_sensitivity


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
    start = None if scenario is None else problems.of(read_scenario, scenario)
    place = figure or study / "sensitivity.svg"
    kind = problems.of(read_picture, place)
    results = problems.of(read_results, study)
    problems.finish()
    results = present(results)
    found = moves.sensitivity(results, start)
    with writing(place):
        write_whole(place, sensitivity_figure(found, present(kind), metric_of(results.config)))
    if as_json:
        print_json({**found.to_dict(), "figure": str(place)})
    else:
        show_sensitivity(found, place)
