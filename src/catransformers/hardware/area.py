"""Silicon area of accelerators: arrays, buffers, vector units, and a stated overhead.

area = overhead · (PEs·(MAC + registers) + cores·local + vector + global), with the parts of `Technology` and `sram`.
With the SRAM table `paper` it is the published tool's sum, to 0.1 %: its vector units own a second local buffer, and a
local buffer is raised to at least pe_x·pe_y/64 KiB, to 128 KiB for 256 × 16 and to 256 KiB for 256 × 32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from catransformers.hardware.accelerator import Accelerator, AcceleratorTable, FloatArray, distinct_rows
from catransformers.hardware.sram import Sram, sram
from catransformers.hardware.technology import Technology
from catransformers.units import KIB


@dataclass(frozen=True, slots=True, eq=False)
class AreaTable:
    """Area of each accelerator's parts, m², arrays (A,); `total` is their sum."""

    mac: FloatArray
    local: FloatArray
    vector: FloatArray
    global_: FloatArray
    overhead: FloatArray
    total: FloatArray

    def parts(self, index: int) -> dict[str, float]:
        """One accelerator's parts by name, m²; their sum is its total."""
        names = {"mac": "mac", "local": "local", "vector": "vector", "global": "global_", "overhead": "overhead"}
        return {name: float(getattr(self, attribute)[index]) for name, attribute in names.items()}


@dataclass(frozen=True, slots=True, eq=False)
class MemoryTable:
    """What the memories of each accelerator cost, arrays (A,): J a byte read or written, leakage in W, area in m².

    `local_…` is one core's local buffer; its leakage and area count one buffer too. All at the nominal voltage.
    """

    local_read_j: FloatArray
    local_write_j: FloatArray
    local_leakage_w: FloatArray
    local_area_m2: FloatArray
    global_read_j: FloatArray
    global_write_j: FloatArray
    global_leakage_w: FloatArray
    global_area_m2: FloatArray


def local_bytes(table: AcceleratorTable, tech: Technology) -> FloatArray:
    """Bytes of one core's local buffer as built, (A,): as asked for, except in the published tool's technology."""
    asked = table.local_bytes
    if tech.sram != "paper":
        return asked
    pes = table.pe_x * table.pe_y
    floor = pes / 64 * KIB
    floor = np.where((table.pe_x == 256) & (table.pe_y == 16), 128 * KIB, floor)
    floor = np.where((table.pe_x == 256) & (table.pe_y == 32), 256 * KIB, floor)
    return np.maximum(asked, floor)


def _lookup(sizes: FloatArray, bandwidths: FloatArray, level: str, tech: Technology) -> list[FloatArray]:
    """Read and write energy, leakage and area for each row, from one look-up for each distinct pair."""
    pairs, inverse = distinct_rows(np.column_stack([sizes, bandwidths]))
    found: list[Sram] = [sram(float(s), float(b), level, tech) for s, b in pairs]
    columns = np.array([(m.read_j_per_byte, m.write_j_per_byte, m.leakage_w, m.area_m2) for m in found])
    columns = columns.reshape(-1, 4)
    return [columns[inverse, i] for i in range(4)]


def memories(table: AcceleratorTable, tech: Technology) -> MemoryTable:
    """The buffers of each accelerator in a technology.

    Raises:
        InputError: if no SRAM keeps up with the clock.
    """
    local = _lookup(local_bytes(table, tech), table.local_bandwidth.astype(np.float64), "local", tech)
    shared = _lookup(table.global_bytes, np.full(len(table), tech.global_bandwidth), "global", tech)
    return MemoryTable(*local, *shared)


def cells(accelerator: Accelerator, tech: Technology) -> dict[str, str]:
    """The kind of the SRAM cells of the local and of the global buffer of one accelerator.

    Raises:
        InputError: if no SRAM keeps up with the clock.
    """
    table = AcceleratorTable.of([accelerator])
    local = sram(float(local_bytes(table, tech)[0]), float(accelerator.local_bandwidth), "local", tech)
    return {
        "local": local.device,
        "global": sram(float(table.global_bytes[0]), tech.global_bandwidth, "global", tech).device,
    }


def die_area(table: AcceleratorTable, tech: Technology) -> AreaTable:
    """Area of every accelerator of a table.

    Args:
        table: A accelerators.
        tech: the technology.

    Returns:
        Arrays (A,) in m².

    Raises:
        InputError: if no SRAM keeps up with the clock.
    """
    memory = memories(table, tech)
    mac = np.asarray(table.pes * tech.pe_area_m2, dtype=np.float64)
    local = table.cores * memory.local_area_m2
    vector = np.asarray(table.cores * table.pe_x * tech.lane_area_m2, dtype=np.float64)
    if tech.sram == "paper":
        vector = vector + table.cores * memory.local_area_m2
    parts = mac + local + vector + memory.global_area_m2
    overhead = tech.area_overhead * parts
    return AreaTable(mac, local, vector, memory.global_area_m2, overhead, parts + overhead)
