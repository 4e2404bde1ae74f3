"""How sure a footprint is: draws of the uncertain factors, and what they say about designs and fronts.

The factors of a scenario are drawn independently of each other from their two-piece triangular distributions
(`ranges`), stratified (Latin hypercube: each of S equal slices of a factor's distribution holds one draw), with
a fixed seed. Every design meets the *same* draws: whether A emits less than B is then decided within each
world, not between two worlds.

Reference: M. D. McKay, R. J. Beckman, W. J. Conover, Technometrics 21 (1979), Latin hypercube sampling.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from catransformers.carbon import factors as terms
from catransformers.carbon.factors import FACTOR_NAMES, Factors
from catransformers.carbon.scenario import Scenario
from catransformers.errors import InputError, Problem

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_CHUNK = 1 << 18  # design × draw values held at a time: 2 MiB, which stays in the cache


@lru_cache(maxsize=64)
def _uniform(samples: int, seed: int, index: int) -> Floats:
    """One number in each of `samples` equal parts of [0, 1), in random order."""
    generator = np.random.default_rng([seed, index])
    return np.asarray((generator.permutation(samples) + generator.random(samples)) / samples)


def draw_factors(scenario: Scenario, samples: int = 2000, seed: int = 0) -> Factors:
    """`samples` draws of every factor, each of shape (samples,).

    A factor's draws depend on the seed and the factor alone: another range changes no other factor's draws.

    Raises:
        InputError: for fewer than two samples.
    """
    if samples < 2:
        raise InputError(Problem("samples", f"{samples} draws make no distribution", allowed="≥ 2"))
    drawn = {}
    for index, (name, factor) in enumerate(terms.factor_ranges(scenario).items()):
        drawn[name] = factor.quantile(_uniform(samples, seed, index))
    return Factors(**drawn)


def _design_chunks(
    area_m2: float | Floats,
    energy_j: float | Floats,
    needs_dram: bool | Bools,
    scenario: Scenario,
    draws: Factors,
) -> Iterator[tuple[slice, Floats]]:
    """Slices of the flattened designs with their totals (designs of the slice, samples)."""
    area, energy, present = np.broadcast_arrays(
        terms.checked("area_m2", area_m2),
        terms.checked("energy_j", energy_j),
        terms.has_dram(needs_dram, scenario),
    )
    samples = np.asarray(draws.use_intensity_kg_per_kwh).size
    step = max(1, _CHUNK // samples)
    flat = [np.reshape(array, (-1, 1)) for array in (area, energy, present)]
    for start in range(0, flat[0].shape[0], step):
        part = slice(start, start + step)
        a, e, d = (array[part] for array in flat)
        yield part, terms.total_kg(a, e, d, scenario, draws)


def sample_totals(
    area_m2: float | Floats,
    energy_j: float | Floats,
    needs_dram: bool | Bools,
    scenario: Scenario,
    draws: Factors,
) -> Floats:
    """The total of every design in every draw, kg: the designs' broadcast shape + (samples,)."""
    shape = np.broadcast_shapes(np.shape(area_m2), np.shape(energy_j), np.shape(needs_dram))
    samples = np.asarray(draws.use_intensity_kg_per_kwh).size
    result = np.empty((int(np.prod(shape)), samples))
    for part, total in _design_chunks(area_m2, energy_j, needs_dram, scenario, draws):
        result[part] = total
    return result.reshape(*shape, samples)


def total_quantiles(
    area_m2: float | Floats,
    energy_j: float | Floats,
    needs_dram: bool | Bools,
    scenario: Scenario,
    draws: Factors,
    *,
    probabilities: Sequence[float],
) -> Floats:
    """Quantiles of every design's total, kg: (probabilities,) + the designs' broadcast shape.

    Holds a few MiB at a time, however many designs there are. Linear interpolation between order statistics.
    """
    shape = np.broadcast_shapes(np.shape(area_m2), np.shape(energy_j), np.shape(needs_dram))
    result = np.empty((len(probabilities), int(np.prod(shape))))
    for part, total in _design_chunks(area_m2, energy_j, needs_dram, scenario, draws):
        total.sort(axis=1)
        for row, probability in enumerate(probabilities):
            position = probability * (total.shape[1] - 1)
            below = min(int(position), total.shape[1] - 2)
            share = position - below
            result[row, part] = total[:, below] * (1 - share) + total[:, below + 1] * share
    return result.reshape(len(probabilities), *shape)


def probability_less(totals_a: Floats, totals_b: Floats) -> Floats:
    """The probability that design A emits less than B, decided draw by draw; a tie counts half.

    Args:
        totals_a, totals_b: `sample_totals` of the same draws, (…, samples); the leading axes broadcast.
    """
    less = np.mean(totals_a < totals_b, axis=-1)
    return np.asarray(less + np.mean(totals_a == totals_b, axis=-1) / 2)


def front_probability(totals: Floats, accuracies: Floats) -> Floats:
    """For each design the share of draws in which no other one is both as accurate and as low in carbon.

    A design is off the front of a draw if another is at least as accurate and emits no more, and is strictly
    better in one of the two. Accuracies are taken as given; equal designs share their place.

    Args:
        totals: (designs, samples), kg, of the same draws.
        accuracies: (designs,).

    Returns:
        (designs,) in [0, 1].
    """
    order = np.argsort(-accuracies, kind="stable")
    sorted_totals, levels = totals[order], accuracies[order]
    probability = np.empty(len(accuracies))
    least_above = np.full(totals.shape[1], np.inf)  # least carbon among the strictly more accurate
    start = 0
    while start < len(levels):
        stop = start + int(np.searchsorted(-levels[start:], -levels[start], side="right"))
        group = sorted_totals[start:stop]
        least = group.min(axis=0)
        probability[order[start:stop]] = np.mean((group == least) & (group < least_above), axis=1)
        least_above = np.minimum(least_above, least)
        start = stop
    return probability


@dataclass(frozen=True, slots=True)
class Swing:
    """How far one factor moves a total: its value with the factor at low and at high, all others typical."""

    factor: str
    low_kg: float
    high_kg: float

    @property
    def width_kg(self) -> float:
        """The distance between the two."""
        return abs(self.high_kg - self.low_kg)


def tornado(area_m2: float, energy_j: float, needs_dram: bool, scenario: Scenario) -> tuple[Swing, ...]:
    """Which factor matters for one design: one swing a factor, the widest first."""
    typical = terms.typical_factors(scenario)
    ranges = terms.factor_ranges(scenario)
    area, energy = terms.checked("area_m2", area_m2), terms.checked("energy_j", energy_j)
    present = terms.has_dram(needs_dram, scenario)
    swings = []
    for name in FACTOR_NAMES:
        ends = [
            float(terms.total_kg(area, energy, present, scenario, replace(typical, **{name: end})))
            for end in (ranges[name].low, ranges[name].high)
        ]
        swings.append(Swing(name, *ends))
    return tuple(sorted(swings, key=lambda swing: -swing.width_kg))
