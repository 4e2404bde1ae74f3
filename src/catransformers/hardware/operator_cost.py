"""Cycles and energy of one operator on many accelerators at once, by its best mapping on each.

cycles = max(array, local buffer, global buffer, DRAM, vector unit) + first fill + last drain: everything is double
buffered, so that the slowest resource sets the pace. energy = MACs, registers, every byte that crosses each boundary,
and the leakage and the clock of the whole die for as long as the operator runs: idle parts leak and are clocked too.
(What the chip takes between inferences is in `power`.)

*Resident* weights live in the global buffer with the activations: no DRAM traffic, and no power of the DRAM. Otherwise
weights are read from DRAM in each inference, and activations too where they do not fit (`offchip`); the DRAM's
background power is charged while the chip runs. Buffers have one port: reads and writes share the bandwidth, in words
of 8 bits (a narrower value takes its part of a word).

Fusion: an activation, a residual sum or a gate's product right after a matrix product takes its values as they leave
the array, and so does a softmax if the result's tile has whole rows. It then moves nothing but the other operand, and
costs only the cycles by which it outlasts the product. Every other vector operator runs by itself, from and to the
global buffer. A product's mapping is chosen for itself, not for what rides on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isclose
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from catransformers.hardware.flows import CELL_COSTS, Prices
from catransformers.hardware.machine import Machines, VectorWork
from catransformers.hardware.mapping import CHOICES, GemmShape, Mappings, search
from catransformers.hardware.offchip import gemm_traffic
from catransformers.workloads.operators import Gemm, Operator, VectorOp, Workload

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

Objective = Literal["edp", "latency", "energy"]
OBJECTIVES: tuple[str, ...] = get_args(Objective)

#: Parts of an operator's energy, and resources that may bind it; both in the order of the arrays below.
ENERGY_PARTS = ("mac", "register", "vector", "local", "global", "dram", "clock", "leakage")
RESOURCES = ("compute", "local", "global", "dram", "vector")

#: Mappings × accelerators evaluated at once, to bound memory.
_CHUNK = 500_000

#: Kinds of vector operators that may ride on a product, and whether they need whole rows of its result.
_FUSABLE = {"activation": False, "add": False, "multiply": False, "softmax": True}


@dataclass(frozen=True, slots=True)
class Item:
    """An operator with what rides on it: `rider` is a vector operator fused to the product `operator`, if any."""

    operator: Operator
    rider: VectorOp | None = None

    @property
    def groups(self) -> float:
        """How many groups of the operator run one after another."""
        op = self.operator
        return op.count / op.parallel if isinstance(op, Gemm) else float(op.count)

    @property
    def key(self) -> tuple[object, ...]:
        """All that the cost of one group depends on: items of one key are costed once."""
        return tuple(
            (GemmShape.of(op), op.weight_bits, op.activation_bits)
            if isinstance(op, Gemm)
            else (op.kind, op.rows, op.columns, op.activation_bits, op.weight_values, op.weight_bits)
            for op in (self.operator, self.rider)
            if op is not None
        )


def items(workload: Workload) -> Iterator[Item]:
    """The operators of a workload in order, fused where the rule allows."""
    operators = list(workload)
    at = 0
    while at < len(operators):
        here, following = operators[at], operators[at + 1] if at + 1 < len(operators) else None
        if (
            isinstance(here, Gemm)
            and isinstance(following, VectorOp)
            and following.kind in _FUSABLE
            and following.component == here.component
            and isclose(following.count * here.parallel, here.count)  # counts of a fractional number of texts
            and following.rows * following.columns == here.parallel * here.m * here.n
            and following.columns == here.n
        ):
            yield Item(here, following)
            at += 2
        else:
            yield Item(here)
            at += 1


@dataclass(frozen=True, slots=True, eq=False)
class GroupCost:
    """One group of an operator on A machines.

    Args:
        cycles: (A,).
        times: cycles that each of `RESOURCES` is busy, (5, A).
        energies: J by `ENERGY_PARTS`, (8, A).
        choices: the mapping by `mapping.CHOICES`, (11, A); zeros for a vector operator.
        traffic: of a product, bytes by `TRAFFIC`, (5, A).
    """

    cycles: FloatArray
    times: FloatArray
    energies: FloatArray
    choices: IntArray
    traffic: FloatArray

    @property
    def energy_j(self) -> FloatArray:
        """Total energy, (A,)."""
        return np.asarray(self.energies.sum(axis=0))


#: Bytes of a product that cross: local buffers to arrays, partial sums there each way, global to local buffers, partial
#: sums from there to the global one, DRAM.
TRAFFIC = (*CELL_COSTS[1:], "dram_bytes")


def _prices(machines: Machines) -> Prices:
    """Bounds on what bytes cost on any of the machines."""
    read = machines.local_read_j
    written = machines.local_write_j / read
    return Prices(
        float(written.min()),
        float(written.max()),
        float((machines.global_read_j / read).min()),
        float((machines.global_write_j / read).min()),
    )


def mappings_of(gemm: Gemm, machines: Machines) -> Mappings:
    """The undominated mappings of a product on the machines' distinct arrays."""
    return search(
        GemmShape.of(gemm),
        machines.arrays,
        _prices(machines),
        partial_bytes=machines.tech.partial_sum_bytes,
        systolic=machines.tech.array == "systolic",
        accumulators=machines.tech.accumulators,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Fixed:
    """What no mapping of a product changes, (A,) each.

    Args:
        floor: cycles of DRAM and vector unit.
        shared: bytes through the global buffer beside the refills.
        base_j: energy.
        cycle_j: energy of each cycle: leakage, clock and the DRAM's background.
        fill: cycles of first fill and last drain.
    """

    floor: FloatArray
    shared: FloatArray
    base_j: FloatArray
    cycle_j: FloatArray
    fill: FloatArray


def _best_mapping(mappings: Mappings, machines: Machines, fixed: _Fixed, objective: Objective) -> IntArray:
    """The best mapping for each machine, (A,) indices into the mappings; of equal ones the better in the other cost."""
    tech = machines.tech
    sizes = np.diff(mappings.starts)[machines.array_of]
    best = np.empty(len(machines), dtype=np.int64)
    bounds = [int(b) for b in np.flatnonzero(np.diff(np.cumsum(sizes) // _CHUNK, prepend=-1))]
    read_j, both_j = machines.local_read_j, machines.local_read_j + machines.local_write_j
    refill_j = machines.local_write_j + machines.global_read_j
    spill_j = machines.local_read_j + machines.global_write_j
    for low, high in zip(bounds, [*bounds[1:], len(machines)], strict=True):
        a = slice(low, high)
        size = sizes[a]
        first = np.concatenate([[0], np.cumsum(size)[:-1]])
        row = np.repeat(np.arange(high - low), size)
        at = np.arange(len(row)) - first[row] + mappings.starts[machines.array_of[a]][row]
        compute, core, operand, partial, refill, spill = mappings.costs[:, at]
        cycles = np.maximum(compute, core / machines.local_bandwidth[a][row])
        cycles = np.maximum(cycles, (refill + spill + fixed.shared[a][row]) / tech.global_bandwidth)
        cycles = np.maximum(cycles, fixed.floor[a][row]) + fixed.fill[a][row]
        energy = operand * read_j[a][row] + partial * both_j[a][row] + refill * refill_j[a][row]
        energy += spill * spill_j[a][row] + fixed.base_j[a][row] + cycles * fixed.cycle_j[a][row]
        if objective == "edp":
            score, tie = cycles * energy, cycles
        elif objective == "latency":
            score, tie = cycles, energy
        else:
            score, tie = energy, cycles
        least = np.minimum.reduceat(score, first)
        near = np.where(score <= least[row] * (1 + 1e-12), tie, np.inf)
        hits = np.flatnonzero(near == np.minimum.reduceat(near, first)[row])
        owners = row[hits]
        best[a] = at[hits[np.concatenate([[True], owners[1:] != owners[:-1]])]]
    return best


def gemm_cost(gemm: Gemm, mappings: Mappings, machines: Machines, resident: bool, objective: Objective) -> GroupCost:
    """One group of `parallel` products on every machine, by its best mapping there."""
    tech, shape = machines.tech, GemmShape.of(gemm)
    if resident:
        dram_in = dram_out = np.zeros(len(machines))
    else:
        dram_in, dram_out = gemm_traffic(shape, machines.global_bytes, tech.partial_sum_bytes)
    result = shape.parallel * shape.c_bytes
    values = float(shape.parallel * shape.m * shape.n)
    macs = values * shape.k
    widths = round(8 * shape.weight_bytes), round(8 * shape.input_bytes)
    mac_j = macs * tech.mac_j(*widths) * machines.dynamic
    register_j = macs * tech.register_j(*widths) * machines.dynamic
    vector_j = values * tech.vector_operation_j * machines.dynamic
    dram_time = (dram_in + dram_out) / machines.dram_bandwidth
    vector_time = np.ceil(values / machines.lanes)  # bias, scale and rounding of each finished value: one step
    dram_j = (dram_in + dram_out) * tech.dram.energy_j_per_byte
    local_j = result * (machines.local_read_j + machines.local_write_j)
    global_j = (result + dram_in) * machines.global_write_j + dram_out * machines.global_read_j
    fixed = _Fixed(
        floor=np.maximum(dram_time, vector_time),
        shared=result + dram_in + dram_out,
        base_j=mac_j + register_j + vector_j + dram_j + local_j + global_j,
        cycle_j=machines.cycle_j(not resident),
        fill=machines.fill_cycles(not resident),
    )
    best = _best_mapping(mappings, machines, fixed, objective)
    compute, core, operand, partial, refill, spill = mappings.costs[:, best]
    times = np.stack(
        [
            compute,
            core / machines.local_bandwidth,
            (refill + spill + fixed.shared) / tech.global_bandwidth,
            dram_time,
            vector_time,
        ]
    )
    cycles = times.max(axis=0) + fixed.fill
    read, write = machines.local_read_j, machines.local_write_j
    energies = np.stack(
        [
            mac_j,
            register_j,
            vector_j,
            local_j + (operand + spill) * read + partial * (read + write) + refill * write,
            global_j + refill * machines.global_read_j + spill * machines.global_write_j,
            dram_j,
            np.zeros(len(machines)),
            np.zeros(len(machines)),
        ]
    )
    _add_standing(energies, cycles, machines, resident)
    traffic = np.stack([operand, partial, refill, spill, dram_in + dram_out])
    return GroupCost(cycles, times, energies, mappings.choices[:, best], traffic)


def vector_cost(operator: VectorOp, machines: Machines, resident: bool) -> GroupCost:
    """One run of a vector operator by itself on every machine."""
    tech, work = machines.tech, VectorWork.of(operator, machines.tech)
    spilled = _spilled(work, machines, resident)
    dram_in, dram_out = spilled * (work.in_bytes - work.stored_bytes), spilled * work.out_bytes
    if not resident:  # gains and tables lie in DRAM, wherever the activations do
        dram_in = dram_in + work.stored_bytes
    moved = dram_in + dram_out
    times = np.stack(
        [
            np.zeros(len(machines)),
            (work.local_read + work.local_write) / (machines.cores * machines.local_bandwidth),
            (work.in_bytes + work.out_bytes + moved) / tech.global_bandwidth,
            moved / machines.dram_bandwidth,
            np.ceil(work.values / machines.lanes) * work.steps,
        ]
    )
    energies = _vector_energies(work, machines)
    energies[3] = work.local_read * machines.local_read_j + work.local_write * machines.local_write_j
    energies[4] = (work.in_bytes + dram_out) * machines.global_read_j
    energies[4] += (work.out_bytes + dram_in) * machines.global_write_j
    energies[5] = moved * tech.dram.energy_j_per_byte
    return _vector_group(times, times.max(axis=0) + machines.fill_cycles(not resident), energies, machines, resident)


def rider_cost(operator: VectorOp, host: GroupCost, gemm: Gemm, machines: Machines, resident: bool) -> GroupCost:
    """What one run of a vector operator adds to the product that it rides on; alone where it cannot ride.

    Args:
        operator: the vector operator.
        host: the cost of one group of the product.
        gemm: the product.
        machines: A accelerators.
        resident: whether weights stay on chip.
    """
    tech, work = machines.tech, VectorWork.of(operator, machines.tech)
    other = work.in_bytes - work.out_bytes  # the second operand of a sum or a gate
    stored = 0.0 if resident else work.stored_bytes
    dram = stored + _spilled(work, machines, resident) * (other - work.stored_bytes)
    added = np.stack(
        [
            np.zeros(len(machines)),
            2 * other / (machines.cores * machines.local_bandwidth),
            (other + dram) / tech.global_bandwidth,
            dram / machines.dram_bandwidth,
            np.ceil(work.values / machines.lanes) * work.steps,
        ]
    )
    cycles = np.maximum((host.times + added).max(axis=0) - host.times.max(axis=0), 0.0)
    energies = _vector_energies(work, machines)
    energies[3] = other * (machines.local_read_j + machines.local_write_j)
    energies[4] = other * machines.global_read_j + dram * machines.global_write_j
    energies[5] = dram * tech.dram.energy_j_per_byte
    ride = _vector_group(added, cycles, energies, machines, resident)
    if not _FUSABLE[operator.kind]:
        return ride
    rows_whole = host.choices[CHOICES.index("tile_n")] == gemm.n  # then no cores share n either
    alone = vector_cost(operator, machines, resident)
    return GroupCost(
        np.where(rows_whole, ride.cycles, alone.cycles),
        np.where(rows_whole, ride.times, alone.times),
        np.where(rows_whole, ride.energies, alone.energies),
        ride.choices,
        ride.traffic,
    )


def _spilled(work: VectorWork, machines: Machines, resident: bool) -> FloatArray:
    """1 where a vector operator's operands lie in DRAM, (A,): where they exceed half of the global buffer.

    Results overwrite their operands, so that they need no room of their own.
    """
    activations = work.in_bytes - work.stored_bytes
    return np.asarray(~np.bool_(resident) & (activations > machines.global_bytes / 2), dtype=np.float64)


def _vector_energies(work: VectorWork, machines: Machines) -> FloatArray:
    """An array (8, A) with the lanes' energy in its place and zeros elsewhere."""
    energies = np.zeros((len(ENERGY_PARTS), len(machines)))
    energies[2] = work.values * work.steps * machines.tech.vector_operation_j * machines.dynamic
    return energies


def _add_standing(energies: FloatArray, cycles: FloatArray, machines: Machines, resident: bool) -> None:
    """Add what is taken in each of the cycles whatever is computed: background of the DRAM, clock, leakage."""
    seconds = cycles / machines.frequency_hz
    energies[5] += seconds * (0.0 if resident else machines.tech.dram.background_w)
    energies[6] += cycles * machines.power.clock_j
    energies[7] += seconds * machines.power.leakage_w


def _vector_group(
    times: FloatArray, cycles: FloatArray, energies: FloatArray, machines: Machines, resident: bool
) -> GroupCost:
    """A vector operator's cost: what its cycles take whatever is computed comes on top of `energies`."""
    _add_standing(energies, cycles, machines, resident)
    none = np.zeros((len(CHOICES), len(machines)), dtype=np.int64)
    return GroupCost(cycles, times, energies, none, np.zeros((len(TRAFFIC), len(machines))))


def item_cost(item: Item, machines: Machines, residencies: tuple[bool, ...], objective: Objective) -> list[GroupCost]:
    """One group of an item on every machine: the operator's and then the rider's cost, for each residency in turn."""
    op, rider = item.operator, item.rider
    if isinstance(op, VectorOp):
        return [vector_cost(op, machines, resident) for resident in residencies]
    mappings = mappings_of(op, machines)
    costs = []
    for resident in residencies:
        costs.append(gemm_cost(op, mappings, machines, resident, objective))
        if rider is not None:
            costs.append(rider_cost(rider, costs[-1], op, machines, resident))
    return costs
