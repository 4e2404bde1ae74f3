"""On-chip memories: energy, leakage and area of a buffer of a given size and bandwidth.

A buffer that moves W words a cycle is built of `slices` that are accessed together, each `word_bits` wide, so that
slices × word_bits covers W words; a slice is a stack of as few equal macros (`depth`) as keep up with the clock, one of
which is accessed. Macros come from a CACTI 7 table (22 nm, 350 K) by interpolation of the logarithms between sizes;
wires from the macros to the buffer's port (half the side of the buffer) come on top. Of all organisations that can
start an access each cycle, the one with the least energy × area is taken, of low-standby-power cells where those keep
up with the clock, else of low-operating-power, else of high-performance cells.

Approximations: one read/write port; a macro below the smallest of the table costs as much as that one; an access is
pipelined, so that only the cycle time, not the access time, must fit the clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from catransformers.errors import InputError, Problem
from catransformers.facts import rows
from catransformers.hardware.technology import Technology
from catransformers.units import KIB, MILLI, NANO, PICO, UM2_PER_M2

#: Cell kinds of the table in order of preference (least leakage first).
DEVICES = ("itrs-lstp", "itrs-lop", "itrs-hp")
#: Macros that a slice may be stacked of.
_DEPTHS = (1, 2, 4, 8, 16, 32, 64)
_MEASURED = ("read_nJ", "write_nJ", "leak_w", "area_mm2", "cycle_ns")


@dataclass(frozen=True, slots=True)
class Sram:
    """A buffer of `size_bytes`: energy of a byte read or written, leakage, area, and how it is built."""

    size_bytes: float
    read_j_per_byte: float
    write_j_per_byte: float
    leakage_w: float
    area_m2: float
    device: str
    slices: int
    depth: int
    word_bits: int


@dataclass(frozen=True, slots=True)
class _Series:
    """Rows of one device and word width by size: log2 of the size (S,), log of each measured quantity (S, 5)."""

    log_sizes: npt.NDArray[np.float64]
    log_values: npt.NDArray[np.float64]


@cache
def _cacti() -> dict[tuple[str, int], _Series]:
    """The table's single-bank, delay-energy optimised rows by device and word width."""
    grouped: dict[tuple[str, int], list[tuple[float, ...]]] = {}
    for row in rows("sram_cacti7_22nm"):
        if row["banks"] != "1" or row["optimize"] != "ED^2":
            continue
        leak_w = (float(row["leak_bank_mW"]) + float(row["gate_leak_bank_mW"])) * MILLI
        values = (
            float(row["size_B"]),
            float(row["read_nJ"]),
            float(row["write_nJ"]),
            leak_w,
            float(row["area_mm2"]),
            float(row["cycle_ns"]),
        )
        grouped.setdefault((row["device"], int(row["word_bits"])), []).append(values)
    series = {}
    for key, entries in grouped.items():
        array = np.array(sorted(entries))
        series[key] = _Series(np.log2(array[:, 0]), np.log(array[:, 1:]))
    return series


def _macro(device: str, word_bits: int, size_bytes: float) -> dict[str, float] | None:
    """One macro by interpolation; None if it is larger than the table's largest."""
    series = _cacti()[device, word_bits]
    x = math.log2(size_bytes)
    if x > series.log_sizes[-1]:
        return None
    return {name: math.exp(np.interp(x, series.log_sizes, series.log_values[:, i])) for i, name in enumerate(_MEASURED)}


def _cacti_sram(size_bytes: float, bytes_per_cycle: float, frequency_hz: float, wire_j_per_bit_m: float) -> Sram:
    """The best organisation of the first device that keeps up with the clock."""
    widths = sorted({w for _, w in _cacti()})
    bits = max(2 ** math.ceil(math.log2(8 * bytes_per_cycle)), widths[0])
    for device in DEVICES:
        best: tuple[float, Sram] | None = None
        for width in widths:
            slices = bits // width
            if slices < 1:
                continue
            for depth in _DEPTHS:
                macro = _macro(device, width, size_bytes / slices / depth)
                if macro is None or macro["cycle_ns"] * NANO * frequency_hz > 1:
                    continue
                macros = slices * depth
                area_m2 = macros * macro["area_mm2"] * 1e-6
                wire = wire_j_per_bit_m * math.sqrt(area_m2) / 2 * 8
                read, write = (macro[k] * NANO / width * 8 + wire for k in ("read_nJ", "write_nJ"))
                merit = (read + write) * area_m2
                if best is None or merit < best[0]:
                    leak_w = macros * macro["leak_w"]
                    best = merit, Sram(size_bytes, read, write, leak_w, area_m2, device, slices, depth, width)
                break
        if best is not None:
            return best[1]
    raise InputError(
        Problem(
            "technology.frequency_mhz",
            f"{frequency_hz / 1e6:g} MHz is faster than any SRAM of {size_bytes / KIB:g} KiB in the table",
            hint="lower the clock or the buffer's size",
        )
    )


@cache
def _paper_table(level: str) -> npt.NDArray[np.float64]:
    """log2 size, log area in m², log energy in J a word; one row a size."""
    entries = [
        (float(r["size_bytes"]), float(r["area_um2"]) / UM2_PER_M2, float(r["word_energy_pj"]) * PICO)
        for r in rows("sram_paper")
        if r["level"] == level
    ]
    array = np.array(sorted(entries))
    return np.column_stack([np.log2(array[:, 0]), np.log(array[:, 1:])])


def _paper_sram(size_bytes: float, level: str) -> Sram:
    """The published tool's buffer: log-log interpolation, the end slopes beyond its sizes, no leakage."""
    table = _paper_table(level)
    x = math.log2(size_bytes)
    i = int(np.clip(np.searchsorted(table[:, 0], x) - 1, 0, len(table) - 2))
    share = (x - table[i, 0]) / (table[i + 1, 0] - table[i, 0])
    area, energy = np.exp(table[i, 1:] + share * (table[i + 1, 1:] - table[i, 1:]))
    return Sram(size_bytes, float(energy), float(energy), 0.0, float(area), "paper", 1, 1, 8)


@cache
def _sram(
    size_bytes: float, bytes_per_cycle: float, level: str, kind: str, frequency_hz: float, wire_j_per_bit_m: float
) -> Sram:
    if kind == "paper":
        return _paper_sram(size_bytes, level)
    return _cacti_sram(size_bytes, bytes_per_cycle, frequency_hz, wire_j_per_bit_m)


def sram(size_bytes: float, bytes_per_cycle: float, level: str, tech: Technology) -> Sram:
    """The buffer of a size and bandwidth in a technology.

    Args:
        size_bytes: capacity, bytes.
        bytes_per_cycle: bytes that one cycle reads or writes.
        level: `local` or `global`; only the table of the technology `paper` tells them apart.
        tech: the technology.

    Raises:
        InputError: if no SRAM of the table keeps up with the clock.
    """
    found = _sram(size_bytes, bytes_per_cycle, level, tech.sram, tech.frequency_hz, tech.wire_j_per_bit_m)
    return Sram(
        found.size_bytes,
        found.read_j_per_byte * tech.sram_energy_scale,
        found.write_j_per_byte * tech.sram_energy_scale,
        found.leakage_w * tech.sram_leakage_scale,
        found.area_m2 * tech.sram_area_scale,
        found.device,
        found.slices,
        found.depth,
        found.word_bits,
    )
