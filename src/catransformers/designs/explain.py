"""What would help a design most, computed from the cost model itself: its neighbours, each evaluated and compared.

A neighbour differs in one thing: an attribute doubled or halved, a core more or fewer, the array reshaped, the supply
raised or lowered, another kind of DRAM, or values of fewer bits. The last is an *outlook*: what it does to the accuracy
is not the hardware's to say. All neighbours run the same model under the same scenario; one that cannot be built (no
SRAM keeps up with its clock) is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from catransformers.designs.estimate import Estimate
from catransformers.designs.table import DesignTable, evaluate, with_room
from catransformers.display import Displayed
from catransformers.errors import InputError
from catransformers.hardware.accelerator import LIMITS, OPTIONAL, REQUIRED, Accelerator, AcceleratorTable
from catransformers.hardware.operator_cost import ENERGY_PARTS, RESOURCES
from catransformers.hardware.technology import DRAM_NAMES, Technology
from catransformers.units import KIB, MIB, MM2_PER_M2
from catransformers.workloads.operators import Workload

#: The quantities that a change is judged by.
QUANTITIES = ("latency", "energy", "area", "carbon")
#: A change that saves less than this share helps nothing.
WORTH_IT = 0.01
VOLTAGE_STEP_V = 0.05
FEW_BITS = 4
#: A buffer that is made to measure is a multiple of this.
BUFFER_STEP_BYTES = 64 * KIB

#: Attribute → what doubling and halving it are called.
_NAMES: Mapping[str, tuple[str, str]] = {
    "cores": ("more cores", "fewer cores"),
    "pe_x": ("wider array", "narrower array"),
    "pe_y": ("taller array", "flatter array"),
    "local_kib": ("larger local buffers", "smaller local buffers"),
    "local_bandwidth": ("faster local buffers", "slower local buffers"),
    "global_mib": ("larger global buffer", "smaller global buffer"),
    "voltage_v": ("higher supply", "lower supply"),
}
_WIDTHS: Mapping[str, str] = {"weight_bits": "weights", "activation_bits": "activations"}


@dataclass(frozen=True, slots=True)
class Change:
    """One neighbour of a design, and what it costs relative to the design.

    Args:
        name: in words.
        before, after: what differs, by attribute, and its two values.
        outlook: whether the change is to the model's arithmetic, so that its accuracy would have to be looked at.
        weights_on_chip: whether the weights stay on chip after the change.
        meets_rate: whether one device then runs as many inferences a second as the scenario counts.
        values: `latency` (s), `energy` (J), `area` (m²) and `carbon` (kgCO2e) after the change.
        relative: the same as differences to the design, as a share of its value: −0.3 is 30 % less.
    """

    name: str
    before: Mapping[str, float | str]
    after: Mapping[str, float | str]
    outlook: bool
    weights_on_chip: bool
    meets_rate: bool
    values: Mapping[str, float]
    relative: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain data with stable keys."""
        return {
            "name": self.name,
            "before": dict(self.before),
            "after": dict(self.after),
            "outlook": self.outlook,
            "weights_on_chip": self.weights_on_chip,
            "meets_rate": self.meets_rate,
            "latency_s": self.values["latency"],
            "energy_j": self.values["energy"],
            "area_mm2": self.values["area"] * MM2_PER_M2,
            "total_kg": self.values["carbon"],
            "relative": dict(self.relative),
        }


@dataclass(frozen=True)
class Explanation(Displayed):
    """What binds a design now, and what its neighbours would change.

    Args:
        estimate: the design.
        bound_share: by resource, the share of all cycles for which it sets the pace.
        busy_share: by resource, the share of all cycles for which it is busy.
        utilization: share of the multipliers' peak that does useful work.
        energy_share: by component, of the energy of an inference.
        waiting_share: share of its life that one device waits, at the scenario's rate.
        idle_energy_share: share of its life's energy that it takes while it waits.
        missing_bytes: what the global buffer lacks to hold weights and working set; 0 where it holds them.
        changes: the neighbours, by rising carbon.
    """

    estimate: Estimate
    bound_share: Mapping[str, float]
    busy_share: Mapping[str, float]
    utilization: float
    energy_share: Mapping[str, float]
    waiting_share: float
    idle_energy_share: float
    missing_bytes: int
    changes: tuple[Change, ...]

    def best(self, quantity: str, *, outlook: bool = False) -> Change | None:
        """The change that saves most of a quantity; None if none saves `WORTH_IT` of it.

        Args:
            quantity: one of `QUANTITIES`.
            outlook: whether to look among the changes to the arithmetic instead of the others.
        """
        some = [change for change in self.changes if change.outlook is outlook]
        found = min(some, key=lambda change: change.relative[quantity], default=None)
        return found if found is not None and found.relative[quantity] <= -WORTH_IT else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data with stable keys: the numbers of `explain` in `estimate --json`."""
        best = {quantity: self.best(quantity) for quantity in QUANTITIES}
        return {
            "bound_share": dict(self.bound_share),
            "busy_share": dict(self.busy_share),
            "utilization": self.utilization,
            "energy_share": dict(self.energy_share),
            "waiting_share": self.waiting_share,
            "idle_energy_share": self.idle_energy_share,
            "missing_bytes": self.missing_bytes,
            "helps_most": {name: None if found is None else found.to_dict() for name, found in best.items()},
            "changes": [change.to_dict() for change in self.changes],
        }


def explain(estimate: Estimate) -> Explanation:
    """What binds a design, and what would help it most.

    Args:
        estimate: the design, as `design.estimate` gives it.

    Returns:
        Shares of time and energy, and every neighbour with its costs.
    """
    cost = estimate.cost
    cycles = sum(row.cycles for row in cost.rows)
    bound = {name: sum(row.cycles for row in cost.rows if row.bound == name) / cycles for name in RESOURCES}
    busy = {name: sum(row.busy_cycles[name] for row in cost.rows) / cycles for name in RESOURCES}
    parts = {name: sum(row.energy_split_j[name] for row in cost.rows) / cost.energy_j for name in ENERGY_PARTS}
    idle_j = estimate.life_energy_j - cost.energy_j
    return Explanation(
        estimate=estimate,
        bound_share=bound,
        busy_share=busy,
        utilization=sum(row.utilization * row.cycles for row in cost.rows) / cycles,
        energy_share=parts,
        waiting_share=max(0.0, 1 - cost.latency_s / estimate.scenario.period_s),
        idle_energy_share=idle_j / estimate.life_energy_j,
        missing_bytes=0 if cost.resident else round(cost.needed_bytes - cost.buffer_bytes),
        changes=tuple(_changes(estimate)),
    )


@dataclass(frozen=True, slots=True)
class _Neighbour:
    """A design that differs in one thing from the one that is explained."""

    name: str
    before: Mapping[str, float | str]
    after: Mapping[str, float | str]
    accelerator: Accelerator
    technology: Technology
    work: Workload
    outlook: bool = False


def _changes(estimate: Estimate) -> list[Change]:
    """Every neighbour that can be built, evaluated, by rising carbon."""
    own = {
        "latency": estimate.latency_s,
        "energy": estimate.energy_j,
        "area": estimate.cost.area_m2,
        "carbon": estimate.total_kg,
    }
    changes = []
    neighbours = [*_accelerators(estimate), *_memories(estimate), *_precisions(estimate)]
    for _, group in groupby(neighbours, key=lambda n: (id(n.technology), id(n.work))):
        for neighbour, found, row in _evaluated(list(group), estimate):
            values = {name: found.of(name, row) for name in QUANTITIES}
            changes.append(
                Change(
                    name=neighbour.name,
                    before=neighbour.before,
                    after=neighbour.after,
                    outlook=neighbour.outlook,
                    weights_on_chip=bool(found.resident[row]),
                    meets_rate=values["latency"] <= estimate.scenario.period_s,
                    values=values,
                    relative={name: values[name] / own[name] - 1 for name in QUANTITIES},
                )
            )
    return sorted(changes, key=lambda change: change.relative["carbon"])


def _evaluated(group: list[_Neighbour], estimate: Estimate) -> Iterator[tuple[_Neighbour, DesignTable, int]]:
    """Neighbours of one technology and workload with their costs: in one go, or by turns if one cannot be built."""
    first = group[0]
    table = AcceleratorTable.of(neighbour.accelerator for neighbour in group)
    try:
        scenario = with_room(estimate.asked or estimate.scenario, first.work, table)
        found = evaluate(first.work, table, first.technology, scenario)
    except InputError:
        if len(group) > 1:
            for neighbour in group:
                yield from _evaluated([neighbour], estimate)
        return
    for row, neighbour in enumerate(group):
        yield neighbour, found, row


def _accelerators(estimate: Estimate) -> Iterator[_Neighbour]:
    """Other values of the accelerator's attributes."""
    machine, tech = estimate.accelerator, estimate.technology
    work = estimate.workload
    seen = {machine}

    def neighbour(name: str, **after: float) -> Iterator[_Neighbour]:
        try:
            other = replace(machine, **after)  # type: ignore[arg-type]
        except InputError:  # outside what the component tables can cost
            return
        if other not in seen:
            seen.add(other)
            before = {key: getattr(machine, key) for key in after}
            yield _Neighbour(name, before, after, other, tech, work)

    for name in REQUIRED:
        value = getattr(machine, name)
        more, less = _NAMES[name]
        yield from neighbour(more, **{name: 2 * value})
        if not LIMITS[name].step or value % 2 == 0:
            yield from neighbour(less, **{name: value // 2 if LIMITS[name].step else value / 2})
    yield from neighbour(_NAMES["cores"][0], cores=machine.cores + 1)
    yield from neighbour(_NAMES["cores"][1], cores=machine.cores - 1)
    if machine.pe_y % 2 == 0:
        yield from neighbour("array reshaped", pe_x=2 * machine.pe_x, pe_y=machine.pe_y // 2)
    if machine.pe_x % 2 == 0:
        yield from neighbour("array reshaped", pe_x=machine.pe_x // 2, pe_y=2 * machine.pe_y)
    if not estimate.cost.resident:
        holding = math.ceil(estimate.cost.needed_bytes / BUFFER_STEP_BYTES) * BUFFER_STEP_BYTES / MIB
        yield from neighbour("global buffer that just holds the model", global_mib=holding)
    for name in OPTIONAL:
        yield from _supplies(machine, tech, work, *_NAMES[name])


def _supplies(machine: Accelerator, tech: Technology, work: Workload, more: str, less: str) -> Iterator[_Neighbour]:
    """A step up and down from the supply, and the lowest and highest at which the chip works."""
    now = tech.voltage_v if machine.voltage_v is None else machine.voltage_v
    low, high = tech.voltage_low_v, tech.voltage_high_v
    near = (round(now + step, 6) for step in (-VOLTAGE_STEP_V, VOLTAGE_STEP_V))
    for volts in sorted({low, high, *(v for v in near if low < v < high)} - {now}):
        other = replace(machine, voltage_v=volts)
        yield _Neighbour(more if volts > now else less, {"voltage_v": now}, {"voltage_v": volts}, other, tech, work)


def _memories(estimate: Estimate) -> Iterator[_Neighbour]:
    """Other kinds of DRAM, where there is one. What making it emits stays the scenario's."""
    if estimate.cost.resident:
        return
    work = estimate.workload
    own = estimate.technology.dram.name
    for kind in DRAM_NAMES:
        if kind not in (own, "paper"):
            tech = estimate.technology.with_dram(kind)
            yield _Neighbour(f"DRAM of kind {kind}", {"dram": own}, {"dram": kind}, estimate.accelerator, tech, work)


def _precisions(estimate: Estimate) -> Iterator[_Neighbour]:
    """Weights, activations or both at fewer bits, where they have more."""
    work = estimate.workload
    own = {name: max((getattr(operator, name) for operator in work), default=0) for name in _WIDTHS}
    for chosen in (("weight_bits",), ("activation_bits",), ("weight_bits", "activation_bits")):
        before = {name: own[name] for name in chosen if own[name] > FEW_BITS}
        if len(before) == len(chosen):
            name = f"{' and '.join(_WIDTHS[c] for c in chosen)} at {FEW_BITS} bits"
            after = dict.fromkeys(chosen, FEW_BITS)
            narrow = work.with_bits(**after)
            yield _Neighbour(name, before, after, estimate.accelerator, estimate.technology, narrow, outlook=True)
