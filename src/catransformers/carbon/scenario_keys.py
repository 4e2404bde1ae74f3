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
from catransformers.carbon.grid import MAX_G_PER_KWH
from catransformers.carbon.parts import PACKAGES, default_memory_yield, memory_kinds
from catransformers.carbon.yields import YieldModel
from catransformers.errors import InputError, Problem, nearest, unknown_name
from catransformers.units import as_float

DramPolicy = Literal["when-needed", "always", "never"]
DRAM_POLICIES: tuple[DramPolicy, ...] = ("when-needed", "always", "never")

Reader = Callable[[object, str], object]


@dataclass(frozen=True, slots=True)
class Key:
    """One key: `read(value, where)` checks and converts; `default` stands where a scenario leaves it out."""

    meaning: str
    read: Reader
    default: object = None


def _number(low: float, high: float = math.inf, *, above: bool = False) -> Reader:
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


def _region(value: object, where: str) -> object:
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


_FINEST, _COARSEST = min(table_nodes()), max(table_nodes())

KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "name": Key("what to call the scenario", _text),
        "use_region": Key("where the device runs: name, code, or g/kWh", _region),
        "use_intensity_g_per_kwh": Key("the grid of use as a number, instead of use_region", _number(0, MAX_G_PER_KWH)),
        "use_intensity_change_per_year": Key(
            "fraction by which that grid changes every year (−0.05: 5 % less)", _number(-1, 1, above=True), 0.0
        ),
        "fab_region": Key("where the die is made: name, code, or g/kWh", _region),
        "fab_intensity_g_per_kwh": Key(
            "the grid of the fab as a number, instead of fab_region", _number(0, MAX_G_PER_KWH)
        ),
        "allow_mixed_basis": Key("let use and fab differ in what their intensity counts", _flag, False),
        "node_nm": Key("process node", _number(_FINEST, _COARSEST)),
        "abatement": Key("percentage of process gases abated", _choice(ABATEMENTS)),
        "yield": Key("a number, or poisson, murphy, seeds, negative-binomial", _yield),
        "defect_density_per_cm2": Key("defects per cm², instead of the node's", _number(0, 100)),
        "wafer_diameter_mm": Key("count the edge waste of such a wafer", _number(0, 1000, above=True)),
        "lifetime_years": Key("years of 365 days in use", _number(0, 1e5, above=True)),
        "inferences_per_second": Key("mean rate over the lifetime", _number(0, 1e9)),
        "inferences": Key("total over the lifetime, instead of a rate", _number(0, 1e18)),
        "dram": Key("whether there is DRAM", _choice(DRAM_POLICIES)),
        "dram_kind": Key("kind of DRAM", _dram_kind),
        "dram_gb": Key("how much DRAM", _number(0, 1e6)),
        "dram_yield": Key("yield of the DRAM", _number(0.01, 1), default_memory_yield("dram")),
        "package": Key("what a package counts", _choice(PACKAGES)),
        "pue": Key("power usage effectiveness of the place of use", _number(1, 10)),
        "texts_per_image": Key("texts that one inference encodes beside its image", _number(0, 1e6)),
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
