"""The uncertain factors of a footprint, with their ranges, and the terms that they make.

One place holds the formula: the single figure is its value at every typical factor, and a range is its
distribution when the factors are drawn. Arguments that are arrays broadcast; designs lie on the leading
axes and draws on the last.

Area and energy are factors too: `area_relative` and `energy_relative` say how far our own model of the hardware may be
off. One draw holds for all designs, for what is wrong with the constants of a technology is wrong for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from catransformers.carbon.parts import memory_per_gb, package_per_ic
from catransformers.carbon.ranges import Range
from catransformers.carbon.scenario import Scenario
from catransformers.carbon.yields import die_yield, wafer_area_per_die
from catransformers.errors import InputError, Problem
from catransformers.facts import facts
from catransformers.units import J_PER_KWH, MILLI

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Factors:
    """One value, or one a draw (S,), of everything in a footprint that is not exactly known."""

    use_intensity_kg_per_kwh: float | Floats
    fab_intensity_kg_per_kwh: float | Floats
    energy_kwh_per_m2: float | Floats
    gases_kg_per_m2: float | Floats
    materials_kg_per_m2: float | Floats
    defects_relative: float | Floats
    dram_kg_per_gb: float | Floats
    package_kg_per_ic: float | Floats
    area_relative: float | Floats
    energy_relative: float | Floats

    @property
    def wafer_kg_per_m2(self) -> float | Floats:
        """CI·EPA + GPA + MPA: what a square metre of processed wafer emitted."""
        return self.fab_intensity_kg_per_kwh * self.energy_kwh_per_m2 + self.gases_kg_per_m2 + self.materials_kg_per_m2


FACTOR_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Factors))


def factor_ranges(scenario: Scenario) -> dict[str, Range]:
    """Low, typical and high of every factor under a scenario, in the order of `FACTOR_NAMES`."""
    node = scenario.fab_node

    def in_use(intensity: float) -> float:
        return scenario.use_path.mean(intensity, scenario.lifetime_years)

    use, fab, judged = scenario.use, scenario.fab, facts("embodied_other")
    return {
        "use_intensity_kg_per_kwh": Range(
            in_use(use.low_kg_per_kwh), in_use(use.intensity_kg_per_kwh), in_use(use.high_kg_per_kwh)
        ),
        "fab_intensity_kg_per_kwh": Range(fab.low_kg_per_kwh, fab.intensity_kg_per_kwh, fab.high_kg_per_kwh),
        "energy_kwh_per_m2": node.energy_kwh_per_m2,
        "gases_kg_per_m2": node.gases_kg_per_m2[scenario.abatement],
        "materials_kg_per_m2": node.materials_kg_per_m2,
        "defects_relative": Range.of(judged["defects_relative"]),
        "dram_kg_per_gb": memory_per_gb(scenario.dram_kind),
        "package_kg_per_ic": package_per_ic(scenario.package),
        "area_relative": Range.of(judged["area_relative"]),
        "energy_relative": Range.of(judged["energy_relative"]),
    }


def typical_factors(scenario: Scenario) -> Factors:
    """Every factor at its typical value."""
    return Factors(**{name: factor.typical for name, factor in factor_ranges(scenario).items()})


def checked(name: str, value: float | Floats) -> Floats:
    """The value as an array of finite numbers ≥ 0.

    Raises:
        InputError: if a number is negative, infinite or not a number.
    """
    array = np.asarray(value, dtype=np.float64)
    if not np.all(np.isfinite(array) & (array >= 0)):
        raise InputError(Problem(name, "a value is negative or not finite", allowed="finite numbers ≥ 0"))
    return array


def made_area_m2(area_m2: Floats, scenario: Scenario) -> Floats:
    """The wafer area that a die costs: its own, or with the edge waste if the scenario asks for it."""
    if scenario.wafer_diameter_mm is None:
        return area_m2
    return wafer_area_per_die(area_m2, scenario.wafer_diameter_mm * MILLI)


def has_dram(needs_dram: bool | NDArray[np.bool_], scenario: Scenario) -> NDArray[np.bool_]:
    """Whether each design has DRAM under the scenario's policy."""
    needed = np.asarray(needs_dram, dtype=np.bool_)
    if scenario.dram == "when-needed":
        return needed
    return np.full(needed.shape, scenario.dram == "always")


def good_share(area_m2: Floats, scenario: Scenario, factors: Factors) -> Floats:
    """The yield of a die."""
    return die_yield(scenario.yields, area_m2, scenario.defects_per_m2, factors.defects_relative)


def one_die_m2(area_m2: Floats, scenario: Scenario, factors: Factors) -> Floats:
    """The area of one die: the design's, or its share of it where the design is split into chiplets."""
    area = area_m2 * factors.area_relative
    if scenario.chiplets == 1:
        return np.asarray(area)
    return np.asarray(area * ((1 + scenario.chiplet_area_overhead) / scenario.chiplets))


def die_kg(area_m2: Floats, scenario: Scenario, factors: Factors) -> Floats:
    """n·a·(CI·EPA + GPA + MPA)/Y(a) of a design's n dies of area a, before bonding."""
    die = one_die_m2(area_m2, scenario, factors)
    made = made_area_m2(die, scenario)
    return np.asarray(made * (scenario.chiplets * factors.wafer_kg_per_m2) / good_share(die, scenario, factors))


def dram_kg(present: NDArray[np.bool_], scenario: Scenario, factors: Factors) -> Floats:
    """GB·(kg/GB)/Y of the DRAM where there is one."""
    return np.asarray(present * (scenario.dram_gb * factors.dram_kg_per_gb / scenario.dram_yield))


def own_package_kg(area_m2: Floats, scenario: Scenario, factors: Factors) -> Floats:
    """The package of the design's dies: one average IC package, or kg per area of silicon in it."""
    if scenario.package == "per-area":
        silicon = one_die_m2(area_m2, scenario, factors) * scenario.chiplets
        return np.asarray(silicon * scenario.package_kg_per_m2)
    return np.asarray(factors.package_kg_per_ic, dtype=np.float64)


def bonding_loss_kg(die: Floats, own_package: Floats, scenario: Scenario) -> Floats:
    """What the assemblies that fail take with them: (dies + package)·(1/Y_bond^n − 1)."""
    return np.asarray((die + own_package) * (1 / scenario.assembly_yield - 1))


def package_kg(
    area_m2: Floats, present: NDArray[np.bool_], die: Floats, scenario: Scenario, factors: Factors
) -> Floats:
    """The package of the dies with what its bonding loses, and one average IC package for the DRAM where there is one.

    Args:
        area_m2, present: of the design.
        die: `die_kg` of the same design and factors, which failed assemblies take with them.
        scenario, factors: as everywhere here.
    """
    own = own_package_kg(area_m2, scenario, factors)
    lost = bonding_loss_kg(die, own, scenario) if scenario.assembly_yield < 1 else 0.0
    return np.asarray(own + lost + (present * float(scenario.dram_gb > 0)) * factors.package_kg_per_ic)


def operational_kg(energy_j: Floats, scenario: Scenario, factors: Factors) -> Floats:
    """Energy per inference × inferences × PUE × intensity."""
    lifetime_kwh = energy_j * (scenario.inferences * scenario.pue / J_PER_KWH)
    return np.asarray(lifetime_kwh * (factors.energy_relative * factors.use_intensity_kg_per_kwh))


def total_kg(
    area_m2: Floats,
    energy_j: Floats,
    present: NDArray[np.bool_],
    scenario: Scenario,
    factors: Factors,
) -> Floats:
    """Everything: die, DRAM, packages and use."""
    die = die_kg(area_m2, scenario, factors)
    return np.asarray(
        die
        + dram_kg(present, scenario, factors)
        + package_kg(area_m2, present, die, scenario, factors)
        + operational_kg(energy_j, scenario, factors)
    )
