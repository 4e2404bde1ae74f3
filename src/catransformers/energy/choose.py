"""Choice of the energy meter: `[execution] measure`, and what is there.

The work's processor and, on `device = "cuda"`, its GPU each have a meter; a reading is their sum. `auto` takes the
best there is for each (`rapl`, or CodeCarbon where it really measures; `nvml`) and else the estimate. A name asks for
that meter and takes the best there is for the other part; one that is not there is an error, never another meter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from catransformers.energy.codecarbon_meter import CodecarbonMeter
from catransformers.energy.estimate import GpuEstimate, ProcessorEstimate
from catransformers.energy.reading import Meter, MeterUnavailableError, Reading, total
from catransformers.errors import InputError, Problem
from catransformers.registry import METERS

if TYPE_CHECKING:
    from catransformers.config.sections import ExecutionSection

PROCESSOR, GPU = "processor", "cuda"
ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True)
class MeterAvailability:
    """Whether a meter can be used here: what it would say of its readings, or why not and what would mend that."""

    name: str
    usable: bool
    detail: str
    mend: str = ""


class Together:
    """Several meters as one; `missing` says which better ones could not be used."""

    def __init__(self, parts: list[Meter], missing: tuple[str, ...]) -> None:
        self._parts, self.missing = parts, missing
        self.name = "+".join(part.name for part in parts)
        self.interval_s = min(part.interval_s for part in parts)

    def sample(self) -> None:
        """Have every part take a sample."""
        for part in self._parts:
            part.sample()

    def reading(self) -> Reading:
        """The sum of the parts."""
        return total([part.reading() for part in self._parts])

    def stop(self) -> Reading:
        """Stop every part; their sum."""
        return total([part.stop() for part in self._parts])


def start_meter(measure: str, device: str) -> Together | None:
    """Start what `[execution] measure` asks for, for work on a device; None for `off`.

    Raises:
        MeterUnavailableError: if a meter is asked for by name and cannot be used here.
    """
    if measure == "off":
        return None
    missing: list[str] = []
    named = _named(measure)
    processor = _first(named.get(PROCESSOR) or _processor_meters(measure), missing, named=PROCESSOR in named)
    parts = [processor]
    if device == GPU:
        try:
            parts.append(_first(named.get(GPU) or _gpu_meters(measure), missing, named=GPU in named))
        except MeterUnavailableError:
            processor.stop()
            raise
    return Together(parts, tuple(missing))


def _named(measure: str) -> dict[str, list[Callable[[], Meter]]]:
    """The meter that is asked for by name, by what it meters; empty for `auto` and `estimate`."""
    if measure in ("auto", ESTIMATE):
        return {}
    meter: Callable[[], Meter] = METERS.find(measure)
    return {_part(meter): [meter]}


def _part(meter: Callable[[], Meter]) -> str:
    return getattr(meter, "part", PROCESSOR)


def _processor_meters(measure: str) -> list[Callable[[], Meter]]:
    if measure == ESTIMATE:
        return [ProcessorEstimate]
    if sys.platform == "linux":
        return [METERS["rapl"], ProcessorEstimate]  # CodeCarbon measures nothing more there
    return [_SensingCodecarbon, ProcessorEstimate]


def _gpu_meters(measure: str) -> list[Callable[[], Meter]]:
    return [GpuEstimate] if measure == ESTIMATE else [METERS["nvml"], GpuEstimate]


def _first(makers: list[Callable[[], Meter]], missing: list[str], *, named: bool) -> Meter:
    """The first that starts; why the ones before it did not is added to `missing`."""
    for make in makers:
        meter = make()
        try:
            meter.start()
        except MeterUnavailableError as error:
            if named:
                raise
            missing.append(f"{meter.name}: {error.reason}")
            continue
        return meter
    raise MeterUnavailableError("no meter can be used here")  # cannot be: the last of every list is an estimate


class _SensingCodecarbon(CodecarbonMeter):
    """CodeCarbon only if it really measures: an estimate with a stated range is better than one without."""

    def start(self) -> None:
        """Begin.

        Raises:
            MeterUnavailableError: also if CodeCarbon would only estimate.
        """
        super().start()
        if self.quality != "measured":
            super().stop()
            raise MeterUnavailableError("CodeCarbon finds no sensor here and would only estimate")


def problems_of(section: ExecutionSection) -> list[Problem]:
    """What is wrong with `[execution] measure` on this machine."""
    try:
        if section.device != GPU and section.measure != "off" and GPU in _named(section.measure):
            what = f"{section.measure!r} measures GPUs, and this study runs on the CPU"
            others = [name for name, meter in METERS.items() if _part(meter) != GPU]
            return [Problem("execution.measure", what, ", ".join(["auto", "off", *others]))]
        meter = start_meter(section.measure, section.device)
    except InputError as error:
        return list(error.problems)
    except MeterUnavailableError as error:
        what = f"{section.measure!r} cannot be used here: {error.reason}"
        return [Problem("execution.measure", what, "auto, off, estimate", error.mend)]
    if meter is not None:
        meter.stop()
    return []


def survey() -> list[MeterAvailability]:
    """Every meter, whether it can be used on this machine, and what would mend it."""
    found = []
    for name in (*(name for name in METERS if name != ESTIMATE), ESTIMATE):
        meter = METERS.find(name)()
        try:
            meter.start()
        except MeterUnavailableError as error:
            found.append(MeterAvailability(meter.name, usable=False, detail=error.reason, mend=error.mend))
            continue
        reading = meter.stop()
        found.append(MeterAvailability(meter.name, usable=True, detail=f"{reading.quality}: {_how(reading)}"))
    return found


def _how(reading: Reading) -> str:
    """A reading's detail without the figures of the moment's trial."""
    return "processor time and memory × stated powers" if reading.method == "estimate" else reading.detail.split(":")[0]
