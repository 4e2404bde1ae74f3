"""Accelerators in a technology, as the cost functions read them: bandwidths, energies and powers in arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catransformers.hardware.accelerator import AcceleratorTable, FloatArray, IntArray, distinct_rows
from catransformers.hardware.area import local_bytes, memories
from catransformers.hardware.mapping import Arrays
from catransformers.hardware.power import PowerTable, power_table
from catransformers.hardware.technology import Technology
from catransformers.hardware.voltage import relative_dynamic_energy
from catransformers.workloads.operators import VectorOp


@dataclass(frozen=True, slots=True, eq=False)
class Machines:
    """A accelerators in one technology; arrays (A,), energies in J a byte, bandwidths in bytes a cycle.

    Args:
        tech: the technology.
        arrays: the U distinct arrays with their local buffers, and
        array_of: which of them each accelerator has.
        cores, pes, lanes: counts.
        local_bandwidth: of one core's local buffer.
        global_bytes: the global buffer.
        local_read_j, local_write_j, global_read_j, global_write_j: energies.
        power: what is drawn whatever is computed.
        frequency_hz: clock.
        dynamic: energy of switching relative to the technology's nominal supply (memories have it in them).
        dram_bandwidth: bytes a cycle.
    """

    tech: Technology
    arrays: Arrays
    array_of: IntArray
    cores: FloatArray
    pes: FloatArray
    lanes: FloatArray
    local_bandwidth: FloatArray
    global_bytes: FloatArray
    local_read_j: FloatArray
    local_write_j: FloatArray
    global_read_j: FloatArray
    global_write_j: FloatArray
    power: PowerTable
    frequency_hz: FloatArray
    dynamic: FloatArray
    dram_bandwidth: FloatArray

    def __len__(self) -> int:
        return len(self.cores)

    @classmethod
    def of(cls, table: AcceleratorTable, tech: Technology) -> Machines:
        """The accelerators of a table.

        Raises:
            InputError: if no SRAM keeps up with the clock, or for a supply that the chip does not work at.
        """
        built = local_bytes(table, tech)
        keys = np.column_stack([table.cores, table.pe_x, table.pe_y, built])
        distinct, array_of = distinct_rows(keys)
        cores, pe_x, pe_y = distinct[:, :3].T.astype(np.int64)
        memory, power = memories(table, tech), power_table(table, tech)
        dynamic = relative_dynamic_energy(tech.voltages(table.voltage_v), tech.voltage_v)
        frequency = tech.frequency_at(table.voltage_v)
        return cls(
            tech,
            Arrays(cores, pe_x, pe_y, distinct[:, 3]),
            array_of,
            table.cores.astype(np.float64),
            table.pes.astype(np.float64),
            (table.cores * table.pe_x).astype(np.float64),
            table.local_bandwidth.astype(np.float64),
            table.global_bytes,
            memory.local_read_j * dynamic,
            memory.local_write_j * dynamic,
            memory.global_read_j * dynamic,
            memory.global_write_j * dynamic,
            power,
            frequency,
            dynamic,
            tech.dram.bandwidth / frequency,
        )

    def cycle_j(self, streamed: bool) -> FloatArray:
        """What a cycle takes whatever is computed, J (A,): leakage, clock, and the background of a DRAM."""
        power_w = self.power.leakage_w + (self.tech.dram.background_w if streamed else 0.0)
        return power_w / self.frequency_hz + self.power.clock_j

    def fill_cycles(self, streamed: bool) -> FloatArray:
        """First fill and last drain of the memories: two operands' and the result's first line cross both buffers.

        A line is as wide as a buffer's port, one cycle; of DRAM it takes as long as its bandwidth makes it. (What the
        array itself needs to fill and drain is in the cycles of its folds.)
        """
        lines = 2.0 + 1.0
        on_chip = np.full(len(self), 2 * lines)
        return on_chip + 2 * self.tech.global_bandwidth / self.dram_bandwidth if streamed else on_chip


#: Activations that an operator reads, by kind; an embedding reads its table alone.
OPERANDS = {"softmax": 1, "norm": 1, "activation": 1, "add": 2, "multiply": 2, "rotary": 1, "embedding": 0}


@dataclass(frozen=True, slots=True)
class VectorWork:
    """What one run of a vector operator does: lane steps a value, values, and bytes at each level.

    `in_bytes` are all operands, `stored_bytes` those of them that are weights (norm gains, tables).
    """

    steps: float
    values: float
    in_bytes: float
    stored_bytes: float
    out_bytes: float
    local_read: float
    local_write: float

    @classmethod
    def of(cls, operator: VectorOp, tech: Technology) -> VectorWork:
        """The work of one of the operator's `count` runs.

        Operands come from the global buffer, are held in the local one, read as often as the kind has passes, and
        the result goes back the same way.
        """
        values = float(operator.rows) * operator.columns
        result = values * operator.activation_bits / 8
        stored_values = values if operator.kind == "embedding" else float(operator.weight_values)
        stored = stored_values * operator.weight_bits / 8
        activations = OPERANDS[operator.kind]
        if operator.kind in ("add", "multiply") and stored:  # the second operand is a table
            activations = 1
        operands = result * activations + stored
        passes = tech.vector_passes[operator.kind]
        return cls(
            tech.vector_operations[operator.kind],
            values,
            operands,
            stored,
            result,
            operands * passes + result,
            operands + result,
        )
