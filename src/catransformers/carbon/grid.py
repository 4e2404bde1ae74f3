"""How much carbon a kilowatt-hour carries, by place, with the basis of the number.

A grid intensity is only meaningful with its basis: whole life cycle or stack emissions only, per unit
produced or consumed, average or marginal. The basis is part of the value here, so that nothing mixes two
of them unnoticed. Regions are known by ISO code, name, `US-CA` style state code, or a number (g/kWh).

Sources: the tables `grid_countries`, `grid_us_states`, `grid_zones`, `fab_regions` (one source per row).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Literal

from catransformers.errors import InputError, Problem, Problems, unknown_name
from catransformers.facts import facts, rows
from catransformers.units import G_PER_KG, as_float

Scope = Literal["lifecycle", "direct", "unstated"]
Accounting = Literal["production", "consumption", "unstated"]
Signal = Literal["average", "marginal", "unstated"]
Use = Literal["use", "fab"]

#: Far beyond any grid (coal: about 1,000), so that break-even intensities can be tried, and finite figures stay finite.
MAX_G_PER_KWH = 1e9

_TABLES: Mapping[Use, tuple[str, ...]] = MappingProxyType(
    {
        "use": ("grid_zones", "grid_countries", "grid_us_states"),
        "fab": ("fab_regions", "grid_zones", "grid_countries", "grid_us_states"),
    }
)
_ALIASES: Mapping[str, str] = MappingProxyType({"uk": "gbr", "korea": "kor", "global": "world"})
_SCOPES: Mapping[str, Scope] = {"lifecycle": "lifecycle", "direct": "direct", "unstated": "unstated"}
_ACCOUNTINGS: Mapping[str, Accounting] = {
    "production": "production",
    "consumption": "consumption",
    "unstated": "unstated",
}
_SIGNALS: Mapping[str, Signal] = {"average": "average", "marginal": "marginal"}
BASIS_WORDS = ("lifecycle", "direct", "production", "consumption", "average", "marginal")


@dataclass(frozen=True, slots=True)
class Basis:
    """What an intensity counts. `unstated` (a number given by hand, say) is compatible with everything.

    Args:
        scope: `lifecycle` (fuel supply and plants included) or `direct` (stack emissions only).
        accounting: per unit `production` in the region, or `consumption` (imports traced).
        signal: `average` of all plants or `marginal` (the plant that answers one more kWh).
    """

    scope: Scope = "unstated"
    accounting: Accounting = "unstated"
    signal: Signal = "unstated"

    def __str__(self) -> str:
        parts = [part for part in (self.scope, self.accounting, self.signal) if part != "unstated"]
        return ", ".join(parts) or "unstated"

    @classmethod
    def parse(cls, text: str, *, where: str = "basis") -> Basis:
        """A basis from some of `BASIS_WORDS` between commas, in any order: `"direct, marginal"`.

        Raises:
            InputError: for every word that is none of them, and for two that exclude each other.
        """
        found: dict[str, str] = {}
        problems = Problems()
        for word in (part.strip().casefold() for part in text.split(",")):
            kinds = (("scope", _SCOPES), ("accounting", _ACCOUNTINGS), ("signal", _SIGNALS))
            kind = next((name for name, words in kinds if word in words and word != "unstated"), None)
            if kind is None:
                problems.append(unknown_name(where, "basis", word, BASIS_WORDS))
            elif found.setdefault(kind, word) != word:
                problems.append(Problem(where, f"{found[kind]!r} and {word!r} exclude each other"))
        problems.finish()
        return cls(
            _SCOPES[found.get("scope", "unstated")],
            _ACCOUNTINGS[found.get("accounting", "unstated")],
            _SIGNALS.get(found.get("signal", ""), "unstated"),
        )

    def answers(self, wanted: Basis) -> bool:
        """Whether it is what was asked for: equal wherever `wanted` says something."""
        pairs = ((self.scope, wanted.scope), (self.accounting, wanted.accounting), (self.signal, wanted.signal))
        return all(asked in ("unstated", is_) for is_, asked in pairs)

    def conflicts(self, other: Basis) -> tuple[str, ...]:
        """What differs where both bases say something: for example `("lifecycle and direct",)`."""
        pairs = (
            (self.scope, other.scope),
            (self.accounting, other.accounting),
            (self.signal, other.signal),
        )
        return tuple(f"{a} and {b}" for a, b in pairs if a != b and "unstated" not in (a, b))


@dataclass(frozen=True, slots=True)
class GridIntensity:
    """The carbon of one kWh in a region, with low and high, basis, year and source.

    `intensity_kg_per_kwh` is the typical value; `year` is None where the source names none.
    """

    code: str
    name: str
    intensity_kg_per_kwh: float
    low_kg_per_kwh: float
    high_kg_per_kwh: float
    basis: Basis
    year: int | None
    source: str
    note: str = ""

    def __str__(self) -> str:
        year = f" {self.year}" if self.year else ""
        return f"{self.name}{year}: {self.intensity_kg_per_kwh * G_PER_KG:g} g/kWh ({self.basis})"

    def to_dict(self) -> dict[str, object]:
        """Plain values with stable keys, for JSON."""
        return {
            "code": self.code,
            "name": self.name,
            "g_per_kwh": round(self.intensity_kg_per_kwh * G_PER_KG, 9),
            "low_g_per_kwh": round(self.low_kg_per_kwh * G_PER_KG, 9),
            "high_g_per_kwh": round(self.high_kg_per_kwh * G_PER_KG, 9),
            "basis": str(self.basis),
            "year": self.year,
            "source": self.source,
            "note": self.note,
        }


def given_intensity(g_per_kwh: float, *, basis: Basis = Basis(), where: str = "region") -> GridIntensity:
    """An intensity given as a number of g/kWh: no range, and the basis that the giver states, if any.

    Raises:
        InputError: if the number is negative, not finite, or beyond `MAX_G_PER_KWH`.
    """
    if not 0 <= g_per_kwh <= MAX_G_PER_KWH:
        allowed = f"a number ≥ 0 and ≤ {MAX_G_PER_KWH:g}"
        problem = Problem(where, f"{g_per_kwh} g/kWh is not a grid intensity", allowed=allowed)
        raise InputError(problem)
    value = g_per_kwh / G_PER_KG
    code = f"{g_per_kwh:g}"
    return GridIntensity(code, f"{code} g/kWh as given", value, value, value, basis, None, "given")


@cache
def _table(name: str) -> tuple[tuple[frozenset[str], GridIntensity], ...]:
    """The rows of one grid table, each with the case-folded names that it answers to."""
    spread = facts("embodied_other")["grid_relative"]
    result = []
    for row in rows(name):
        value = float(row["g_per_kwh"]) / G_PER_KG
        scope, accounting = _SCOPES[row["scope"]], _ACCOUNTINGS[row["accounting"]]
        signal: Signal = "unstated" if scope == "unstated" else "average"
        grid = GridIntensity(
            code=row["code"],
            name=row["name"],
            intensity_kg_per_kwh=value,
            low_kg_per_kwh=value * spread.low,
            high_kg_per_kwh=value * spread.high,
            basis=Basis(scope, accounting, signal),
            year=int(row["year"]) if row["year"] else None,
            source=row["source"],
            note=row["note"],
        )
        keys = {row[key].casefold() for key in ("code", "code2", "name") if row[key]}
        result.append((frozenset(keys), grid))
    return tuple(result)


def regions(search: str = "", *, use: Use = "use") -> tuple[GridIntensity, ...]:
    """Every known region (of use or of a fab) whose code or name holds `search`, in table order."""
    wanted = search.casefold()
    return tuple(grid for table in _TABLES[use] for keys, grid in _table(table) if any(wanted in key for key in keys))


def region_intensity(
    region: str | float,
    *,
    use: Use = "use",
    basis: Basis = Basis(),
    where: str = "region",
) -> GridIntensity:
    """The grid intensity of a region given by ISO2, ISO3, name, `US-CA`, zone, or number of g/kWh.

    A fab is looked up in ACT's table of fab locations first (Taiwan: 642 g/kWh), then in the general tables.
    Where a place has both a lifecycle and a direct value, the lifecycle one is taken unless `basis` asks
    for the other; the answer says which it is. No marginal value is tabulated: give a number and its basis.

    Args:
        region: a name, or a number (also as text) in g/kWh.
        use: whether the electricity is used in the field (`use`) or by a fab (`fab`).
        basis: insist on it, as far as it says something; of a number, what it counts.
        where: what to call the input in an error message.

    Raises:
        InputError: for an unknown or ambiguous name, a basis that the region lacks, or a bad number.
    """
    if isinstance(region, bool) or not isinstance(region, str | int | float):
        problem = Problem(where, f"{region!r} is not a region", allowed="a name, a code, or a number of g/kWh")
        raise InputError(problem)
    if not isinstance(region, str):
        return given_intensity(as_float(region), basis=basis, where=where)
    try:
        number = float(region)
    except ValueError:
        pass
    else:
        return given_intensity(number, basis=basis, where=where)
    key = region.strip().casefold()
    key = _ALIASES.get(key, key)
    found = [grid for table in _TABLES[use] for keys, grid in _table(table) if key in keys]
    if not found:
        options = {name for grid in regions(use=use) for name in (grid.code, grid.name)}
        raise InputError(unknown_name(where, "region", region, options))
    codes = sorted({grid.code for grid in found})
    if len(codes) > 1:
        raise InputError(Problem(where, f"{region!r} is ambiguous", allowed=" or ".join(codes)))
    answering = [grid for grid in found if grid.basis.answers(basis)]
    if not answering:
        has = " or ".join(sorted({str(grid.basis) for grid in found}))
        what = f"no intensity of the basis {str(basis)!r} is known for {region!r}"
        raise InputError(Problem(where, what, allowed=has, hint="or a number in g/kWh with its basis"))
    return answering[0]
