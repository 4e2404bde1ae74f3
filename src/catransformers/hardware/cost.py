"""Latency and energy of workloads: one on one accelerator, operator by operator, or many on a whole space.

The cost of a workload is the sum over its operators and linear in their counts, so that layers × one layer + stem is
exact. Operators run one after another (what is fused or overlaps is said in `operator_cost`); of the mappings that
`mapping.search` leaves, each operator takes the best for the objective on each accelerator. Every distinct operator is
costed once, for weights resident on chip and for weights streamed from DRAM; which of the two holds is a flag of
model × accelerator (`fits_on_chip`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from catransformers.errors import InputError, Problem, Problems, unknown_name
from catransformers.hardware.accelerator import Accelerator, AcceleratorTable
from catransformers.hardware.area import cells, die_area
from catransformers.hardware.dataflow import DATAFLOWS, DIMENSIONS
from catransformers.hardware.machine import Machines
from catransformers.hardware.operator_cost import (
    ENERGY_PARTS,
    OBJECTIVES,
    RESOURCES,
    TRAFFIC,
    GroupCost,
    Item,
    Objective,
    gemm_cost,
    item_cost,
    items,
    mappings_of,
)
from catransformers.hardware.technology import Technology
from catransformers.workloads.operators import Gemm, Operator, Workload

if TYPE_CHECKING:
    from catransformers.hardware.cache import OperatorCache

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class CostTable:
    """Costs of W workloads on A accelerators: `latency_s` and `energy_j`, (W, A) each, leakage included."""

    latency_s: FloatArray
    energy_j: FloatArray


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """What all `count` runs of one operator cost; of a vector operator m × n are its rows × columns and k is 1.

    A vector operator that rides on the product before it has only the cycles that it adds.

    Args:
        name, component, kind, m, k, n, count: what runs.
        cycles, latency_s: of all runs.
        utilization: share of the multipliers' peak.
        bound: the resource, of `RESOURCES`, that sets the pace.
        energy_j: of all runs; `energy_split_j` by `ENERGY_PARTS` sums up to it.
        busy_cycles: cycles that each resource is busy; the array with its padding and skew is `compute`.
        bytes_moved: bytes through the local buffers (as the slowest core's, in all cores), the global one, and DRAM.
    """

    name: str
    component: str
    kind: str
    m: int
    k: int
    n: int
    count: float
    cycles: float
    latency_s: float
    utilization: float
    bound: str
    energy_j: float
    energy_split_j: dict[str, float]
    busy_cycles: dict[str, float]
    bytes_moved: dict[str, float]


@dataclass(frozen=True, slots=True)
class WorkloadCost:
    """What one inference costs, and the accelerator as it is built.

    Args:
        resident: whether the weights stay on chip.
        latency_s, energy_j: totals over the rows.
        idle_w: power while waiting for the next inference.
        area_m2: of the die; `area_split_m2` by block sums up to it.
        memories: kind of the cells of the local and the global buffer.
        needed_bytes: weights and working set, to be compared with
        buffer_bytes: the global buffer.
        frequency_hz: clock.
        rows: the operators.
    """

    resident: bool
    latency_s: float
    energy_j: float
    idle_w: float
    area_m2: float
    area_split_m2: dict[str, float]
    memories: dict[str, str]
    needed_bytes: float
    buffer_bytes: float
    frequency_hz: float
    rows: tuple[OperatorCost, ...]

    @property
    def peak_power_w(self) -> float:
        """The mean power of the operator that draws most, what rides on it included, W."""
        groups: list[tuple[float, float]] = []
        for row in self.rows:
            rides = row.cycles < max(row.busy_cycles.values()) * (1 - 1e-9)
            if rides and groups:
                energy, seconds = groups.pop()
                groups.append((energy + row.energy_j, seconds + row.latency_s))
            else:
                groups.append((row.energy_j, row.latency_s))
        return max((energy / seconds for energy, seconds in groups if seconds > 0), default=0.0)


@dataclass(frozen=True, slots=True)
class GemmMapping:
    """The best mapping of one product, what it costs, and what it moves.

    Args:
        cores: how many share the products, their m and their n.
        flow: what stays in the array, the name of a `Dataflow`.
        swapped: whether the first array dimension (m; for weights or inputs that stay, k) lies on pe_y instead of pe_x.
        held: folds that registers hold along either array dimension.
        tile: m, k, n of the tile in a local buffer.
        innermost: dimension of the innermost loop around it.
        cycles, latency_s, energy_j, utilization: cost, and share of the peak.
        bound: the resource that binds.
        energy_split_j: J by part.
        accesses: bytes over each boundary, of all cores.
    """

    cores: tuple[int, int, int]
    flow: str
    swapped: bool
    held: tuple[int, int]
    tile: tuple[int, int, int]
    innermost: str
    cycles: float
    latency_s: float
    energy_j: float
    utilization: float
    bound: str
    energy_split_j: dict[str, float]
    accesses: dict[str, float]


def fits_on_chip(
    weight_bytes: npt.ArrayLike, activation_bytes: npt.ArrayLike, table: AcceleratorTable
) -> npt.NDArray[np.bool_]:
    """Whether weights and working set fit together in the global buffer.

    Args:
        weight_bytes, activation_bytes: bytes; scalars, or arrays (…, 1) or (A,) that broadcast with the table.
        table: A accelerators.

    Returns:
        Booleans (…, A). Where False, the design needs a DRAM.
    """
    return np.asarray(np.add(weight_bytes, activation_bytes) <= table.global_bytes)


def _check(objective: str) -> None:
    if objective not in OBJECTIVES:
        raise InputError(unknown_name("objective", "mapping objective", objective, OBJECTIVES))


def _cache(folder: str, table: AcceleratorTable, tech: Technology, objective: Objective) -> OperatorCache:
    from catransformers.hardware.cache import OperatorCache  # noqa: PLC0415 - hashlib; `estimate` has no cache

    return OperatorCache.open(folder, table, tech, objective)


def cost_tables(
    workloads: Sequence[Workload],
    table: AcceleratorTable,
    tech: Technology,
    *,
    objective: Objective = "edp",
    cache_dir: str | None = None,
) -> tuple[CostTable, CostTable]:
    """Costs of W workloads on A accelerators with weights resident on chip, and streamed: (resident, streamed).

    Both come from one mapping search. Whether a workload's weights fit is `fits_on_chip`'s matter.

    Args:
        workloads: what runs; equal operators are costed once.
        table: the accelerators.
        tech: their technology.
        objective: what each operator's mapping minimises.
        cache_dir: folder of a cache of operators' costs, created if need be; None for none.

    Raises:
        InputError: for an unknown objective, a folder that cannot be used, or a clock that no SRAM keeps up with.
    """
    _check(objective)
    machines = Machines.of(table, tech)
    cache = None if cache_dir is None else _cache(cache_dir, table, tech, objective)
    distinct = {item.key: item for workload in workloads for item in items(workload)}

    def cost_of(item: Item) -> FloatArray:
        known = cache.load(item.key) if cache else None
        if known is not None:
            return known
        found = group_cost(item, machines, objective)
        if cache:
            cache.store(item.key, found)
        return found

    costs = {key: cost_of(item) for key, item in distinct.items()}
    totals = np.zeros((len(workloads), 4, len(table)))
    for at, workload in enumerate(workloads):
        for item in items(workload):
            totals[at] += item.groups * costs[item.key]
    return CostTable(totals[:, 0], totals[:, 1]), CostTable(totals[:, 2], totals[:, 3])


def group_cost(item: Item, machines: Machines, objective: Objective = "edp") -> FloatArray:
    """Latency and energy of one group of an item, resident and then streamed, (4, A); a workload is a sum of these."""
    found = item_cost(item, machines, (True, False), objective)
    half = len(found) // 2
    rows = []
    for part in (found[:half], found[half:]):
        rows.append(sum(cost.cycles for cost in part) / machines.frequency_hz)
        rows.append(np.asarray(sum(cost.energy_j for cost in part)))
    return np.stack(rows)


def cost_table(
    workloads: Sequence[Workload],
    table: AcceleratorTable,
    tech: Technology,
    *,
    resident: bool,
    objective: Objective = "edp",
    cache_dir: str | None = None,
) -> CostTable:
    """Costs of W workloads on A accelerators for one residency; `cost_tables` gives both for the price of one.

    Args:
        workloads, table, tech, objective, cache_dir: as for `cost_tables`.
        resident: whether the weights stay on chip.

    Raises:
        InputError: as for `cost_tables`.
    """
    both = cost_tables(workloads, table, tech, objective=objective, cache_dir=cache_dir)
    return both[0] if resident else both[1]


def _row(operator: Operator, groups: float, cost: GroupCost, machines: Machines) -> OperatorCost:
    """All runs of one operator on one machine, from the cost of one group."""
    if isinstance(operator, Gemm):
        kind, m, k, n, macs = "gemm", operator.m, operator.k, operator.n, operator.macs
    else:
        kind, m, k, n, macs = operator.kind, operator.rows, 1, operator.columns, 0
    cycles = groups * float(cost.cycles[0])
    busy = {name: groups * float(cost.times[i, 0]) for i, name in enumerate(RESOURCES)}
    bandwidths = {
        "local": float(machines.cores[0] * machines.local_bandwidth[0]),
        "global": machines.tech.global_bandwidth,
        "dram": float(machines.dram_bandwidth[0]),
    }
    return OperatorCost(
        operator.name,
        operator.component,
        kind,
        m,
        k,
        n,
        operator.count,
        cycles,
        cycles / float(machines.frequency_hz[0]),
        macs / (cycles * float(machines.pes[0])) if cycles else 0.0,
        RESOURCES[int(np.argmax(cost.times[:, 0]))],
        groups * float(cost.energy_j[0]),
        {part: groups * float(cost.energies[i, 0]) for i, part in enumerate(ENERGY_PARTS)},
        busy,
        {name: busy[name] * bandwidth for name, bandwidth in bandwidths.items()},
    )


def estimate_workload(
    workload: Workload, accelerator: Accelerator, tech: Technology, objective: Objective = "edp"
) -> WorkloadCost:
    """One inference of a workload on one accelerator, operator by operator.

    Weights are resident on chip if they fit beside the working set. The totals are sums over the rows and equal the
    entry of `cost_table`.

    Raises:
        InputError: for an unknown objective, a clock that no SRAM keeps up with, or a supply that the chip does not
            work at.
    """
    _check(objective)
    table = AcceleratorTable.of([accelerator])
    machines = Machines.of(table, tech)
    resident = bool(fits_on_chip(workload.weight_bytes, workload.activation_bytes, table)[0])
    known: dict[tuple[object, ...], list[GroupCost]] = {}
    rows: list[OperatorCost] = []
    for item in items(workload):
        if item.key not in known:
            known[item.key] = item_cost(item, machines, (resident,), objective)
        parts = (item.operator,) if item.rider is None else (item.operator, item.rider)
        rows += [
            _row(operator, item.groups, cost, machines) for operator, cost in zip(parts, known[item.key], strict=True)
        ]
    area = die_area(table, tech)
    return WorkloadCost(
        resident=resident,
        latency_s=sum(row.latency_s for row in rows),
        energy_j=sum(row.energy_j for row in rows),
        idle_w=float(machines.power.idle_w(resident)[0]),
        area_m2=float(area.total[0]),
        area_split_m2=area.parts(0),
        memories=cells(accelerator, tech),
        needed_bytes=workload.weight_bytes + workload.activation_bytes,
        buffer_bytes=float(table.global_bytes[0]),
        frequency_hz=float(machines.frequency_hz[0]),
        rows=tuple(rows),
    )


def map_gemm(
    m: int,
    k: int,
    n: int,
    accelerator: Accelerator,
    tech: Technology,
    objective: Objective = "edp",
    *,
    parallel: int = 1,
    weights: bool = True,
    weight_bits: int = 8,
    activation_bits: int = 8,
    resident: bool = True,
) -> GemmMapping:
    """The best mapping of `parallel` independent (m × k)·(k × n) products on one accelerator.

    Args:
        m, k, n: rows of the result, reduction length, columns of the result.
        accelerator, tech: the machine.
        objective: what the mapping minimises.
        parallel: independent products of this shape that run together.
        weights: whether the (k × n) operand is stored weights.
        weight_bits, activation_bits: widths of the values.
        resident: whether weights and activations are on chip; else they come through DRAM where they must.

    Raises:
        InputError: for an unknown objective or a size or width below 1, all at once.
    """
    given = {
        "m": m,
        "k": k,
        "n": n,
        "parallel": parallel,
        "weight_bits": weight_bits,
        "activation_bits": activation_bits,
    }
    problems = Problems(
        Problem(name, f"{value} is below 1", "integers from 1") for name, value in given.items() if value < 1
    )
    if objective not in OBJECTIVES:
        problems.append(unknown_name("objective", "mapping objective", objective, OBJECTIVES))
    problems.finish()
    gemm = Gemm("gemm", "", m, k, n, parallel, weights, False, weight_bits, activation_bits, parallel)
    machines = Machines.of(AcceleratorTable.of([accelerator]), tech)
    cost = gemm_cost(gemm, mappings_of(gemm, machines), machines, resident, objective)
    row = _row(gemm, 1.0, cost, machines)
    over_p, over_m, over_n, flow, swapped, held_1, held_2, tile_m, tile_k, tile_n, innermost = (
        int(value) for value in cost.choices[:, 0]
    )
    return GemmMapping(
        (over_p, over_m, over_n),
        DATAFLOWS[flow].name,
        bool(swapped),
        (held_1, held_2),
        (tile_m, tile_k, tile_n),
        DIMENSIONS[innermost],
        row.cycles,
        row.latency_s,
        row.energy_j,
        row.utilization,
        row.bound,
        row.energy_split_j,
        {name: float(value) for name, value in zip(TRAFFIC, cost.traffic[:, 0], strict=True)},
    )
