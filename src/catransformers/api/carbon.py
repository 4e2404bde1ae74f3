"""`ct.carbon.die()`, `.memory()` and `.footprint()`: embodied and operational carbon of parts and of whole devices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

from catransformers.carbon.footprint import Footprint
from catransformers.carbon.footprint import footprint as device_footprint
from catransformers.carbon.making import DieFootprint, MemoryFootprint, assess_die, assess_memory
from catransformers.carbon.parts import MEMORY_CLASSES, MemoryClass
from catransformers.carbon.scenario import Scenario, read_scenario
from catransformers.errors import InputError, Problem, Problems, unknown_name
from catransformers.units import MM2_PER_M2

#: A whole wafer of 300 mm is 70,686 mm².
MAX_AREA_MM2 = 100_000.0


def die(
    area_mm2: float, scenario: str | Scenario | Mapping[str, object] = "default", **changes: object
) -> DieFootprint:
    """What making dies emits: fab energy, process gases, materials and the dies that fail.

    Args:
        area_mm2: of one die, mm².
        scenario: where and how it is made: a scenario, its name, the path of a TOML file, or keys that change one.
        changes: keys of the scenario to change: `node_nm=7, fab_region="KR"`.

    Returns:
        kgCO2e with its split and its range (`.total_kg`, `.split_kg`, `.range_kg`).

    Raises:
        InputError: for an area or keys that cannot be, all at once.

    Reference: Gupta et al., "ACT", ISCA 2022.
    """
    problems = Problems()
    problems.of(_number, "area_mm2", area_mm2, MAX_AREA_MM2)
    situation = problems.of(_scenario, scenario, changes)
    problems.finish()
    return assess_die(area_mm2, cast(Scenario, situation))


def memory(kind: str, gb: float, memory_class: str = "dram", *, yield_fraction: float | None = None) -> MemoryFootprint:
    """What making memory or storage emits: GB × (kg per GB) ÷ yield.

    Args:
        kind: e.g. `lpddr4`.
        gb: how much.
        memory_class: `dram`, `ssd` or `hdd`.
        yield_fraction: in (0, 1]; by default the class's own.

    Raises:
        InputError: for a kind, an amount or a yield that cannot be.
    """
    problems = Problems()
    problems.of(_number, "gb", gb, 1e9)
    if memory_class not in MEMORY_CLASSES:
        problems.append(unknown_name("memory_class", "class", memory_class, MEMORY_CLASSES))
    if yield_fraction is not None:
        problems.of(_number, "yield_fraction", yield_fraction, 1.0)
    problems.finish()
    return assess_memory(kind, gb, cast(MemoryClass, memory_class), yield_fraction)


def footprint(
    area_mm2: float,
    energy_j: float,
    *,
    dram: bool = False,
    scenario: str | Scenario | Mapping[str, object] = "default",
    **changes: object,
) -> Footprint:
    """The carbon of one device over its life, made and used.

    Args:
        area_mm2: of its die, mm².
        energy_j: of one inference, J, its wait included.
        dram: whether it has a DRAM chip.
        scenario: where and how long it is made and used.
        changes: keys of the scenario to change: `use_region="FR", lifetime_years=5`.

    Returns:
        kgCO2e by part (`.die_kg`, `.dram_kg`, `.package_kg`, `.operational_kg`, `.total_kg`).

    Raises:
        InputError: for numbers and keys that cannot be, all at once.
    """
    problems = Problems()
    problems.of(_number, "area_mm2", area_mm2, MAX_AREA_MM2)
    problems.of(_number, "energy_j", energy_j, math.inf)
    situation = problems.of(_scenario, scenario, changes)
    problems.finish()
    return device_footprint(area_mm2 / MM2_PER_M2, energy_j, dram, cast(Scenario, situation))


def _number(where: str, value: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most or not value < math.inf:
        allowed = "a number above 0" if most == math.inf else f"above 0, at most {most:,g}"
        raise InputError(Problem(where, f"{value!r} is out of range", allowed))
    return float(value)


def _scenario(given: str | Scenario | Mapping[str, object], changes: Mapping[str, object]) -> Scenario:
    if isinstance(given, Scenario):
        if changes:
            raise InputError(Problem("scenario", "is a finished one, so keys cannot be changed", "its name, and keys"))
        return given
    if not changes:
        return read_scenario(given)
    return read_scenario({"base": given, **changes} if isinstance(given, str) else {**given, **changes})
