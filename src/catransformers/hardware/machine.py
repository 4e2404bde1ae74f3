"""Accelerators in a technology, as the cost functions read them: bandwidths, energies and powers in arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catransformers.hardware.accelerator import AcceleratorTable, FloatArray, IntArray
from catransformers.hardware.area import leakage_w, local_bytes, memories
from catransformers.hardware.mapping import Arrays
from catransformers.hardware.technology import Technology
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
        leakage_w: of the die.
        dram_bandwidth: bytes a cycle, one number.
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
    leakage_w: FloatArray
    dram_bandwidth: float

    def __len__(self) -> int:
        return len(self.cores)

    @classmethod
    def of(cls, table: AcceleratorTable, tech: Technology) -> Machines:
        """The accelerators of a table.

        Raises:
            InputError: if no SRAM keeps up with the clock.
        """
        built = local_bytes(table, tech)
        keys = np.column_stack([table.cores, table.pe_x, table.pe_y, built])
        distinct, array_of = np.unique(keys, axis=0, return_inverse=True)
        cores, pe_x, pe_y = distinct[:, :3].T.astype(np.int64)
        memory = memories(table, tech)
        return cls(
            tech,
            Arrays(cores, pe_x, pe_y, distinct[:, 3]),
            array_of.ravel(),
            table.cores.astype(np.float64),
            table.pes.astype(np.float64),
            (table.cores * table.pe_x).astype(np.float64),
            table.local_bandwidth.astype(np.float64),
            table.global_bytes,
            memory.local_read_j,
            memory.local_write_j,
            memory.global_read_j,
            memory.global_write_j,
            leakage_w(table, tech),
            tech.dram.bandwidth / tech.frequency_hz,
        )

    def fill_cycles(self, streamed: bool) -> float:
        """First fill and last drain of the memories: two operands' and the result's first line cross both buffers.

        A line is as wide as a buffer's port, one cycle; of DRAM it takes as long as its bandwidth makes it. (What the
        array itself needs to fill and drain is in the cycles of its folds.)
        """
        lines = 2.0 + 1.0
        return 2 * lines + (2 * self.tech.global_bandwidth / self.dram_bandwidth if streamed else 0.0)


#: Operands that an operator reads, by kind.
OPERANDS = {"softmax": 1, "norm": 1, "activation": 1, "add": 2, "embedding": 1}


@dataclass(frozen=True, slots=True)
class VectorWork:
    """What one run of a vector operator does: lane steps a value, values, and bytes at each level."""

    steps: float
    values: float
    in_bytes: float
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
        operands = result * OPERANDS[operator.kind]
        passes = tech.vector_passes[operator.kind]
        return cls(
            tech.vector_operations[operator.kind],
            values,
            operands,
            result,
            operands * passes + result,
            operands + result,
        )
