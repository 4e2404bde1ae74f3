"""The cost engine: a design table of columns, and every quantity worked out from them in one way.

One model on A accelerators has columns (A,); the batches of a search have columns (…, A) of many models at once. Both
get their quantities from `Columns`: carbon and water are what the making of a device takes plus a price times the
energy that one inference and the wait for the next one draw; the others follow from `quantities.QUANTITIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from catransformers.carbon import factors as terms
from catransformers.carbon.footprint import footprint, footprint_range
from catransformers.carbon.impacts import impact_footprint, unknown_factors
from catransformers.carbon.scenario import Scenario
from catransformers.designs.quantities import QUANTITIES, CarbonQuantile, columns_of
from catransformers.errors import InputError
from catransformers.hardware.accelerator import AcceleratorTable
from catransformers.hardware.area import die_area
from catransformers.hardware.cost import cost_tables, fits_on_chip
from catransformers.hardware.power import energy_with_idle_j, power_table
from catransformers.hardware.technology import Technology
from catransformers.workloads.operators import Workload

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

STREAMED, RESIDENT = 0, 1

#: (life energy, resident, chosen accelerators) → kgCO2e, (…, chosen accelerators) all.
CarbonAt = Callable[[FloatArray, BoolArray, IntArray | slice], FloatArray]


@dataclass(frozen=True)
class Silicon:
    """What an accelerator is apart from the work it does, under a scenario.

    Args:
        area_m2: (accelerators,) of the die.
        capacity_bytes: (accelerators,) of the global buffer.
        embodied_kg: (2, accelerators): with DRAM (streamed) and without (resident).
        idle_w: (2, accelerators): power while waiting for the next inference, streamed and resident.
        period_s: from one inference to the next.
        operational_kg_per_j: kgCO2e over the whole life for each joule that one inference, wait included, takes.
        tops: (accelerators,) peak throughput; None where nobody asks.
        water_l: (accelerators,) litres for the electricity of making the device; None where its factor is not known.
        water_l_per_j: litres over the whole life for each joule that one inference, wait included, takes.
        inferences: of the life.
        carbon_at: how to find carbon at another quantile of its range than the typical value; None for the latter.
    """

    area_m2: FloatArray
    capacity_bytes: FloatArray
    embodied_kg: FloatArray
    idle_w: FloatArray
    period_s: float
    operational_kg_per_j: float
    tops: FloatArray | None = None
    water_l: FloatArray | None = None
    water_l_per_j: float = 0.0
    inferences: float = 1.0
    carbon_at: CarbonAt | None = None

    @classmethod
    def of(cls, table: AcceleratorTable, tech: Technology, scenario: Scenario) -> Silicon:
        """The accelerators of a table, carbon at typical factors.

        Raises:
            InputError: if no SRAM keeps up with the clock, or for a supply that the chip does not work at.
        """
        power = power_table(table, tech)
        own = cls(
            area_m2=die_area(table, tech).total,
            capacity_bytes=table.global_bytes,
            embodied_kg=np.empty((2, len(table))),
            idle_w=np.stack([power.idle_streamed_w, power.idle_resident_w]),
            period_s=scenario.period_s,
            operational_kg_per_j=0.0,
            tops=np.asarray(table.peak_tops(tech.frequency_at(table.voltage_v)), dtype=np.float64),
        )
        return own.under(scenario)

    def under(self, scenario: Scenario, carbon_at: CarbonAt | None = None) -> Silicon:
        """The same accelerators under another scenario."""
        making = impact_footprint("water", self.area_m2, 0.0, scenario).total
        using = impact_footprint("water", 0.0, 1.0, scenario).total
        return replace(
            self,
            embodied_kg=np.stack([footprint(self.area_m2, 0.0, dram, scenario).embodied_kg for dram in (True, False)]),
            period_s=scenario.period_s,
            operational_kg_per_j=float(footprint(0.0, 1.0, False, scenario).operational_kg),
            water_l=None if using is None else making,
            water_l_per_j=0.0 if using is None else float(using),
            inferences=scenario.inferences,
            carbon_at=carbon_at,
        )


def check_known(names: Collection[str], scenario: Scenario) -> None:
    """That quantities mean something under a scenario.

    Raises:
        InputError: if water is asked for, and the factor of one of its grids is not known.
    """
    if "water" in columns_of({*names}) and (problems := unknown_factors("water", scenario)):
        raise InputError(problems)


class Columns:
    """Columns and quantities of designs by name, (…, accelerators) each, worked out when asked for, once.

    Args:
        latency_s, energy_j: (…, accelerators) of one inference; None where no asked-for quantity depends on it.
        resident: (…, accelerators) whether the weights stay on chip.
        silicon: the accelerators.
        chosen: those of them that lie on the last axis.
        known: what is worked out already; it goes before all else.
    """

    def __init__(
        self,
        latency_s: FloatArray | None,
        energy_j: FloatArray | None,
        resident: BoolArray,
        silicon: Silicon,
        chosen: IntArray | slice = slice(None),
        known: Mapping[str, FloatArray] | None = None,
    ) -> None:
        self._latency, self._energy = latency_s, energy_j
        self._resident, self._silicon, self._chosen = resident, silicon, chosen
        self.known: dict[str, FloatArray] = {**(known or {})}

    def __getitem__(self, name: str) -> FloatArray:
        """One of `QUANTITIES` of designs, SI; or `inferences`."""
        if name not in self.known:
            row = QUANTITIES.get(name)
            made = row.formula(*(self[part] for part in row.of)) if row is not None and row.formula else None
            self.known[name] = self._column(name) if made is None else made
        return self.known[name]

    def _column(self, name: str) -> FloatArray:
        silicon, chosen = self._silicon, self._chosen
        match name:
            case "latency" | "energy":
                found = self._latency if name == "latency" else self._energy
            case "area" | "tops":
                own = silicon.area_m2 if name == "area" else silicon.tops
                found = None if own is None else np.broadcast_to(own[chosen], self._resident.shape)
            case "carbon":
                found = self._carbon()
            case "water" if silicon.water_l is not None:
                found = silicon.water_l_per_j * self._life_energy + silicon.water_l[chosen]
            case "inferences":
                found = np.asarray(silicon.inferences)
            case _:
                found = None
        if found is None:
            raise LookupError(f"{name} is not known here")
        return found

    @cached_property
    def _life_energy(self) -> FloatArray:
        """Of an inference and the wait for the next one."""
        if self._latency is None or self._energy is None:
            raise LookupError("the energy of a life needs latency and energy")
        idle = by_mode(self._silicon.idle_w[:, self._chosen], self._resident)
        return energy_with_idle_j(self._energy, self._latency, idle, self._silicon.period_s)

    def _carbon(self) -> FloatArray:
        silicon = self._silicon
        if silicon.carbon_at is not None:
            return silicon.carbon_at(self._life_energy, self._resident, self._chosen)
        carbon: FloatArray = silicon.operational_kg_per_j * self._life_energy
        carbon += by_mode(silicon.embodied_kg[:, self._chosen], self._resident)
        return carbon


def by_mode(rows: FloatArray, resident: BoolArray) -> FloatArray:
    """From (2, accelerators), streamed and resident, the one that holds for each design: the shape of `resident`."""
    return np.asarray(np.where(resident, rows[RESIDENT], rows[STREAMED]), dtype=np.float64)


def least_of(
    name: str, low: Mapping[str, FloatArray] | Columns, high: Mapping[str, FloatArray] | Columns
) -> FloatArray:
    """The least value that a quantity can have between two ends of its columns; with these exchanged, the greatest."""
    row = QUANTITIES.get(name)
    if row is None or row.formula is None:
        return low[name]
    parts = (least_of(p, high, low) if p in row.falls else least_of(p, low, high) for p in row.of)
    return np.asarray(row.formula(*parts), dtype=np.float64)


def values_of(
    names: Collection[str],
    latency_s: FloatArray | None,
    energy_j: FloatArray | None,
    resident: BoolArray,
    silicon: Silicon,
    chosen: IntArray | slice = slice(None),
) -> dict[str, FloatArray]:
    """Quantities of designs, SI, (…, accelerators) each; the arguments are those of `Columns`."""
    columns = Columns(latency_s, energy_j, resident, silicon, chosen)
    return {name: columns[name] for name in names}


@dataclass(frozen=True, eq=False)
class DesignTable:
    """One model on all accelerators of a table, each with the residency that holds there; arrays (accelerators,).

    Args:
        resident: whether the weights stay on chip, without DRAM.
        latency_s: of one inference.
        energy_j: of one inference.
        idle_w: power while waiting for the next inference.
        life_energy_j: of one inference and the wait for the next one.
        area_m2: of the die.
        embodied_kg: kgCO2e of making the device.
        operational_kg: kgCO2e of using it for life.
        silicon: the accelerators, for the quantities that are worked out when asked for.
    """

    resident: BoolArray
    latency_s: FloatArray
    energy_j: FloatArray
    idle_w: FloatArray
    life_energy_j: FloatArray
    area_m2: FloatArray
    embodied_kg: FloatArray
    operational_kg: FloatArray
    silicon: Silicon

    @classmethod
    def of_costs(
        cls,
        latency_s: FloatArray,
        energy_j: FloatArray,
        resident: BoolArray,
        silicon: Silicon,
        scenario: Scenario | None = None,
        **further: Any,
    ) -> Self:
        """The table that follows from the costs of an inference.

        Args:
            latency_s, energy_j: (accelerators,) of one inference.
            resident: (accelerators,) whether the weights stay on chip.
            silicon: the accelerators.
            scenario: has the factors of use multiplied one by one, which gives the numbers of `estimate` to the last
                digit; without one, the silicon's price of a joule is taken.
            further: fields that a subclass has.
        """
        idle = by_mode(silicon.idle_w, resident)
        life = energy_with_idle_j(energy_j, latency_s, idle, silicon.period_s)
        if scenario is None:
            operational = silicon.operational_kg_per_j * life
        else:
            operational = terms.operational_kg(life, scenario, terms.typical_factors(scenario))
        return cls(
            resident=resident,
            latency_s=latency_s,
            energy_j=energy_j,
            idle_w=idle,
            life_energy_j=life,
            area_m2=silicon.area_m2,
            embodied_kg=by_mode(silicon.embodied_kg, resident),
            operational_kg=operational,
            silicon=silicon,
            **further,
        )

    @property
    def total_kg(self) -> FloatArray:
        """(accelerators,) kgCO2e, embodied and operational, at typical factors."""
        return self.operational_kg + self.embodied_kg

    @cached_property
    def _columns(self) -> Columns:
        known = {"area": self.area_m2} | ({"carbon": self.total_kg} if self.silicon.carbon_at is None else {})
        return Columns(self.latency_s, self.energy_j, self.resident, self.silicon, known=known)

    def quantity(self, name: str) -> FloatArray:
        """(accelerators,) one of `quantities.OF_DESIGNS`, SI; carbon at the silicon's quantile."""
        return self._columns[name]

    def of(self, name: str, accelerator: int) -> float:
        """A quantity on one accelerator, without those on the others where these take long."""
        if name in self._columns.known or self.silicon.carbon_at is None:
            return float(self.quantity(name)[accelerator])
        one = slice(accelerator, accelerator + 1)
        found = values_of({name}, self.latency_s[one], self.energy_j[one], self.resident[one], self.silicon, one)
        return float(found[name][0])


def evaluate(
    work: Workload,
    table: AcceleratorTable,
    tech: Technology,
    scenario: Scenario,
    *,
    carbon_quantile: CarbonQuantile = "p50",
    cache_dir: str | None = None,
) -> DesignTable:
    """One workload on every accelerator of a table: exact, no training, the numbers of `estimate`.

    Args:
        work: one inference.
        table: the accelerators.
        tech: what these are made of.
        scenario: where and how long they are made and used; its DRAM is as large as the workload needs (`with_room`).
        carbon_quantile: what `quantity("carbon")` means.
        cache_dir: folder of a cache of operators' costs; None for none.

    Raises:
        InputError: if no SRAM keeps up with the clock, for a supply that the chip does not work at, for a scenario of
            another process node, and for a cache folder that cannot be used.
    """
    scenario.check_node(tech.node_nm, tech.name)
    on_chip, streamed = cost_tables([work], table, tech, cache_dir=cache_dir)
    resident = fits_on_chip(work.weight_bytes, work.activation_bytes, table)
    scenario = with_room(scenario, work, table)
    silicon = Silicon.of(table, tech, scenario)
    if carbon_quantile == "p95":
        silicon = replace(silicon, carbon_at=_upper_carbon(silicon.area_m2, scenario))
    latency = np.where(resident, on_chip.latency_s[0], streamed.latency_s[0])
    energy = np.where(resident, on_chip.energy_j[0], streamed.energy_j[0])
    return DesignTable.of_costs(latency, energy, resident, silicon, scenario)


def _upper_carbon(area_m2: FloatArray, scenario: Scenario) -> CarbonAt:
    """The 95th percentile of carbon, from all draws."""

    def carbon(life_energy: FloatArray, resident: BoolArray, chosen: IntArray | slice) -> FloatArray:
        return footprint_range(area_m2[chosen], life_energy, ~resident, scenario)[2]

    return carbon


def with_room(scenario: Scenario, work: Workload, table: AcceleratorTable) -> Scenario:
    """The scenario with a DRAM that holds a workload, where it does not fit on the chip of some accelerator."""
    if fits_on_chip(work.weight_bytes, work.activation_bytes, table).all():
        return scenario
    return scenario.with_room(work.weight_bytes + work.activation_bytes)
