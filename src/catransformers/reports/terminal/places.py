"""Grids and scenarios as tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from catransformers.carbon.grid import GridIntensity
from catransformers.carbon.impacts import IMPACTS, ImpactFactor, impact_factor
from catransformers.carbon.scenario import Scenario
from catransformers.reports.terminal.screen import console, table


def show_grids(found: Sequence[GridIntensity]) -> None:
    """Regions, a row each: intensity with range, basis and year; water, energy and minerals where known."""
    factors = [{name: impact_factor(name, grid) for name in IMPACTS} for grid in found]
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
    screen = console()
    screen.print(table(f"{len(found)} regions, per kWh", titles, rows, left=3))
    if any(factor is not None and factor.stands_in for others in factors for factor in others.values()):
        screen.print("* of the whole country: the state's own is not known")
    for note in dict.fromkeys(f"{grid.code}: {grid.note}" for grid in found if grid.note):
        screen.print(note, style="dim", soft_wrap=True)


def show_scenarios(found: Sequence[Scenario]) -> None:
    """Scenarios, a column each, with every value that any of them has."""
    columns = [_values(scenario) for scenario in found]
    keys = [key for key in columns[0] if key != "name" and any(column[key] for column in columns)]
    rows = [(key, *(column[key] for column in columns)) for key in keys]
    screen = console()
    screen.print(table("Scenarios", ("", *(scenario.name for scenario in found)), rows, left=len(found) + 1))
    screen.print("What each key means, and the reason for every default: docs/carbon.md", style="dim")


def _ends(grid: GridIntensity) -> str:
    return f"{grid.low_kg_per_kwh * 1e3:,.4g} to {grid.high_kg_per_kwh * 1e3:,.4g}"


def _factor(factor: ImpactFactor | None) -> str:
    return "" if factor is None else f"{factor.per_kwh.typical:.4g}{'*' if factor.stands_in else ''}"


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
