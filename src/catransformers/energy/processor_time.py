"""Attribution of a package's energy to a process: a counter counts all of it, a process is charged by its time.

share = processor time of this process / processor time of everybody on the machine, since the meter started. The shares
of all processes add up to one, so workers side by side are not counted twice, and what the package takes at rest
falls on those who keep it awake. In a container whose /proc/stat shows only the container the share comes out too
large, never too small.

Source: proc_stat(5); the same rule as in Scaphandre and Kepler (share of a package's energy by processor time).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

STAT = Path("/proc/stat")
#: Columns of the line `cpu` that are work: user, nice, system, irq, softirq (guests are in user and nice already).
BUSY = (0, 1, 2, 5, 6)


def busy_seconds(stat: Path = STAT) -> float | None:
    """Processor time of everybody since the machine started, s; None where nobody says."""
    try:
        with stat.open(encoding="ascii") as file:
            fields = file.readline().split()
        return sum(int(fields[1 + column]) for column in BUSY) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return _busy_elsewhere()


def _busy_elsewhere() -> float | None:
    """The same where there is no /proc, if psutil happens to be installed (codecarbon brings it)."""
    try:
        import psutil  # noqa: PLC0415 - optional
    except ImportError:
        return None
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0))


class ProcessorShare:
    """The share of this process in the machine's processor time since it was made."""

    def __init__(self, stat: Path = STAT) -> None:
        self._stat = stat
        self._own, self._all = time.process_time(), busy_seconds(stat)

    def value(self) -> float:
        """From 0 to 1; 1 where the machine does not tell what others do."""
        now = busy_seconds(self._stat)
        if now is None or self._all is None or now <= self._all:
            return 1.0
        return min(1.0, (time.process_time() - self._own) / (now - self._all))
