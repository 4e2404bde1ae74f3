"""Carbon footprint of the search itself: energy, grid, range, and how many devices pay it back.

    carbon = energy × intensity of the grid where the search ran × PUE (1)

Counted are the loop, the base model's measurement and every attempt at a trial or a test, those that failed or were
killed included. Not counted, and said so: the making of the machine that searched, its cooling and power supply, and
whatever no record is left of. An estimate is never called a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from catransformers.carbon.grid import GridIntensity, region_intensity
from catransformers.carbon.metrics import payback_units
from catransformers.config.sections import ExecutionSection
from catransformers.energy.estimate import processor_energy
from catransformers.facts import rows
from catransformers.reports.wording import plural
from catransformers.study.records import EnergyJob, EnergyRecord, EvaluationRecord, TrialRecord
from catransformers.units import G_PER_KG, J_PER_KWH

Quality = Literal["measured", "partly measured", "estimated"]
JOBS: tuple[EnergyJob, ...] = ("search", "base", "trial", "test")
CPU_SECONDS = "cpu_seconds"  # the metric that studies have recorded since before there were meters
#: Of an unknown place: nine in ten of the world's countries lie between these percentiles.
COUNTRIES = (5.0, 95.0)


@dataclass(frozen=True, slots=True)
class SearchFootprint:
    """The energy and carbon of a search.

    Args:
        energy_j: of everything that is recorded, J.
        low_j: least value that the meters' uncertainty allows.
        high_j: greatest such value.
        measured_j: how much of `energy_j` was measured.
        by_job: J of the loop (`search`), the base model (`base`), the trials and the tests.
        methods: of the meters, those with most energy first.
        details: how the largest record of each method came about.
        trials: finished trials whose energy is known.
        cut_off: attempts that did not come to an end of their own.
        unknown: finished trials and evaluations that nothing is recorded of.
        grid: of the place where the search ran.
        place_known: whether the study says where that was.
        saved_kg: per device, what the headline's design emits less than the base on its own best accelerator; None
            without such a design.
    """

    energy_j: float
    low_j: float
    high_j: float
    measured_j: float
    by_job: Mapping[EnergyJob, float]
    methods: tuple[str, ...]
    details: tuple[str, ...]
    trials: int
    cut_off: int
    unknown: int
    grid: GridIntensity
    place_known: bool
    saved_kg: float | None = None

    @property
    def quality(self) -> Quality:
        """Whether all, some or none of the energy was measured."""
        if self.measured_j >= self.energy_j * (1 - 1e-9) and self.measured_j > 0:
            return "measured"
        return "partly measured" if self.measured_j > 0 else "estimated"

    @property
    def carbon_kg(self) -> float:
        """Typical energy × typical intensity."""
        return self.energy_j / J_PER_KWH * self.grid.intensity_kg_per_kwh

    @property
    def range_kg(self) -> tuple[float, float]:
        """Lowest energy on the lowest intensity to highest on highest."""
        return (
            self.low_j / J_PER_KWH * self.grid.low_kg_per_kwh,
            self.high_j / J_PER_KWH * self.grid.high_kg_per_kwh,
        )

    @property
    def trial_j(self) -> float | None:
        """Mean energy of a trial, all attempts at it included; None before the first."""
        return self.by_job["trial"] / self.trials if self.trials else None

    @property
    def payback_devices(self) -> float | None:
        """After how many devices the saving has paid for the search; None if it never does, or nothing was found."""
        return self._payback(self.carbon_kg)

    @property
    def payback_range(self) -> tuple[float, float] | None:
        """The same for the least and the greatest carbon of the search."""
        low, high = (self._payback(carbon) for carbon in self.range_kg)
        return None if low is None or high is None else (low, high)

    def _payback(self, carbon_kg: float) -> float | None:
        if self.saved_kg is None:
            return None
        devices = float(payback_units(carbon_kg, self.saved_kg))
        return devices if math.isfinite(devices) else None

    @property
    def not_counted(self) -> tuple[str, ...]:
        """What the figures leave out."""
        lines = [
            "making the machine that searched",
            "its cooling, power supply and disks (PUE 1)",
            "reading a study (status, report)",
            "final trainings (`train`) and evaluations: the result of a training says what it took",
            "waiting for a cleaner grid (`execution.start`, `pause_above_g_per_kwh`)",
        ]
        if self.cut_off:
            attempts = plural(self.cut_off, "attempt")
            lines.append(f"{attempts} still running, or cut off: the seconds from the last record to the end")
        if self.unknown:
            lines.append(f"{plural(self.unknown, 'job')} of which no record is left")
        return tuple(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain data with stable keys; SI units."""
        low, high = self.range_kg
        spread = self.payback_range
        return {
            "quality": self.quality,
            "methods": list(self.methods),
            "details": list(self.details),
            "energy_j": self.energy_j,
            "energy_j_low": self.low_j,
            "energy_j_high": self.high_j,
            "measured_j": self.measured_j,
            "energy_j_by_job": dict(self.by_job),
            "energy_j_per_trial": self.trial_j,
            "carbon_kg": self.carbon_kg,
            "carbon_kg_low": low,
            "carbon_kg_high": high,
            "grid": self.grid.to_dict(),
            "place_known": self.place_known,
            "saved_kg_per_device": self.saved_kg,
            "payback_devices": self.payback_devices,
            "payback_devices_low": None if spread is None else spread[0],
            "payback_devices_high": None if spread is None else spread[1],
            "not_counted": list(self.not_counted),
        }


def search_grid(section: ExecutionSection) -> tuple[GridIntensity, bool]:
    """The grid that a search ran on, and whether the study names it.

    A place that is not named gets the world's average, with the range of nine in ten countries.

    Raises:
        InputError: if `[execution] region` is not a region.
    """
    if section.region is not None:
        return region_intensity(section.region, where="execution.region"), True
    low, high = np.percentile([float(row["g_per_kwh"]) for row in rows("grid_countries")], COUNTRIES)
    world = region_intensity("world")
    return replace(world, low_kg_per_kwh=float(low) / G_PER_KG, high_kg_per_kwh=float(high) / G_PER_KG), False


def search_footprint(
    section: ExecutionSection,
    energy: Iterable[EnergyRecord],
    trials: Iterable[TrialRecord],
    evaluations: Iterable[EvaluationRecord],
    saved_kg: float | None,
) -> SearchFootprint | None:
    """What a search has cost so far; None if nothing is recorded.

    Work of a study from before there were meters is estimated from the processor time that its records have.

    Args:
        section: of the study, on execution.
        energy: its energy records.
        trials: its finished trials.
        evaluations: those beside the trials'.
        saved_kg: what the headline's design saves per device, kgCO2e.
    """
    records = list(energy)
    known = {(record.job, record.subject) for record in records}
    unknown = 0
    for job, subject, metrics in _work(trials, evaluations):
        if (job, subject) in known:
            continue
        if CPU_SECONDS in metrics:
            records.append(_afterwards(job, subject, metrics[CPU_SECONDS]))
        else:
            unknown += 1
    if not records:
        return None
    grid, place_known = search_grid(section)
    largest: dict[str, EnergyRecord] = {}
    spent: dict[str, float] = {}
    for record in records:
        spent[record.method] = spent.get(record.method, 0.0) + record.energy_j
        if record.method not in largest or record.energy_j > largest[record.method].energy_j:
            largest[record.method] = record
    methods = sorted(spent, key=lambda method: -spent[method])
    return SearchFootprint(
        energy_j=sum(record.energy_j for record in records),
        low_j=sum(record.low_j for record in records),
        high_j=sum(record.high_j for record in records),
        measured_j=sum(record.measured_j for record in records),
        by_job={job: sum(record.energy_j for record in records if record.job == job) for job in JOBS},
        methods=tuple(methods),
        details=tuple(largest[method].detail for method in methods),
        trials=len({record.subject for record in records if record.job == "trial"}),
        cut_off=sum(not record.ended for record in records),
        unknown=unknown,
        grid=grid,
        place_known=place_known,
        saved_kg=saved_kg,
    )


def _work(
    trials: Iterable[TrialRecord], evaluations: Iterable[EvaluationRecord]
) -> Iterable[tuple[EnergyJob, int | None, Mapping[str, float]]]:
    """What was done: the job, its subject, and its metrics."""
    for trial in trials:
        if not trial.proposal.adopted:  # what another study's took was spent there
            yield "trial", trial.number, trial.metrics
    for evaluation in evaluations:
        yield ("test" if evaluation.pool == "test" else "base"), evaluation.subject, evaluation.metrics


def _afterwards(job: EnergyJob, subject: int | None, cpu_s: float) -> EnergyRecord:
    """The record of work that had no meter, from its processor time."""
    energy = processor_energy(cpu_s)
    return EnergyRecord(
        attempt="",
        job=job,
        subject=subject,
        energy_j=energy.typical,
        low_j=energy.low,
        high_j=energy.high,
        measured_j=0.0,
        quality="estimated",
        method="processor time",
        detail="processor time as recorded before there were meters, times the power of a core",
        seconds=0.0,
        ended=True,
    )
