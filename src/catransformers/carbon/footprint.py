"""The footprint of a design under a scenario: made (die, DRAM, packages) plus used (energy), in kg CO2e.

    total = n·a·(CI_fab·EPA + GPA + MPA)/Y(a) + DRAM + packages + E·N/3.6e6·CI_use·PUE

with n = 1 die of the design's area a, or n chiplets of a share of it each. E is the energy of an inference and of the
wait for the next one (`hardware.power.energy_with_idle_j`).

Source: the embodied and operational model of ACT (Gupta et al., ISCA 2022), see docs/carbon.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from catransformers.carbon import factors as terms
from catransformers.carbon.embodied import DieCarbon, die_carbon
from catransformers.carbon.scenario import Scenario
from catransformers.carbon.uncertainty import draw_factors, total_quantiles
from catransformers.lazy import CallablePackage

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Footprint:
    """kg CO2e of every design over its life; arrays of one (broadcast) shape, possibly read-only views.

    `package_kg` holds packages and what failed bonding took with it: die, DRAM and package are the embodied part.
    """

    die_kg: Floats
    dram_kg: Floats
    package_kg: Floats
    embodied_kg: Floats
    operational_kg: Floats
    total_kg: Floats

    def to_dict(self) -> dict[str, object]:
        """Plain numbers (or nested lists) with the keys of `estimate --json`."""
        return {
            "embodied_kg": {
                "die": self.die_kg.tolist(),
                "dram": self.dram_kg.tolist(),
                "package": self.package_kg.tolist(),
                "total": self.embodied_kg.tolist(),
            },
            "operational_kg": self.operational_kg.tolist(),
            "total_kg": self.total_kg.tolist(),
        }


def footprint(
    area_m2: float | Floats,
    energy_j: float | Floats,
    needs_dram: bool | Bools,
    scenario: Scenario,
) -> Footprint:
    """The footprint of designs at every typical factor.

    Args:
        area_m2: die area.
        energy_j: energy of one inference (an image and `scenario.texts_per_image` texts), its wait included.
        needs_dram: whether the model does not fit on the chip. All three broadcast against each other.
        scenario: where and how long it is made and used.

    Returns:
        Arrays of the broadcast shape; parts that do not vary along an axis are views of it.

    Raises:
        InputError: if an area or an energy is negative or not finite.
    """
    area, energy = terms.checked("area_m2", area_m2), terms.checked("energy_j", energy_j)
    present = terms.has_dram(needs_dram, scenario)
    shape = np.broadcast_shapes(area.shape, energy.shape, present.shape)
    typical = terms.typical_factors(scenario)
    die = np.broadcast_to(terms.die_kg(area, scenario, typical), shape)
    dram = np.broadcast_to(terms.dram_kg(present, scenario, typical), shape)
    package = np.broadcast_to(terms.package_kg(area, present, die, scenario, typical), shape)
    operational = np.broadcast_to(terms.operational_kg(energy, scenario, typical), shape)
    embodied = np.asarray(die + dram + package)
    return Footprint(die, dram, package, embodied, operational, np.asarray(embodied + operational))


def die_split(area_m2: float | Floats, scenario: Scenario) -> DieCarbon:
    """The dies' part of a footprint, split into fab energy, gases, materials and yield loss.

    Raises:
        InputError: if an area is negative or not finite.
    """
    die = terms.one_die_m2(terms.checked("area_m2", area_m2), scenario, terms.typical_factors(scenario))
    return die_carbon(
        die,
        fab_intensity_kg_per_kwh=scenario.fab_intensity_kg_per_kwh,
        node_nm=scenario.node_nm,
        embodied_model=scenario.embodied_model,
        abatement=scenario.abatement,
        yield_model=scenario.yields,
        defects_per_m2=scenario.defects_per_m2,
        wafer_area_m2=terms.made_area_m2(die, scenario),
        dies=scenario.chiplets,
    )


@dataclass(frozen=True, slots=True)
class EmbodiedSplit:
    """What making a design emits, part by part; kg, arrays that broadcast.

    Args:
        fab_energy_kg, gases_kg, materials_kg: of processing the wafer area of the dies.
        yield_loss_kg: the dies that failed.
        memory_kg: DRAM.
        package_kg: of the dies, and of the DRAM if there is any.
        bonding_loss_kg: what failed assemblies took with them.
    """

    fab_energy_kg: Floats
    gases_kg: Floats
    materials_kg: Floats
    yield_loss_kg: Floats
    memory_kg: Floats
    package_kg: Floats
    bonding_loss_kg: Floats

    @property
    def total_kg(self) -> Floats:
        """The sum of all parts."""
        return np.asarray(sum(np.asarray(getattr(self, field.name)) for field in fields(self)), dtype=np.float64)

    def to_dict(self) -> dict[str, object]:
        """Plain numbers (or nested lists) by part, without the unit in the key."""
        return {field.name.removesuffix("_kg"): getattr(self, field.name).tolist() for field in fields(self)}


def embodied_split(area_m2: float | Floats, needs_dram: bool | Bools, scenario: Scenario) -> EmbodiedSplit:
    """The embodied part of a `footprint`, split; the sum of the parts is its `embodied_kg`.

    Raises:
        InputError: if an area is negative or not finite.
    """
    area, present = terms.checked("area_m2", area_m2), terms.has_dram(needs_dram, scenario)
    typical = terms.typical_factors(scenario)
    die = die_split(area, scenario)
    own = terms.own_package_kg(area, scenario, typical)
    lost = terms.bonding_loss_kg(die.total_kg, own, scenario)
    packages = terms.package_kg(area, present, die.total_kg, scenario, typical)
    return EmbodiedSplit(
        fab_energy_kg=die.energy_kg,
        gases_kg=die.gases_kg,
        materials_kg=die.materials_kg,
        yield_loss_kg=die.yield_loss_kg,
        memory_kg=terms.dram_kg(present, scenario, typical),
        package_kg=np.asarray(packages - lost),
        bonding_loss_kg=lost,
    )


def footprint_range(
    area_m2: float | Floats,
    energy_j: float | Floats,
    needs_dram: bool | Bools,
    scenario: Scenario,
    *,
    samples: int = 2000,
    seed: int = 0,
) -> tuple[Floats, Floats, Floats]:
    """The 5th, 50th and 95th percentile of every design's total, by Monte Carlo over the scenario's factors.

    All designs meet the same draws, so that their ranges can be compared. How far the hardware model's area and energy
    may be off is among the factors; accuracy, lifetime and rate are taken as given.

    Args:
        area_m2, energy_j, needs_dram, scenario: as of `footprint`.
        samples: number of draws.
        seed: of the draws; the same seed gives the same numbers.

    Returns:
        (p5, p50, p95), kg, each of the broadcast shape.

    Raises:
        InputError: as `footprint`, or for fewer than two samples.
    """
    draws = draw_factors(scenario, samples, seed)
    p5, p50, p95 = total_quantiles(area_m2, energy_j, needs_dram, scenario, draws, probabilities=(0.05, 0.5, 0.95))
    return p5, p50, p95


CALLED = "catransformers.api.carbon:footprint"
sys.modules[__name__].__class__ = CallablePackage
