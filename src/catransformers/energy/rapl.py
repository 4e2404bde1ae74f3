"""`rapl`: the energy counters of x86 processor packages, straight from Linux's powercap files.

One zone a package, with a memory zone inside it on many servers. Each counter counts microjoules up to its range and
starts again at zero: at 200 W a range of 262 kJ lasts 22 minutes, so it is sampled far more often than that. Other
zones of the tree (cores, uncore) are inside the package, or (`psys`, `intel-rapl-mmio`) another view of the same.

Not covered: disks, fans, power supply, and memory where it has no zone.

Source: Linux kernel, Documentation/power/powercap/powercap.rst. Since Linux 5.10 only root may read `energy_uj`
(CVE-2020-8694: the counters leak what a processor computes).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from catransformers.carbon.ranges import Range
from catransformers.energy.processor_time import STAT, ProcessorShare
from catransformers.energy.reading import MeterUnavailableError, Reading, reading_of
from catransformers.facts import facts
from catransformers.units import MICRO

POWERCAP = Path("/sys/class/powercap")
#: Counters of two dies of a package that are this close are one counter seen twice, as some processors show it.
SAME_UJ, DIE = 1_000_000, "-die-"
PERMIT = (
    "an administrator may allow it until the next start with `chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj`; "
    "on a shared machine mind CVE-2020-8694"
)


@dataclass(frozen=True, slots=True)
class Zone:
    """One counter: its name, its file, and where it wraps, µJ (None if it does not say)."""

    name: str
    counter: Path
    range_uj: int | None

    def read(self) -> int:
        """The counter now, µJ."""
        return int(self.counter.read_text(encoding="ascii"))


def find_zones(root: Path = POWERCAP) -> list[Zone]:
    """The package zones, and the memory zones in them.

    Raises:
        MeterUnavailableError: if there is none, or a package cannot be read.
    """
    packages, memories = [], []
    for folder in sorted(root.glob("intel-rapl:*")):
        try:
            name = (folder / "name").read_text(encoding="ascii").strip()
        except OSError:
            continue
        zone = Zone(name, folder / "energy_uj", _range(folder / "max_energy_range_uj"))
        if name.startswith("package"):
            packages.append(zone)
        elif name == "dram":
            memories.append(zone)
    if not packages:
        raise MeterUnavailableError(
            f"no RAPL counter in {root}",
            "it needs Linux on an Intel or AMD processor with the module intel_rapl_common; virtual machines and most "
            "containers have none",
        )
    unreadable = [str(zone.counter) for zone in packages if _value(zone) is None]
    if unreadable:
        raise MeterUnavailableError(f"{', '.join(unreadable)} cannot be read", PERMIT)
    return [*_distinct(packages), *(zone for zone in memories if _value(zone) is not None)]


def _range(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _value(zone: Zone) -> int | None:
    try:
        return zone.read()
    except (OSError, ValueError):
        return None


def _distinct(zones: list[Zone]) -> list[Zone]:
    """The zones without dies that mirror another die's counter."""
    kept: list[tuple[int, Zone]] = []
    for zone in zones:
        value = _value(zone) or 0
        if not any(DIE in zone.name and DIE in other.name and abs(value - own) < SAME_UJ for own, other in kept):
            kept.append((value, zone))
    return [zone for _, zone in kept]


class RaplMeter:
    """Energy of the processor packages (and memory that has a counter), by this process's share of processor time.

    Args:
        root: the powercap folder.
        stat: whence the machine's processor time is read.
    """

    name = "rapl"
    interval_s = 5.0

    def __init__(self, root: Path = POWERCAP, stat: Path = STAT) -> None:
        self._root, self._stat = root, stat
        self._zones: list[Zone] = []
        self._last: dict[Path, int | None] = {}
        self._joules, self._lost = 0.0, 0

    def start(self) -> None:
        """Begin.

        Raises:
            MeterUnavailableError: if no counter can be read.
        """
        self._zones = find_zones(self._root)
        self._last = {zone.counter: _value(zone) for zone in self._zones}
        self._share, self._began = ProcessorShare(self._stat), time.monotonic()
        self._taken, self._until = 1.0, self._began

    def sample(self) -> None:
        """Add what each counter counted since the last call, across a wrap."""
        for zone in self._zones:
            before, now = self._last[zone.counter], _value(zone)
            self._last[zone.counter] = now
            if before is None or now is None or (now < before and zone.range_uj is None):
                self._lost += 1
                continue
            counted = now - before if now >= before else now + zone.range_uj - before  # type: ignore[operator]
            self._joules += counted * MICRO
        self._taken, self._until = self._share.value(), time.monotonic()

    def reading(self) -> Reading:
        """What was spent up to the last sample."""
        spread = Range.of(facts("own_footprint")["rapl_relative"])
        packages = sum(zone.name != "dram" for zone in self._zones)
        memory = "memory included" if packages < len(self._zones) else "memory not included"
        detail = (
            f"energy counters of {packages} processor package{'s' * (packages > 1)} ({memory}): "
            f"{100 * self._taken:.0f} % of {self._joules:.4g} J by share of processor time"
        )
        if self._lost:
            detail += f"; {self._lost} intervals could not be read and are not counted"
        seconds = self._until - self._began
        return reading_of(self._joules * self._taken, spread, "measured", self.name, detail, seconds)

    def stop(self) -> Reading:
        """Take a last sample and say what was spent."""
        self.sample()
        return self.reading()
