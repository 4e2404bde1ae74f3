"""Other impacts of the same electricity: water, primary energy and minerals, through the footprint's own arguments.

    use  = E·N/3.6e6·PUE·F_use  (+ E·N/3.6e6·W_site for the water that cooling takes),   fab = a·n·EPA/Y·F_fab

with F the impact of a kWh where it is used or where the fab is. Only electricity is counted: no sourced factor was
found for a fab's own (ultrapure) water, nor for the minerals in a chip or the making of memory. A total is therefore a
lower bound, and None where the factor of one of the two grids is not known: half a sum would pass for a whole one.

Sources: the tables `grid_water` (WRI) and `grid_energy_minerals`, one source a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catransformers.carbon import factors as terms
from catransformers.carbon.grid import GridIntensity
from catransformers.carbon.ranges import Range
from catransformers.carbon.scenario import Scenario
from catransformers.errors import InputError, Problem, unknown_name
from catransformers.facts import facts
from catransformers.units import J_PER_KWH

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Impact:
    """A kind of impact: its name, the unit of its totals, and where its factors stand."""

    name: str
    unit: str
    table: str


IMPACTS: Mapping[str, Impact] = MappingProxyType(
    {
        "water": Impact("water", "L", "grid_water"),
        "primary_energy": Impact("primary_energy", "MJ", "grid_energy_minerals"),
        "minerals": Impact("minerals", "kgSb-eq", "grid_energy_minerals"),
    }
)
#: A place whose own factor is not known is given its country's; the answer says so.
_SAME_PLACE: Mapping[str, str] = MappingProxyType({"US-CA-paper": "US-CA"})


@dataclass(frozen=True, slots=True)
class ImpactFactor:
    """The impact of a kWh in a place.

    Args:
        per_kwh: low, typical and high, in the impact's unit a kWh.
        place: the code of the place that it is known for.
        source: where it is from.
        stands_in: whether that place is a larger one that the asked-for place lies in.
    """

    per_kwh: Range
    place: str
    source: str
    stands_in: bool


def impact_factor(name: str, grid: GridIntensity) -> ImpactFactor | None:
    """The impact of a kWh of a grid; of a US state without its own that of the USA; None where none is known.

    Raises:
        InputError: for an unknown impact.
    """
    if name not in IMPACTS:
        raise InputError(unknown_name("impact", "impact", name, IMPACTS))
    table = facts(IMPACTS[name].table)
    code = _SAME_PLACE.get(grid.code, grid.code)
    for place in (code, "USA") if code.startswith("US-") else (code,):
        fact = table.get(f"{name}_{place}")
        if fact is not None:
            return ImpactFactor(Range.of(fact), place, fact.source, place != code)
    return None


@dataclass(frozen=True, slots=True)
class ImpactFootprint:
    """One impact of designs over their life, in the impact's unit; arrays of the designs' broadcast shape.

    Args:
        impact: which.
        fab: of the fab's electricity; None where its grid's factor is not known.
        use: of the electricity of use; None likewise.
        site: of cooling at the place of use (water only).
        low, high: ends of the total over the ranges of the two factors; None with `total`.
        places: the places whose factors were taken, those of use and fab in this order, None where unknown.
    """

    impact: Impact
    fab: Floats | None
    use: Floats | None
    site: Floats
    low: Floats | None
    high: Floats | None
    places: tuple[ImpactFactor | None, ImpactFactor | None]

    @property
    def total(self) -> Floats | None:
        """All that is counted; None where a part is not known."""
        return None if self.fab is None or self.use is None else np.asarray(self.fab + self.use + self.site)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers with stable keys; null where a factor is not known."""

        def plain(value: Floats | None) -> Any:
            return None if value is None else value.tolist()

        return {
            "unit": self.impact.unit,
            "fab": plain(self.fab),
            "use": plain(self.use),
            "site": plain(self.site),
            "total": plain(self.total),
            "low": plain(self.low),
            "high": plain(self.high),
            "use_factor_of": None if self.places[0] is None else self.places[0].place,
            "fab_factor_of": None if self.places[1] is None else self.places[1].place,
        }


def fab_kwh(area_m2: float | Floats, scenario: Scenario) -> Floats:
    """The electricity of making a design's dies, failed dies and failed assemblies included, kWh."""
    typical = terms.typical_factors(scenario)
    die = terms.one_die_m2(terms.checked("area_m2", area_m2), scenario, typical)
    good = terms.good_share(die, scenario, typical) * scenario.assembly_yield
    return np.asarray(
        terms.made_area_m2(die, scenario) * (scenario.chiplets * scenario.fab_node.energy_kwh_per_m2.typical) / good
    )


def use_kwh(energy_j: float | Floats, scenario: Scenario) -> Floats:
    """The electricity of use over the life, before the PUE, kWh."""
    return np.asarray(terms.checked("energy_j", energy_j) * (scenario.inferences / J_PER_KWH))


def impact_footprint(
    name: str, area_m2: float | Floats, energy_j: float | Floats, scenario: Scenario
) -> ImpactFootprint:
    """One impact of designs, at typical factors; the arguments are those of `footprint.footprint`.

    Raises:
        InputError: for an unknown impact, or an area or energy that is negative or not finite.
    """
    use_factor, fab_factor = impact_factor(name, scenario.use), impact_factor(name, scenario.fab)
    fab_energy, device = np.broadcast_arrays(fab_kwh(area_m2, scenario), use_kwh(energy_j, scenario))
    drawn = device * scenario.pue
    site = device * (scenario.site_water_l_per_kwh if name == "water" else 0.0)
    fab = None if fab_factor is None else np.asarray(fab_energy * fab_factor.per_kwh.typical)
    use = None if use_factor is None else np.asarray(drawn * use_factor.per_kwh.typical)
    low = high = None
    if use_factor is not None and fab_factor is not None:
        low = np.asarray(fab_energy * fab_factor.per_kwh.low + drawn * use_factor.per_kwh.low + site)
        high = np.asarray(fab_energy * fab_factor.per_kwh.high + drawn * use_factor.per_kwh.high + site)
    return ImpactFootprint(IMPACTS[name], fab, use, np.asarray(site), low, high, (use_factor, fab_factor))


def unknown_factors(name: str, scenario: Scenario) -> list[Problem]:
    """The scenario's grids of which a sourced factor of an impact is not known."""
    sides = (("use", scenario.use), ("fab", scenario.fab))
    return [
        Problem(f"scenario.{side}_region", f"no sourced {name} factor is known for {grid.code}", hint="another region")
        for side, grid in sides
        if impact_factor(name, grid) is None
    ]


def other_impacts(area_m2: float | Floats, energy_j: float | Floats, scenario: Scenario) -> dict[str, ImpactFootprint]:
    """Every impact beside carbon by name; see `impact_footprint`."""
    return {name: impact_footprint(name, area_m2, energy_j, scenario) for name in IMPACTS}


def grid_object(grid: GridIntensity) -> dict[str, Any]:
    """A grid as data, with its factors of the other impacts; `null` where nothing is known."""
    factors = {name: impact_factor(name, grid) for name in IMPACTS}
    return {
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
            for name, factor in factors.items()
        },
    }
