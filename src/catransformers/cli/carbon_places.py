"""`catransformers carbon regions` and `carbon scenarios`: what is known of places, and the settings to count under."""

from __future__ import annotations

from typing import cast

import click

from catransformers.carbon.grid import GridIntensity, Use
from catransformers.carbon.grid import regions as known
from catransformers.carbon.impacts import IMPACTS, ImpactFactor, impact_factor
from catransformers.carbon.scenario import SCENARIO_NAMES, Scenario
from catransformers.cli.output import json_option, print_json
from catransformers.designs import estimate as design
from catransformers.errors import InputError, Problems, nearest, unknown_name
from catransformers.reports.terminal.screen import console, table

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
    factors = [{name: impact_factor(name, grid) for name in IMPACTS} for grid in found]
    if as_json:
        listed = [
            {
                **grid.to_dict(),
                "other_impacts_per_kwh": {
                    name: None
                    if factor is None
                    else {
                        "value": factor.per_kwh.typical,
                        "low": factor.per_kwh.low,
                        "high": factor.per_kwh.high,
                        "unit": IMPACTS[name].unit,
                        "place": factor.place,
                        "source": factor.source,
                    }
                    for name, factor in others.items()
                },
            }
            for grid, others in zip(found, factors, strict=True)
        ]
        print_json({"for": use, "search": search, "regions": listed})
        return
    screen = console()
    if not found:
        hint = nearest(search, [name for grid in known(use=purpose) for name in (grid.code, grid.name)])
        screen.print(f"No region's code or name holds {search!r}{f': {hint}' if hint else '.'}", markup=False)
        return
    rows = [
        (
            grid.code,
            grid.name,
            str(grid.basis),
            str(grid.year or ""),
            f"{grid.intensity_kg_per_kwh * 1e3:,.4g}",
            _ends(grid),
            *(_factor(others[name]) for name in IMPACTS),
        )
        for grid, others in zip(found, factors, strict=True)
    ]
    titles = ("code", "name", "basis", "year", "g/kWh", "range", "water L", "energy MJ", "minerals kgSb")
    screen.print(table(f"{len(found)} regions, per kWh", titles, rows, left=3))
    if any(factor is not None and factor.stands_in for others in factors for factor in others.values()):
        screen.print("* of the whole country: the state's own is not known")
    for note in dict.fromkeys(f"{grid.code}: {grid.note}" for grid in found if grid.note):
        screen.print(note, style="dim", soft_wrap=True)


def _ends(grid: GridIntensity) -> str:
    return f"{grid.low_kg_per_kwh * 1e3:,.4g} to {grid.high_kg_per_kwh * 1e3:,.4g}"


def _factor(factor: ImpactFactor | None) -> str:
    return "" if factor is None else f"{factor.per_kwh.typical:.4g}{'*' if factor.stands_in else ''}"


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
    read = [problems.of(design.read_scenario, name) for name in names or SCENARIO_NAMES]
    problems.finish()
    found = [scenario for scenario in read if scenario is not None]
    if as_json:
        print_json({"scenarios": [scenario.to_dict() for scenario in found]})
        return
    screen = console()
    columns = [_values(scenario) for scenario in found]
    keys = [key for key in columns[0] if key != "name" and any(column[key] for column in columns)]
    rows = [(key, *(column[key] for column in columns)) for key in keys]
    screen.print(table("Scenarios", ("", *(scenario.name for scenario in found)), rows, left=len(found) + 1))
    screen.print("What each key means, and the reason for every default: docs/carbon.md", style="dim")


def _values(scenario: Scenario) -> dict[str, str]:
    """Every value as text, by key; regions with their intensity and basis."""
    result = {}
    for key, value in scenario.to_dict().items():
        if key in ("use", "fab"):
            grid: GridIntensity = getattr(scenario, key)
            result[key] = f"{grid.code}, {grid.intensity_kg_per_kwh * 1e3:g} g/kWh"
            result[f"{key}_basis"] = str(grid.basis)
        elif isinstance(value, bool):
            result[key] = "yes" if value else "no"
        elif isinstance(value, list):
            result[key] = ", ".join(f"{item:g}" for item in value)
        elif isinstance(value, int | float):
            result[key] = f"{value:,.10g}"
        else:
            result[key] = "" if value is None else str(value)
    return result
