"""The keys of a scenario, one by one: what each means, its unit, its default, and what it allows.

The same keys are written in the shipped scenarios, in a scenario file and in a study's `[scenario]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

from catransformers.carbon.embodied import ABATEMENTS, ACT, table_nodes
from catransformers.carbon.grid import MAX_G_PER_KWH, Basis
from catransformers.carbon.parts import PACKAGES, default_memory_yield, memory_kinds
from catransformers.carbon.yields import YieldModel
from catransformers.errors import InputError, Problem, Problems, unknown_name
from catransformers.reading import Choice, Flag, Number, Rule, read_table
from catransformers.registry import EMBODIED_MODELS

DramPolicy = Literal["when-needed", "always", "never"]
MAX_CHIPLETS = 64
MAX_TABLE_YEARS = 200
DRAM_POLICIES: tuple[DramPolicy, ...] = ("when-needed", "always", "never")


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it means, the rule of its value, and what stands where a scenario leaves it out."""

    meaning: str
    read: Rule
    default: object = None


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


def _embodied_model(value: object, where: str) -> object:
    EMBODIED_MODELS.check(str(_text(value, where)), where)
    return value


def _basis(value: object, where: str) -> object:
    return Basis.parse(str(_text(value, where)), where=where)


def _by_year(value: object, where: str) -> object:
    """A list of intensities in g/kWh, or a text with them between commas, as a tuple."""
    allowed = 'numbers in g/kWh, one a year: [224, 210, 195] or "224, 210, 195"'
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not given or len(given) > MAX_TABLE_YEARS:
        raise InputError(Problem(where, f"{value!r} is not a table of years", allowed=allowed))
    problems = Problems()
    result = []
    for year, item in enumerate(given, start=1):
        place = f"{where}, year {year}"
        try:
            number = float(item) if isinstance(item, str) else item
        except ValueError:
            problems.append(Problem(place, f"{item!r} is not a number", allowed=allowed))
        else:
            result.append(problems.of(Number(0, MAX_G_PER_KWH), number, place))
    problems.finish()
    return tuple(result)


_OTHER = "is not one of them"
_CHIPLETS = Number(1, MAX_CHIPLETS, whole=True, allowed=f"a whole number, 1 to {MAX_CHIPLETS}", kind="is out of range")
_FINEST, _COARSEST = min(table_nodes()), max(table_nodes())

KEYS: Mapping[str, Key] = MappingProxyType(
    {
        "name": Key("what to call the scenario", _text),
        "use_region": Key("where the device runs: name, code, or g/kWh", region),
        "use_intensity_g_per_kwh": Key("the grid of use as a number, instead of use_region", Number(0, MAX_G_PER_KWH)),
        "use_intensity_change_per_year": Key(
            "fraction by which that grid changes every year (−0.05: 5 % less)", Number(-1, 1, above=True), 0.0
        ),
        "use_intensity_g_per_kwh_by_year": Key(
            "that grid in the first year of use, the second, …; the last value holds on", _by_year
        ),
        "use_basis": Key(
            "what the intensity of use counts: words of lifecycle or direct, average or marginal, …", _basis
        ),
        "fab_region": Key("where the die is made: name, code, or g/kWh", region),
        "fab_intensity_g_per_kwh": Key(
            "the grid of the fab as a number, instead of fab_region", Number(0, MAX_G_PER_KWH)
        ),
        "fab_basis": Key("what the intensity of the fab counts", _basis),
        "allow_mixed_basis": Key(
            "let use and fab differ in what their intensity counts", Flag(allowed="true, false"), False
        ),
        "node_nm": Key("process node", Number(_FINEST, _COARSEST)),
        "embodied_model": Key("whose figures of the fab count: act, or another package's", _embodied_model, ACT),
        "abatement": Key("percentage of process gases abated", Choice(ABATEMENTS, _OTHER)),
        "yield": Key("a number, or poisson, murphy, seeds, negative-binomial", _yield),
        "defect_density_per_cm2": Key("defects per cm², instead of the node's", Number(0, 100)),
        "wafer_diameter_mm": Key("count the edge waste of such a wafer", Number(0, 1000, above=True)),
        "chiplets": Key("equal dies that a design is split into", _CHIPLETS, 1),
        "chiplet_area_overhead": Key("fraction of area that splitting adds", Number(0, 1), 0.0),
        "bonding_yield": Key("share of dies that are bonded well", Number(0.01, 1), 1.0),
        "lifetime_years": Key("years of 365 days in use", Number(0, 1e5, above=True)),
        "duty": Key("share of the lifetime in which the device is switched on", Number(1e-6, 1), 1.0),
        "inferences_per_second": Key("mean rate while it is switched on", Number(1e-12, 1e9)),
        "inferences": Key("total over the lifetime, instead of a rate", Number(1, 1e18)),
        "dram": Key("whether there is DRAM", Choice(DRAM_POLICIES, _OTHER)),
        "dram_kind": Key("kind of DRAM", Choice(partial(memory_kinds, "dram"), kind="kind of DRAM")),
        "dram_gb": Key("how much DRAM", Number(0, 1e6)),
        "dram_yield": Key("yield of the DRAM", Number(0.01, 1), default_memory_yield("dram")),
        "package": Key("what a package counts", Choice(PACKAGES, _OTHER)),
        "package_g_per_cm2": Key("of the silicon in it, where package is per-area", Number(0, 1e6)),
        "pue": Key("power usage effectiveness of the place of use", Number(1, 10)),
        "site_water_l_per_kwh": Key("water that cooling takes where the device is used", Number(0, 1e3), 0.0),
        "texts_per_image": Key("texts that one inference encodes beside its image", Number(0, 1e6)),
    }
)


def read_values(values: Mapping[str, object], where: str) -> tuple[dict[str, Any], Problems]:
    """The good values, converted, and a problem for every bad one."""
    problems = Problems()
    rules = {key: KEYS[key].read for key in values if key in KEYS}  # told in the order in which they are given
    if "node_nm" in rules and values.get("embodied_model", ACT) != ACT:
        rules["node_nm"] = Number(0, 1000, above=True)  # the model itself says which nodes it knows

    def unknown(_: str, key: str, __: object) -> Problem:
        return unknown_name(where, "key", key, KEYS)

    return read_table(values, rules, f"{where}.", problems, unknown=unknown), problems
