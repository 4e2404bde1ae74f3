"""Energy reading of a meter: joules with their range, and whether they were measured or estimated.

Measured means read from a counter or sensor of the machine while the work ran. Everything else is an estimate,
whatever the tool that made it calls it; a sum is measured only if all of its parts are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from catransformers.carbon.ranges import Range
from catransformers.errors import CatransformersError

Quality = Literal["measured", "estimated"]


class MeterUnavailableError(CatransformersError):
    """A meter that cannot be used here: why, and what would make it usable."""

    def __init__(self, reason: str, mend: str = "") -> None:
        self.reason, self.mend = reason, mend
        super().__init__(f"{reason} ({mend})" if mend else reason)


@dataclass(frozen=True, slots=True)
class Reading:
    """An energy that was spent.

    Args:
        energy_j: typical value.
        low_j: least value that the meter's uncertainty allows.
        high_j: greatest such value.
        measured_j: how much of `energy_j` was measured.
        quality: of the whole.
        method: names of the meters, joined by `+`.
        detail: how it came about, in words.
        seconds: wall time that it covers.
    """

    energy_j: float
    low_j: float
    high_j: float
    measured_j: float
    quality: Quality
    method: str
    detail: str
    seconds: float


class Meter(Protocol):
    """Counts energy between `start` and `stop`.

    To add one: a class made from nothing, and its row in `catransformers.registry`, or in another package's entry
    points, group `catransformers.meters`. One that meters the GPU, not the processor, says `part = "cuda"`.

    `name` is that of the method, `interval_s` the longest time that may pass between two calls of `sample`.
    """

    name: str
    interval_s: float

    def start(self) -> None:
        """Begin.

        Raises:
            MeterUnavailableError: if the meter cannot be used here.
        """
        ...

    def sample(self) -> None:
        """Take in what was spent since the last call; counters wrap and sensors forget."""
        ...

    def reading(self) -> Reading:
        """What was spent up to the last sample."""
        ...

    def stop(self) -> Reading:
        """Take a last sample, let go of everything, and say what was spent."""
        ...


def reading_of(energy_j: float, spread: Range, quality: Quality, method: str, detail: str, seconds: float) -> Reading:
    """A reading of one meter whose range is `energy_j` times a relative `spread`."""
    measured = energy_j if quality == "measured" else 0.0
    low, high = energy_j * spread.low, energy_j * spread.high
    return Reading(energy_j, low, high, measured, quality, method, detail, seconds)


def total(readings: Sequence[Reading]) -> Reading:
    """Several parts of one machine over the same time, as one reading; ranges add up end to end."""
    if len(readings) == 1:
        return readings[0]
    return Reading(
        energy_j=sum(part.energy_j for part in readings),
        low_j=sum(part.low_j for part in readings),
        high_j=sum(part.high_j for part in readings),
        measured_j=sum(part.measured_j for part in readings),
        quality="measured" if all(part.quality == "measured" for part in readings) else "estimated",
        method="+".join(dict.fromkeys(part.method for part in readings)),
        detail="; ".join(f"{part.energy_j:.4g} J {part.quality}: {part.detail}" for part in readings),
        seconds=max((part.seconds for part in readings), default=0.0),
    )
