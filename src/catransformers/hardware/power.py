"""Power that is drawn whatever is computed: leakage and clock while the chip runs, what is left of them while it waits.

While an operator runs, all of the die leaks and all of its logic is clocked, idle elements too. While the chip waits
for its next inference, it is at room temperature, its clock is stopped and its logic and buffers are power gated, but
for the global buffer where that holds the weights; a DRAM refreshes itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from catransformers.hardware.accelerator import AcceleratorTable, FloatArray
from catransformers.hardware.area import die_area, memories
from catransformers.hardware.technology import Technology
from catransformers.hardware.voltage import relative_dynamic_energy, relative_leakage


@dataclass(frozen=True, slots=True, eq=False)
class PowerTable:
    """Power of each accelerator, W, arrays (A,), at its own supply.

    Args:
        leakage_w: of the die while it runs.
        clock_j: of the clock in each cycle while it runs, J.
        idle_resident_w: while it waits, with the weights in its global buffer.
        idle_streamed_w: while it waits, with the weights in DRAM, whose self refresh is included.
    """

    leakage_w: FloatArray
    clock_j: FloatArray
    idle_resident_w: FloatArray
    idle_streamed_w: FloatArray

    def idle_w(self, resident: npt.ArrayLike) -> FloatArray:
        """Power while waiting, as `resident` (booleans that broadcast with (A,)) says."""
        return np.where(np.asarray(resident, dtype=np.bool_), self.idle_resident_w, self.idle_streamed_w)


def power_table(table: AcceleratorTable, tech: Technology) -> PowerTable:
    """What each accelerator draws beside its work.

    Raises:
        InputError: if no SRAM keeps up with the clock, or for a supply that the chip does not work at.
    """
    memory, area = memories(table, tech), die_area(table, tech)
    supply = tech.voltages(table.voltage_v)
    leaks, switches = relative_leakage(supply, tech.voltage_v), relative_dynamic_energy(supply, tech.voltage_v)
    lanes = table.cores * table.pe_x
    logic = area.mac + lanes * tech.lane_area_m2 + area.overhead
    gated = (logic * tech.logic_leakage_w_per_m2 + table.cores * memory.local_leakage_w) * leaks
    shared = memory.global_leakage_w * leaks
    clock = (table.pes * tech.clock_j_per_pe + lanes * tech.clock_j_per_lane) * switches
    dark, kept = tech.idle_gated_share, tech.idle_retained_share
    return PowerTable(
        leakage_w=gated + shared,
        clock_j=clock,
        idle_resident_w=gated * dark + shared * kept,
        idle_streamed_w=(gated + shared) * dark + tech.dram.self_refresh_w,
    )


def energy_with_idle_j(
    energy_j: npt.ArrayLike, latency_s: npt.ArrayLike, idle_w: npt.ArrayLike, period_s: float
) -> FloatArray:
    """Energy of an inference and of the wait for the next one, J.

    Args:
        energy_j, latency_s: of the inference; all arguments broadcast.
        idle_w: power while waiting.
        period_s: time from one inference to the next; where the inference takes longer there is no wait.
    """
    wait_s = np.maximum(period_s - np.asarray(latency_s), 0.0)
    return np.asarray(energy_j + np.asarray(idle_w) * wait_s, dtype=np.float64)
