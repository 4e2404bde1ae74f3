"""`estimate`: no meter at all. Processor time × power of a core + memory × power of a gigabyte, with wide ranges.

    E = t_cpu·P_core + ∫ resident memory dt · P_GB        (and on a GPU: t_wall·P_GPU)

Always labelled an estimate. The constants and their ranges are in `data/own_footprint.csv`; low and high take all
constants at their low or high end at once. Only what the process itself uses is counted: nothing of the machine's rest.

Reference: the form of L. Lannelongue et al., "Green Algorithms", Advanced Science 2021, equation 1 (with measured
processor time in the place of cores × usage).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from catransformers.carbon.ranges import Range
from catransformers.energy.reading import Reading
from catransformers.facts import facts
from catransformers.units import GIGA, KIB

STATM = Path("/proc/self/statm")


def resident_bytes() -> float:
    """Memory of this process that is in RAM, bytes: now on Linux, at its peak on other systems, 0 where unknown."""
    try:
        return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        pass
    if sys.platform == "win32":
        return 0.0
    import resource  # noqa: PLC0415 - not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) if sys.platform == "darwin" else float(peak * KIB)


def processor_energy(cpu_s: float, memory_gb_s: float = 0.0) -> Range:
    """Energy of that much processor time and memory held, J: low, typical, high.

    Args:
        cpu_s: processor time over all threads, s.
        memory_gb_s: resident memory × time, GB·s.
    """
    table = facts("own_footprint")
    core, memory = Range.of(table["core_power"]), Range.of(table["memory_power"])
    return Range(
        cpu_s * core.low + memory_gb_s * memory.low,
        cpu_s * core.typical + memory_gb_s * memory.typical,
        cpu_s * core.high + memory_gb_s * memory.high,
    )


class ProcessorEstimate:
    """Energy of this process's processor time and memory."""

    name = "estimate"
    interval_s = 5.0

    def start(self) -> None:
        """Begin; always possible."""
        self._began = self._until = time.monotonic()
        self._cpu = time.process_time()
        self._cpu_s = self._memory_gb_s = 0.0

    def sample(self) -> None:
        """Add the memory held since the last call; processor time adds itself up."""
        now = time.monotonic()
        self._memory_gb_s += resident_bytes() / GIGA * (now - self._until)
        self._cpu_s, self._until = time.process_time() - self._cpu, now

    def reading(self) -> Reading:
        """What was spent up to the last sample."""
        seconds = self._until - self._began
        energy = processor_energy(self._cpu_s, self._memory_gb_s)
        table = facts("own_footprint")
        held = self._memory_gb_s / seconds if seconds else 0.0
        detail = (
            f"{self._cpu_s:.4g} s of processor time at {table['core_power'].value:g} W a core and {held:.2g} GB of "
            f"memory at {table['memory_power'].value:g} W a GB"
        )
        return Reading(energy.typical, energy.low, energy.high, 0.0, "estimated", self.name, detail, seconds)

    def stop(self) -> Reading:
        """Take a last sample and say what was spent."""
        self.sample()
        return self.reading()


class GpuEstimate:
    """Energy of one GPU that nobody can measure: a power of such boards for as long as the work runs."""

    name = "estimate"
    interval_s = 5.0

    def start(self) -> None:
        """Begin; always possible."""
        self._began = self._until = time.monotonic()

    def sample(self) -> None:
        """Let time pass."""
        self._until = time.monotonic()

    def reading(self) -> Reading:
        """What was spent up to the last sample."""
        power, seconds = Range.of(facts("own_footprint")["gpu_power"]), self._until - self._began
        detail = f"one GPU at {power.typical:g} W ({power.low:g} to {power.high:g} W) for {seconds:.4g} s"
        low, typical, high = power.low * seconds, power.typical * seconds, power.high * seconds
        return Reading(typical, low, high, 0.0, "estimated", self.name, detail, seconds)

    def stop(self) -> Reading:
        """Say what was spent."""
        self.sample()
        return self.reading()
