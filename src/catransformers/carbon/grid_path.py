"""A grid that changes over the years of use: its mean over a life, and when it has emitted a given amount.

Two ways to say how it changes: a constant fraction a year, I(t) = I₀·(1 + c)^t, or a table with one intensity for each
year of use, whose last value holds for all years after it. Everything follows from the cumulative intensity
∫₀ᴸ I(t) dt, in kg·years/kWh: what a device of one kWh a year has emitted after L years.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NO_CHANGE = 1e-12


@dataclass(frozen=True, slots=True)
class IntensityPath:
    """How an intensity develops from the first day of use.

    Args:
        change_per_year: c, a fraction > −1; −0.05 means 5 % less every year.
        by_year_kg_per_kwh: the intensity in the first year, the second, …; where given it takes the place of both
            today's intensity and the rate.
    """

    change_per_year: float = 0.0
    by_year_kg_per_kwh: tuple[float, ...] = ()

    @property
    def is_constant(self) -> bool:
        """Whether the grid stays as it is today."""
        return not self.change_per_year and not self.by_year_kg_per_kwh

    def cumulative(self, intensity_kg_per_kwh: float, years: float) -> float:
        """∫₀ᴸ I(t) dt, kg·years/kWh, with L = `years` and I₀ = `intensity_kg_per_kwh` (which a table overrides)."""
        if not self.by_year_kg_per_kwh:
            growth = self._growth
            return intensity_kg_per_kwh * (math.expm1(growth * years) / growth if growth else years)
        table = self.by_year_kg_per_kwh
        whole = min(int(years), len(table))
        return float(self._knots[whole]) + table[min(whole, len(table) - 1)] * (years - whole)

    @property
    def _growth(self) -> float:
        """ln(1 + c) a year; 0 where c is too small for its powers to be told from 1."""
        growth = math.log1p(self.change_per_year)
        return growth if abs(growth) > NO_CHANGE else 0.0

    @property
    def _knots(self) -> Floats:
        """(years of the table + 1,) the cumulative intensity at the end of each year, from 0."""
        return np.concatenate(([0.0], np.cumsum(self.by_year_kg_per_kwh)))

    def mean(self, intensity_kg_per_kwh: float, years: float) -> float:
        """The mean intensity over a life of `years` > 0, kg/kWh."""
        if self.is_constant:
            return intensity_kg_per_kwh
        return self.cumulative(intensity_kg_per_kwh, years) / years

    def years_until(self, intensity_kg_per_kwh: float, cumulative: float | Floats) -> Floats:
        """After how many years the cumulative intensity reaches `cumulative` (any shape, kg·years/kWh).

        Infinite where it never does: a grid that falls fast enough emits a finite amount for ever.
        """
        target = np.asarray(cumulative, dtype=np.float64)
        if not self.by_year_kg_per_kwh:
            if intensity_kg_per_kwh <= 0:
                return np.where(target > 0, np.inf, 0.0)
            growth = self._growth
            needed = target / intensity_kg_per_kwh
            if not growth:
                return np.asarray(needed)
            reached = growth * needed > -1
            grown = np.where(reached, growth * needed, 0.0)
            return np.where(reached, np.log1p(grown) / growth, np.inf)
        table = np.asarray(self.by_year_kg_per_kwh)
        knots = self._knots
        year = np.maximum(np.searchsorted(knots, target, side="left") - 1, 0)  # the year in which it is reached
        year = np.minimum(year, table.size - 1)
        left = np.maximum(target - knots[year], 0.0)
        rate = table[year]
        within = np.divide(left, rate, out=np.full(target.shape, np.inf), where=rate > 0)
        return np.asarray(np.where(left > 0, year + within, np.where(target > 0, year, 0.0)), dtype=np.float64)
