"""Embodied carbon of one part, a package of dies or some memory: split, with its range and its other impacts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from catransformers.carbon.footprint import die_split, embodied_split
from catransformers.carbon.impacts import other_impacts
from catransformers.carbon.parts import MemoryClass, default_memory_yield, memory_per_gb
from catransformers.carbon.ranges import Range
from catransformers.carbon.scenario import Scenario
from catransformers.carbon.uncertainty import draw_factors, total_quantiles
from catransformers.carbon.yields import dies_per_wafer
from catransformers.facts import facts
from catransformers.units import MILLI, MM2_PER_M2

SAMPLES = 10_000


@dataclass(frozen=True)
class DieFootprint:
    """What making some equal dies in one package emits.

    Args:
        area_mm2: of one die.
        scenario: how they are made.
        split_kg: by part: fab electricity, process gases, materials, package …
        total_kg: kgCO2e.
        range_kg: 5th, 50th and 95th percentile of the total.
        yield_fraction: of the dies.
        dies_per_wafer: None where the wafer's edge is not counted.
        impacts: by name, the other impacts of the fab's electricity and their unit; None where not known.
    """

    area_mm2: float
    scenario: Scenario
    split_kg: dict[str, Any]
    total_kg: float
    range_kg: tuple[float, float, float]
    yield_fraction: float
    dies_per_wafer: float | None
    impacts: dict[str, Any]

    @property
    def g_per_cm2(self) -> float:
        """gCO2e per cm² of die."""
        return self.total_kg * 1e3 / (self.area_mm2 * self.scenario.chiplets / 100)

    def to_dict(self) -> dict[str, Any]:
        """The same as data: SI units, `null` where nothing is known."""
        situation = self.scenario
        low, middle, high = self.range_kg
        wafer = None
        if situation.wafer_diameter_mm is not None:
            wafer = {"diameter_mm": situation.wafer_diameter_mm, "dies_per_wafer": self.dies_per_wafer}
        defects = situation.defects_per_m2 / 1e4
        return {
            "area_mm2": self.area_mm2,
            "dies": situation.chiplets,
            "node_nm": situation.node_nm,
            "node_interpolated_from": list(situation.fab_node.interpolated_from),
            **situation.other_model(),
            "abatement": situation.abatement,
            "fab": situation.fab.to_dict(),
            "yield": {
                "model": situation.yield_model,
                "fraction": self.yield_fraction,
                "defect_density_per_cm2": defects or None,
                "bonding": situation.bonding_yield,
            },
            "wafer": wafer,
            "package": situation.package,
            "split_kg": self.split_kg,
            "total_kg": self.total_kg,
            "total_kg_p5": low,
            "total_kg_p50": middle,
            "total_kg_p95": high,
            "g_per_cm2": self.g_per_cm2,
            "other_impacts": self.impacts,
        }


def assess_die(area_mm2: float, scenario: Scenario) -> DieFootprint:
    """What making a package of the scenario's `chiplets` dies of `area_mm2` (mm²) each emits."""
    area = area_mm2 / MM2_PER_M2
    silicon = area * scenario.chiplets
    split = embodied_split(silicon, False, scenario)
    # the area is what the user says, not what our model of the hardware estimates
    draws = replace(draw_factors(scenario, SAMPLES), area_relative=1.0)
    low, middle, high = (
        float(value) for value in total_quantiles(silicon, 0.0, False, scenario, draws, probabilities=(0.05, 0.5, 0.95))
    )
    wafer = scenario.wafer_diameter_mm
    impacts = {
        name: {"unit": found.impact.unit, "fab": None if found.fab is None else float(found.fab)}
        for name, found in other_impacts(silicon, 0.0, scenario).items()
    }
    return DieFootprint(
        area_mm2=area_mm2,
        scenario=scenario,
        split_kg={part: kg for part, kg in split.to_dict().items() if part != "memory"},
        total_kg=float(split.total_kg),
        range_kg=(low, middle, high),
        yield_fraction=float(die_split(silicon, scenario).yield_fraction),
        dies_per_wafer=None if wafer is None else float(dies_per_wafer(area, wafer * MILLI)),
        impacts=impacts,
    )


@dataclass(frozen=True)
class MemoryFootprint:
    """What making memory or storage emits: GB × (kg per GB) ÷ yield.

    Args:
        kind: e.g. `lpddr4`.
        memory_class: its table.
        gb: how much.
        share: yield.
        kg_per_gb: before the yield.
        source: of that figure.
    """

    kind: str
    memory_class: MemoryClass
    gb: float
    share: float
    kg_per_gb: Range
    source: str

    @property
    def total_kg(self) -> Range:
        """kgCO2e, with its range."""
        per_gb = self.kg_per_gb
        return Range(*(self.gb * value / self.share for value in (per_gb.low, per_gb.typical, per_gb.high)))

    def to_dict(self) -> dict[str, Any]:
        """The same as data."""
        total = self.total_kg
        return {
            "class": self.memory_class,
            "kind": self.kind,
            "gb": self.gb,
            "yield": self.share,
            "g_per_gb": self.kg_per_gb.typical * 1e3,
            "total_kg": total.typical,
            "total_kg_low": total.low,
            "total_kg_high": total.high,
            "source": self.source,
        }


def assess_memory(
    kind: str, gb: float, memory_class: MemoryClass = "dram", share: float | None = None
) -> MemoryFootprint:
    """What making `gb` GB of a kind of memory emits.

    Args:
        kind: a row of the class's table.
        gb: how much.
        memory_class: which table.
        share: yield in (0, 1]; None is the class's own.

    Raises:
        InputError: if the class has no such kind.
    """
    per_gb = memory_per_gb(kind, memory_class)
    good = default_memory_yield(memory_class) if share is None else share
    return MemoryFootprint(kind, memory_class, gb, good, per_gb, facts("memory_carbon")[kind].source)
