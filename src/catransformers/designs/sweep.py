"""The exact hardware front of one model: every accelerator of a space costed, limits applied, the undominated kept.

No training, no sampling and no surrogate: latency, energy, area and carbon of a fixed model are known functions of the
accelerator, so that a space of tens of thousands is simply computed. A design is on the front if no other design within
the limits is at least as good in every objective and better in one; of equal designs one is kept.

The *knee* is the member of the front nearest to the ideal point (the best of each objective), each objective taken as
the logarithm of its ratio to the best, scaled by the front's extent (Zeleny, Multiple Criteria Decision Making, 1982:
the displaced ideal).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from catransformers.carbon.footprint import footprint_range
from catransformers.carbon.scenario import Scenario, read_scenario
from catransformers.designs.limits import Limits, infeasible, kept
from catransformers.designs.quantities import (
    OBJECTIVES,
    QUANTITIES,
    UNUSUAL,
    USUAL,
    CarbonQuantile,
    read_objectives,
    read_quantile,
)
from catransformers.designs.table import DesignTable, check_known, evaluate, with_room
from catransformers.display import Displayed
from catransformers.errors import InputError, Problem, Problems
from catransformers.hardware.accelerator import ATTRIBUTES, AcceleratorTable
from catransformers.hardware.front import knee, undominated
from catransformers.hardware.spaces import space as named_space
from catransformers.hardware.technology import Technology
from catransformers.hardware.technology import technology as named_technology
from catransformers.units import MM2_PER_M2
from catransformers.workloads.families import parameters, workload
from catransformers.workloads.operators import Workload
from catransformers.workloads.spec import ModelSpec
from catransformers.workloads.zoo import read_model

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Sweep(Displayed):
    """One model on every accelerator of a space, and the designs that no other beats.

    Args:
        model: the model spec.
        parameters, macs: of the model; of one inference.
        space: name of the space.
        table: its accelerators, A.
        designs: what each costs, arrays (A,).
        technology, scenario: under which that holds.
        objectives: what the front minimises.
        limits: what no member of it exceeds.
        within: (A,) whether an accelerator keeps all limits.
        front: rows of the undominated accelerators, by rising carbon.
        carbon_quantile: of `carbon` as objective and limit; see `quantities.Objectives`.
    """

    model: ModelSpec
    parameters: int
    macs: int
    space: str
    table: AcceleratorTable
    designs: DesignTable
    technology: Technology
    scenario: Scenario
    objectives: tuple[str, ...]
    limits: Limits
    within: BoolArray
    front: IntArray
    carbon_quantile: CarbonQuantile

    def quantity(self, name: str) -> FloatArray:
        """(A,) one of `quantities.OF_DESIGNS`, in its unit (SI)."""
        return self.designs.quantity(name)

    def front_in(self, objectives: Sequence[str]) -> IntArray:
        """Rows of the designs within the limits that none beats in some other objectives, by rising carbon."""
        return _front(self.designs, self.within, read_objectives(objectives))

    @property
    def looked_at(self) -> tuple[str, ...]:
        """The quantities that are minimised or limited, in the order of `OBJECTIVES`."""
        return tuple(name for name in OBJECTIVES if name in (*self.objectives, *self.limits.bounds))

    @cached_property
    def best(self) -> dict[str, int]:
        """By objective, the row of the front's member that is best in it; of equals the better in the others."""
        found = {}
        for name in self.objectives:
            keys = [self.quantity(other)[self.front] for other in (name, *self.objectives)]
            found[name] = int(self.front[np.lexsort(keys[::-1])[0]])
        return found

    @cached_property
    def knee(self) -> int:
        """The row of the front's member that comes nearest to the best of every objective at once."""
        return int(self.front[knee([self.quantity(name)[self.front] for name in self.objectives])])

    def ranges_kg(self, rows: Sequence[int] | IntArray) -> FloatArray:
        """(3, rows): the 5th, 50th and 95th percentile of the total carbon over the uncertainty of its factors."""
        chosen, own = np.asarray(rows, dtype=np.int64), self.designs
        streamed = ~own.resident[chosen]
        return np.stack(footprint_range(own.area_m2[chosen], own.life_energy_j[chosen], streamed, self.scenario))

    def rows(self, chosen: Sequence[int] | IntArray) -> list[dict[str, Any]]:
        """Some designs as plain data with stable keys, SI units but for `area_mm2`."""
        own = self.designs
        columns: dict[str, npt.NDArray[Any]] = {
            "weights_on_chip": own.resident,
            "tops": self.quantity("tops"),
            "latency_s": own.latency_s,
            "energy_j": own.energy_j,
            "power_w": self.quantity("power"),
            "idle_w": own.idle_w,
            "life_energy_j": own.life_energy_j,
            "area_mm2": own.area_m2 * MM2_PER_M2,
            "embodied_kg": own.embodied_kg,
            "operational_kg": own.operational_kg,
            "total_kg": own.total_kg,
            **{QUANTITIES[name].key: self.quantity(name) for name in UNUSUAL if name in self.looked_at},
        }
        low, middle, high = self.ranges_kg(chosen)
        return [
            {
                "accelerator": self.table[int(row)].to_dict(),
                **{name: column[row].item() for name, column in columns.items()},
                "total_kg_p5": float(low[i]),
                "total_kg_p50": float(middle[i]),
                "total_kg_p95": float(high[i]),
            }
            for i, row in enumerate(chosen)
        ]

    @property
    def values(self) -> dict[str, list[float | None]]:
        """The values of each attribute in the space, rising; `null` for the technology's nominal one."""
        found: dict[str, list[float | None]] = {}
        for name in ATTRIBUTES:
            column = np.unique(self.table.columns()[name])
            found[name] = [None if np.isnan(v) else int(v) if float(v).is_integer() else float(v) for v in column]
        return found

    def to_dict(self) -> dict[str, Any]:
        """The object that `sweep --json` prints and `front.json` holds (stable keys)."""
        best = self.rows(list(self.best.values()))
        return {
            "schema": 1,
            "model": self.model.to_dict(),
            "params": self.parameters,
            "macs": self.macs,
            "technology": self.technology.name,
            "scenario": self.scenario.to_dict(),
            "space": {"name": self.space, "values": self.values},
            "accelerators": len(self.table),
            "within_limits": int(self.within.sum()),
            "limits": self.limits.to_dict(),
            "objectives": list(self.objectives),
            "carbon_quantile": self.carbon_quantile,
            "best": dict(zip(self.best, best, strict=True)),
            "knee": self.rows([self.knee])[0],
            "front": self.rows(self.front),
        }


@dataclass(frozen=True, eq=False)
class SweepInputs:
    """What `sweep` was asked for, read and checked; `run` computes it.

    Args:
        model: the model spec.
        space: name of the space.
        table: its accelerators.
        technology, scenario, objectives, limits, carbon_quantile: as of `Sweep`.
        work: one inference, at its precision.
    """

    model: ModelSpec
    space: str
    table: AcceleratorTable
    technology: Technology
    scenario: Scenario
    objectives: tuple[str, ...]
    limits: Limits
    work: Workload
    carbon_quantile: CarbonQuantile = "p50"

    @classmethod
    def read(
        cls,
        model: str | ModelSpec | Workload | Mapping[str, Any],
        space: str | AcceleratorTable = "edge",
        *,
        values: Mapping[str, Sequence[float]] | None = None,
        technology: str | Technology = "default-22nm",
        scenario: str | Scenario | Mapping[str, object] = "default",
        objectives: Sequence[str] = USUAL,
        limits: Limits | Mapping[str, float | None] = Limits(),
        carbon_quantile: str = "p50",
        weight_bits: int = 8,
        activation_bits: int = 8,
    ) -> SweepInputs:
        """Read the arguments of `sweep`.

        Raises:
            InputError: for unknown names and values out of range, all at once.
        """
        problems = Problems()
        read = problems.of
        spec = read(read_model, model)
        tech = read(named_technology, technology) if isinstance(technology, str) else technology
        situation = scenario if isinstance(scenario, Scenario) else read(read_scenario, scenario)
        wanted = read(read_objectives, objectives)
        bounds = limits if isinstance(limits, Limits) else read(Limits.read, limits)
        quantile = read(read_quantile, carbon_quantile)
        table = read(_table, space, values, tech)
        work = None
        if spec is not None:
            texts = situation.texts_per_image if situation is not None else 1.0
            work = read(workload(spec, texts).with_bits, weight_bits, activation_bits)
        if tech is not None and situation is not None:
            read(situation.check_node, tech.node_nm, tech.name)
        if situation is not None:
            read(check_known, (*(wanted or ()), *(bounds.bounds if bounds else ())), situation)
        if problems or not (spec and tech and situation and wanted and bounds and table and work and quantile):
            raise InputError(problems)
        name = space if isinstance(space, str) else "given"
        return cls(spec, name, table, tech, situation, wanted, bounds, work, quantile)

    def run(self, cache_dir: str | None = None) -> Sweep:
        """Cost every accelerator, apply the limits, find the front.

        Raises:
            InputError: if an accelerator cannot be built, or the cache folder cannot be used.
            InfeasibleError: if no accelerator keeps all limits.
        """
        scenario = with_room(self.scenario, self.work, self.table)
        found = evaluate(
            self.work,
            self.table,
            self.technology,
            scenario,
            carbon_quantile=self.carbon_quantile,
            cache_dir=cache_dir,
        )
        bounds = self.limits.of_designs()
        values = {name: found.quantity(name) for name in bounds}
        within = np.logical_and.reduce([np.ones(len(self.table), dtype=np.bool_), *kept(values, bounds).values()])
        if not within.any():
            raise infeasible(values, bounds, f"the space {self.space!r}")
        return Sweep(
            model=self.model,
            parameters=parameters(self.model),
            macs=self.work.macs,
            space=self.space,
            table=self.table,
            designs=found,
            technology=self.technology,
            scenario=scenario,
            objectives=self.objectives,
            limits=self.limits,
            within=within,
            front=_front(found, within, self.objectives),
            carbon_quantile=self.carbon_quantile,
        )


def sweep(
    model: str | ModelSpec | Workload | Mapping[str, Any],
    space: str | AcceleratorTable = "edge",
    *,
    values: Mapping[str, Sequence[float]] | None = None,
    technology: str | Technology = "default-22nm",
    scenario: str | Scenario | Mapping[str, object] = "default",
    objectives: Sequence[str] = USUAL,
    limits: Limits | Mapping[str, float | None] = Limits(),
    carbon_quantile: str = "p50",
    weight_bits: int = 8,
    activation_bits: int = 8,
    cache_dir: str | None = None,
) -> Sweep:
    """The exact front of a fixed model over a hardware space.

    Args:
        model: a spec, its plain form, a name (`embedded`, `ViT-B-16`, …), or a workload that `trace` found.
        space: name of a space (`edge`, `micro`, `edge-full`), or the accelerators themselves.
        values: other values of some attributes of a named space, e.g. `{"pe_x": [64, 128]}`.
        technology: a technology, its name, or the path of a TOML file.
        scenario: a scenario, its name, the path of a TOML file, or keys that change a named one.
        objectives: what the front minimises: some of `OBJECTIVES`.
        limits: what no design may exceed, or a mapping by name and unit: `{"max_latency_ms": 50}`.
        carbon_quantile: `p50`, or `p95` for the 95th percentile of carbon's range as objective and limit.
        weight_bits, activation_bits: precision of every operator, 2 to 32.
        cache_dir: folder of a cache of operators' costs; None for none.

    Returns:
        The space with its costs, and the front.

    Raises:
        InputError: for unknown names and values out of range, all at once.
        InfeasibleError: if no accelerator keeps all limits: which limit, by how much, what would relax it.
    """
    inputs = SweepInputs.read(
        model,
        space,
        values=values,
        technology=technology,
        scenario=scenario,
        objectives=objectives,
        limits=limits,
        carbon_quantile=carbon_quantile,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
    )
    return inputs.run(cache_dir)


def _table(
    space: str | AcceleratorTable, values: Mapping[str, Sequence[float]] | None, tech: Technology | None
) -> AcceleratorTable:
    """The accelerators; supplies that the technology does not work at are told here, before anything is costed."""
    if isinstance(space, AcceleratorTable):
        if values:
            raise InputError(Problem("values", "change a named space, not given accelerators"))
        if not len(space):
            raise InputError(Problem("space", "holds no accelerator"))
        table = space
    else:
        table = named_space(space, frequency_hz=1.0, overrides=values)
    if tech is not None:
        tech.frequency_at(table.voltage_v)
    return table


def _front(found: DesignTable, within: BoolArray, objectives: tuple[str, ...]) -> IntArray:
    """Rows of the undominated designs within the limits, by rising carbon, then the other quantities.

    Dominance depends on order alone, so that ranks stand for the costs: whatever their units and sizes, no difference
    between two of them is lost to rounding.
    """
    rows = np.flatnonzero(within)
    costs = np.stack([found.quantity(name)[rows] for name in objectives])
    ranks = np.stack([np.unique(row, return_inverse=True)[1] for row in costs]).astype(np.float64)
    members = rows[undominated(np.zeros(len(rows), dtype=np.int64), ranks)]
    keys = [members, *(found.quantity(name)[members] for name in reversed(USUAL))]
    return np.asarray(members[np.lexsort(keys)], dtype=np.int64)
