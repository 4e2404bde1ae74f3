"""One design, or two side by side: footprint with range, split, metrics, other impacts, and who emits less how surely.

Two designs are compared under the *same* draws of the uncertain factors, so that what both share (the grid, the fab)
cancels out: their ranges may overlap widely and one may still beat the other in every world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catransformers.carbon import metrics
from catransformers.carbon.footprint import EmbodiedSplit, Footprint, embodied_split, footprint
from catransformers.carbon.impacts import ImpactFootprint, other_impacts
from catransformers.carbon.scenario import Scenario
from catransformers.carbon.uncertainty import draw_factors, probability_less, sample_totals
from catransformers.errors import Problem, Problems
from catransformers.hardware.power import energy_with_idle_j
from catransformers.units import J_PER_KWH, S_PER_YEAR

Floats = NDArray[np.float64]
Interval = tuple[float, float, float]
SAMPLES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A design as the carbon model sees it.

    Args:
        name: what to call it.
        area_m2: of the die.
        energy_j, latency_s: of one inference.
        idle_w: power while waiting for the next one.
        needs_dram: whether the model does not fit on the chip.
        needed_bytes: weights and working set, which its DRAM must hold.
    """

    name: str
    area_m2: float
    energy_j: float
    latency_s: float
    idle_w: float
    needs_dram: bool
    needed_bytes: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Carbon put together with time, energy and service; see `metrics` for the formulas. Infinite where never.

    Args:
        tcdp, cdp, cep, c2ep: kg·s, kg·s, kg·J, kg²·J.
        energy_per_prediction_j: drawn from the grid for an inference and its wait, PUE included.
        carbon_per_prediction_kg: its share of manufacture included; also the SCI (ISO/IEC 21031) of one inference
            over the whole life, which is the sum of the next two.
        sci_operational_kg, sci_embodied_kg: the two terms of the SCI.
        break_even_years: of use, until use has emitted as much as manufacture.
        break_even_intensity_kg_per_kwh: mean grid intensity at which it has, at the end of the life.
    """

    tcdp: float
    cdp: float
    cep: float
    c2ep: float
    energy_per_prediction_j: float
    carbon_per_prediction_kg: float
    sci_operational_kg: float
    sci_embodied_kg: float
    break_even_years: float
    break_even_intensity_kg_per_kwh: float

    def to_dict(self) -> dict[str, float | None]:
        """By name; null where infinite."""
        return {name: _finite(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """All that is said of one design under one scenario.

    Args:
        candidate: the design.
        scenario: the scenario, its DRAM as large as the design needs.
        life_energy_j: of an inference and of the wait for the next one.
        footprint, split: kgCO2e.
        range_kg: 5th, 50th and 95th percentile of the total.
        metrics, impacts: beside carbon.
        samples_kg: (samples,) the total in every draw.
    """

    candidate: Candidate
    scenario: Scenario
    life_energy_j: float
    footprint: Footprint
    split: EmbodiedSplit
    range_kg: Interval
    metrics: Metrics
    impacts: dict[str, ImpactFootprint]
    samples_kg: Floats

    @property
    def meets_rate(self) -> bool:
        """Whether one device can run as many inferences a second as the scenario counts."""
        return self.candidate.latency_s * self.scenario.inferences_per_second <= 1

    def to_dict(self) -> dict[str, Any]:
        """Plain data with stable keys."""
        low, middle, high = self.range_kg
        return {
            "design": self.candidate.name,
            "area_mm2": self.candidate.area_m2 * 1e6,
            "energy_j": self.candidate.energy_j,
            "latency_s": self.candidate.latency_s,
            "idle_w": self.candidate.idle_w,
            "life_energy_j": self.life_energy_j,
            "weights_on_chip": not self.candidate.needs_dram,
            "meets_rate": self.meets_rate,
            "dram_gb": self.scenario.dram_gb,
            "footprint": {
                **self.footprint.to_dict(),
                "total_kg_p5": low,
                "total_kg_p50": middle,
                "total_kg_p95": high,
            },
            "embodied_split_kg": self.split.to_dict(),
            "metrics": self.metrics.to_dict(),
            "other_impacts": {name: impact.to_dict() for name, impact in self.impacts.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two designs under one scenario and the same draws.

    Args:
        a, b: the designs.
        probability_a_less: that A emits less than B; a tie counts half.
        difference_kg: 5th, 50th and 95th percentile of A's total less B's.
        equal_after_years: of use, when both have emitted the same; infinite if one is ahead for ever.
        equal_at_kg_per_kwh: mean grid intensity of use at which both emit the same over the life; infinite likewise.
        samples, seed: of the draws.
    """

    a: Assessment
    b: Assessment
    probability_a_less: float
    difference_kg: Interval
    equal_after_years: float
    equal_at_kg_per_kwh: float
    samples: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data with stable keys; null where infinite."""
        low, middle, high = self.difference_kg
        years, intensity = _finite(self.equal_after_years), _finite(self.equal_at_kg_per_kwh)
        return {
            "designs": [self.a.to_dict(), self.b.to_dict()],
            "probability_first_emits_less": self.probability_a_less,
            "difference_kg_p5": low,
            "difference_kg_p50": middle,
            "difference_kg_p95": high,
            "equal_after_years": years,
            "equal_at_g_per_kwh": None if intensity is None else 1e3 * intensity,
            "samples": self.samples,
            "seed": self.seed,
        }


def assess(candidate: Candidate, scenario: Scenario, *, samples: int = SAMPLES, seed: int = 0) -> Assessment:
    """Everything about one design under one scenario.

    Raises:
        InputError: if a figure of the design is negative or not finite, or for fewer than two samples.
    """
    _check(candidate)
    situation = scenario.with_room(candidate.needed_bytes) if candidate.needs_dram else scenario
    life = energy_with_idle_j(candidate.energy_j, candidate.latency_s, candidate.idle_w, situation.period_s)
    energy = float(life)
    made = footprint(candidate.area_m2, energy, candidate.needs_dram, situation)
    totals = sample_totals(
        candidate.area_m2, energy, candidate.needs_dram, situation, draw_factors(situation, samples, seed)
    )
    return Assessment(
        candidate=candidate,
        scenario=situation,
        life_energy_j=energy,
        footprint=made,
        split=embodied_split(candidate.area_m2, candidate.needs_dram, situation),
        range_kg=_interval(totals),
        metrics=_metrics(candidate, made, energy, situation),
        impacts=other_impacts(candidate.area_m2, energy, situation),
        samples_kg=totals,
    )


def compare(a: Candidate, b: Candidate, scenario: Scenario, *, samples: int = SAMPLES, seed: int = 0) -> Comparison:
    """Two designs under one scenario, met by the same draws.

    Raises:
        InputError: as `assess`.
    """
    first, second = (assess(candidate, scenario, samples=samples, seed=seed) for candidate in (a, b))
    # A's use less B's, kWh a year, against the embodied carbon that B has more than A
    per_year = _kwh_per_year(first) - _kwh_per_year(second)
    owed = float(second.footprint.embodied_kg) - float(first.footprint.embodied_kg)
    needed = owed / per_year if per_year else math.inf  # kg·years/kWh
    crosses = 0 < needed < math.inf
    years = scenario.use_path.years_until(scenario.use.intensity_kg_per_kwh, needed) if crosses else math.inf
    return Comparison(
        a=first,
        b=second,
        probability_a_less=float(probability_less(first.samples_kg, second.samples_kg)),
        difference_kg=_interval(first.samples_kg - second.samples_kg),
        equal_after_years=float(years),
        equal_at_kg_per_kwh=needed / scenario.lifetime_years if crosses else math.inf,
        samples=samples,
        seed=seed,
    )


def _check(candidate: Candidate) -> None:
    numbers = ("area_m2", "energy_j", "latency_s", "idle_w", "needed_bytes")
    wrong = Problems(
        Problem(f"{candidate.name}: {name}", f"{value!r} is negative or not finite", "a finite number ≥ 0")
        for name in numbers
        if not 0 <= (value := getattr(candidate, name)) < math.inf
    )
    wrong.finish()


def _metrics(candidate: Candidate, made: Footprint, energy_j: float, scenario: Scenario) -> Metrics:
    embodied, total = float(made.embodied_kg), float(made.total_kg)
    return Metrics(
        tcdp=float(metrics.tcdp(total, candidate.latency_s)),
        cdp=float(metrics.cdp(embodied, candidate.latency_s)),
        cep=float(metrics.cep(embodied, candidate.energy_j)),
        c2ep=float(metrics.c2ep(embodied, candidate.energy_j)),
        energy_per_prediction_j=float(metrics.energy_per_prediction_j(energy_j, scenario.pue)),
        carbon_per_prediction_kg=float(metrics.carbon_per_prediction_kg(total, scenario.inferences)),
        sci_operational_kg=float(metrics.sci(energy_j * scenario.pue, scenario.use_intensity_kg_per_kwh, 0.0, 1.0)),
        sci_embodied_kg=float(metrics.sci(0.0, 0.0, embodied, scenario.inferences)),
        break_even_years=float(
            metrics.break_even_years(
                embodied,
                energy_j,
                scenario.inferences_per_second * scenario.duty,
                scenario.use.intensity_kg_per_kwh,
                scenario.pue,
                scenario.use_path,
            )
        ),
        break_even_intensity_kg_per_kwh=float(
            metrics.break_even_intensity_kg_per_kwh(embodied, energy_j, scenario.inferences, scenario.pue)
        ),
    )


def _kwh_per_year(assessed: Assessment) -> float:
    """What a design draws from the grid in a year of use, kWh."""
    scenario = assessed.scenario
    rate = scenario.inferences_per_second * scenario.duty
    return assessed.life_energy_j * scenario.pue * rate * S_PER_YEAR / J_PER_KWH


def _interval(values: Floats) -> Interval:
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    return float(low), float(middle), float(high)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
