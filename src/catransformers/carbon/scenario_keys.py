"""The keys of a scenario, one by one: what each means, its unit, its default, and what it allows.

The same keys are written in the shipped scenarios, in a scenario file and in a study's `[scenario]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from catransformers.carbon.embodied import ABATEMENTS, table_nodes
from catransformers.carbon.grid import MAX_G_PER_KWH, Basis
from catransformers.carbon.parts import PACKAGES, default_memory_yield, memory_kinds
from catransformers.carbon.yields import YieldModel
from catransformers.errors import InputError, Problem, nearest, unknown_name
from catransformers.units import as_float

DramPolicy = Literal["when-needed", "always", "never"]
MAX_CHIPLETS = 64
MAX_TABLE_YEARS = 200
DRAM_POLICIES: tuple[DramPolicy, ...] = ("when-needed", "always", "never")

Reader = Callable[[object, str], object]


@dataclass(frozen=True, slots=True)
class Key:
    """One key: `read(value, where)` checks and converts; `default` stands where a scenario leaves it out."""

    meaning: str
    read: Reader
    default: object = None


def number_reader(low: float, high: float = math.inf, *, above: bool = False) -> Reader:
    """Reads a finite number ≥ low (> low with `above`) and ≤ high."""
    allowed = f"a number {'>' if above else '≥'} {low:g}" + (f" and ≤ {high:g}" if math.isfinite(high) else "")

    def read(value: object, where: str) -> object:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(Problem(where, f"{value!r} is not a number", allowed=allowed))
        number = as_float(value)
        if not math.isfinite(number) or number < low or (above and number == low) or number > high:
            raise InputError(Problem(where, f"{value!r} is out of range", allowed=allowed))
        return number

    return read


def _whole(low: int, high: int) -> Reader:
    """Reads a whole number from low to high."""

    def read(value: object, where: str) -> object:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise InputError(Problem(where, f"{value!r} is out of range", allowed=f"a whole number, {low} to {high}"))
        return value

    return read


def _choice(options: tuple[object, ...]) -> Reader:
    def read(value: object, where: str) -> object:
        if isinstance(value, bool) or value not in options:
            hint = nearest(value, [str(option) for option in options]) if isinstance(value, str) else ""
            allowed = ", ".join(map(str, options))
            raise InputError(Problem(where, f"{value!r} is not one of them", allowed=allowed, hint=hint))
        return value

    return read


def _flag(value: object, where: str) -> object:
    if not isinstance(value, bool):
        raise InputError(Problem(where, f"{value!r} is neither true nor false", allowed="true, false"))
    return value


def _text(value: object, where: str) -> object:
    if not isinstance(value, str) or not value.strip():
        raise InputError(Problem(where, f"{value!r} is not a text"))
    return value


def region(value: object, where: str) -> object:
    """Reads what may name a region: a text, or a number of g/kWh."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        allowed = "a name, a code, or a number of g/kWh"
        raise InputError(Problem(where, f"{value!r} is not a region", allowed=allowed))
    return value


def _yield(value: object, where: str) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        allowed = "a number in (0, 1] or the name of a model"
        raise InputError(Problem(where, f"{value!r} is not a yield", allowed=allowed))
    return YieldModel.parse(value, where=where)


def _dram_kind(value: object, where: str) -> object:
    kinds = memory_kinds("dram")
    if not isinstance(value, str) or value not in kinds:
        raise InputError(unknown_name(where, "kind of DRAM", str(value), kinds))
    return value


def _basis(value: object, where: str) -> object:
    return Basis.parse(str(_text(value, where)), where=where)


def _by_year(value: object, where: str) -> object:
    """A list of intensities in g/kWh, or a text with them between commas, as a tuple."""
    allowed = 'numbers in g/kWh, one a year: [224, 210, 195] or "224, 210, 195"'
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not given or len(given) > MAX_TABLE_YEARS:
        raise InputError(Problem(where, f"{value!r} is not a table of years", allowed=allowed))
    read = number_reader(0, MAX_G_PER_KWH)
    result, problems = [], []
    for year, item in enumerate(given, start=1):
        try:
            number = float(item) if isinstance(item, str) else item
            result.append(read(number, f"{where}, year {year}"))
        except ValueError:
            problems.append(Problem(f"{where}, year {year}", f"{item!r} is not a number", allowed=allowed))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return tuple(result)


_FINEST, _COARSEST = min(table_nodes()), max(table_nodes())

KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "name": Key("what to call the scenario", _text),
        "use_region": Key("where the device runs: name, code, or g/kWh", region),
        "use_intensity_g_per_kwh": Key(
            "the grid of use as a number, instead of use_region", number_reader(0, MAX_G_PER_KWH)
        ),
        "use_intensity_change_per_year": Key(
            "fraction by which that grid changes every year (−0.05: 5 % less)", number_reader(-1, 1, above=True), 0.0
        ),
        "use_intensity_g_per_kwh_by_year": Key(
            "that grid in the first year of use, the second, …; the last value holds on", _by_year
        ),
        "use_basis": Key(
            "what the intensity of use counts: words of lifecycle or direct, average or marginal, …", _basis
        ),
        "fab_region": Key("where the die is made: name, code, or g/kWh", region),
        "fab_intensity_g_per_kwh": Key(
            "the grid of the fab as a number, instead of fab_region", number_reader(0, MAX_G_PER_KWH)
        ),
        "fab_basis": Key("what the intensity of the fab counts", _basis),
        "allow_mixed_basis": Key("let use and fab differ in what their intensity counts", _flag, False),
        "node_nm": Key("process node", number_reader(_FINEST, _COARSEST)),
        "abatement": Key("percentage of process gases abated", _choice(ABATEMENTS)),
        "yield": Key("a number, or poisson, murphy, seeds, negative-binomial", _yield),
        "defect_density_per_cm2": Key("defects per cm², instead of the node's", number_reader(0, 100)),
        "wafer_diameter_mm": Key("count the edge waste of such a wafer", number_reader(0, 1000, above=True)),
        "chiplets": Key("equal dies that a design is split into", _whole(1, MAX_CHIPLETS), 1),
        "chiplet_area_overhead": Key("fraction of area that splitting adds", number_reader(0, 1), 0.0),
        "bonding_yield": Key("share of dies that are bonded well", number_reader(0.01, 1), 1.0),
        "lifetime_years": Key("years of 365 days in use", number_reader(0, 1e5, above=True)),
        "duty": Key("share of the lifetime in which the device is switched on", number_reader(1e-6, 1), 1.0),
        "inferences_per_second": Key("mean rate while it is switched on", number_reader(1e-12, 1e9)),
        "inferences": Key("total over the lifetime, instead of a rate", number_reader(1, 1e18)),
        "dram": Key("whether there is DRAM", _choice(DRAM_POLICIES)),
        "dram_kind": Key("kind of DRAM", _dram_kind),
        "dram_gb": Key("how much DRAM", number_reader(0, 1e6)),
        "dram_yield": Key("yield of the DRAM", number_reader(0.01, 1), default_memory_yield("dram")),
        "package": Key("what a package counts", _choice(PACKAGES)),
        "package_g_per_cm2": Key("of the silicon in it, where package is per-area", number_reader(0, 1e6)),
        "pue": Key("power usage effectiveness of the place of use", number_reader(1, 10)),
        "site_water_l_per_kwh": Key("water that cooling takes where the device is used", number_reader(0, 1e3), 0.0),
        "texts_per_image": Key("texts that one inference encodes beside its image", number_reader(0, 1e6)),
    }
)


def read_values(values: Mapping[str, object], where: str) -> tuple[dict[str, object], list[Problem]]:
    """The good values, converted, and a problem for every bad one."""
    good: dict[str, object] = {}
    problems: list[Problem] = []
    for key, value in values.items():
        if key not in KEYS:
            problems.append(unknown_name(where, "key", key, KEYS))
            continue
        try:
            good[key] = KEYS[key].read(value, f"{where}.{key}")
        except InputError as error:
            problems += error.problems
    return good, problems
