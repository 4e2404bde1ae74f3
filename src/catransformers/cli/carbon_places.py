"""`catransformers carbon regions` and `carbon scenarios`: what is known of places, and the settings to count under."""

from __future__ import annotations

from typing import cast

import click

from catransformers.carbon.grid import Use
from catransformers.carbon.grid import regions as known
from catransformers.carbon.impacts import grid_object
from catransformers.carbon.scenario import SCENARIO_NAMES, read_scenario
from catransformers.cli.output import json_option, print_json
from catransformers.errors import InputError, Problems, nearest, unknown_name
from catransformers.reports.terminal.places import show_grids, show_scenarios
from catransformers.reports.terminal.screen import console

USES = ("use", "fab")


@click.command()
@click.option("--search", default="", metavar="TEXT", help="Only codes and names that hold this.")
@click.option("--for", "use", default="use", show_default=True, metavar="use|fab", help="Where it runs, or is made.")
@json_option
def regions(search: str, use: str, as_json: bool) -> None:
    """The grids that are known: g/kWh with range, basis, year and source; water, energy and minerals where known.

    \b
    Example:
      catransformers carbon regions --search cal
    """
    if use not in USES:
        raise InputError(unknown_name("--for", "purpose", use, USES))
    purpose = cast("Use", use)
    found = known(search, use=purpose)
    if as_json:
        print_json({"for": use, "search": search, "regions": [grid_object(grid) for grid in found]})
    elif found:
        show_grids(found)
    else:
        hint = nearest(search, [name for grid in known(use=purpose) for name in (grid.code, grid.name)])
        console().print(f"No region's code or name holds {search!r}{f': {hint}' if hint else '.'}", markup=False)


@click.command()
@click.argument("names", metavar="[NAME|FILE]…", nargs=-1)
@json_option
def scenarios(names: tuple[str, ...], as_json: bool) -> None:
    """The named scenarios with every value, or those given: names, or TOML files (which this checks).

    \b
    Examples:
      catransformers carbon scenarios
      catransformers carbon scenarios paper paper-code
    """
    problems = Problems()
    read = [problems.of(read_scenario, name) for name in names or SCENARIO_NAMES]
    problems.finish()
    found = [scenario for scenario in read if scenario is not None]
    if as_json:
        print_json({"scenarios": [scenario.to_dict() for scenario in found]})
    else:
        show_scenarios(found)
