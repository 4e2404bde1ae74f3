"""A quantile of every design's carbon, for a space of millions of designs.

The uncertain factors of a footprint are drawn once (`carbon.uncertainty`, the same draws as `footprint_range`). In draw
s a design of accelerator a emits x_s + e·p_s: x_s of making it, which depends on the accelerator and on whether it
needs DRAM, p_s for each joule that an inference and its wait draw over the life, and e that energy. So the quantile
is, for each accelerator, a function of the one number e: rising, and where no two draws change places, straight. It
is worked out from all draws at knots that lie ¼ % apart and joined by straight lines. Between two it cannot leave the
rising path from one to the other, so that it is never wrong by more than ¼ %; what is measured is less than 0.02 %.
Each figure that people see is worked out from the draws themselves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from catransformers.carbon import factors as terms
from catransformers.carbon.scenario import Scenario
from catransformers.carbon.uncertainty import draw_factors
from catransformers.designs.table import RESIDENT, STREAMED
from catransformers.search.space import FloatArray, IntArray

STEP = 0.0025  # relative distance of two knots
SAMPLES = 2000  # draws, as in `footprint_range`
ROWS = 128  # designs worked out from the draws in one pass


class QuantileCarbon:
    """A quantile of carbon by accelerator, residency and energy; a `stack_costs.CarbonAt`."""

    def __init__(self, area_m2: FloatArray, scenario: Scenario, probability: float) -> None:
        """For accelerators of some die areas (accelerators,) under a scenario."""
        self._area_m2, self._scenario, self._probability = area_m2, scenario, probability
        self._draws = draw_factors(scenario, SAMPLES)
        self._per_joule = terms.operational_kg(np.array(1.0), scenario, self._draws)
        self._known: dict[tuple[int, int], tuple[int, FloatArray]] = {}  # (accelerator, mode) → first knot, values

    def __call__(self, life_energy: FloatArray, resident: NDArray[np.bool_], chosen: IntArray | slice) -> FloatArray:
        """Kg CO2e of designs, (…, chosen accelerators), from their life energies and residencies of that shape."""
        result = np.empty(life_energy.shape)
        if life_energy.ndim == 1:  # one model on many accelerators: from the draws themselves
            return self._exact(life_energy, resident, np.arange(self._area_m2.size)[chosen])
        for column, accelerator in enumerate(np.arange(self._area_m2.size)[chosen]):
            energy = np.ascontiguousarray(life_energy[..., column])
            held = resident[..., column]
            found = result[..., column]
            for mode in (STREAMED, RESIDENT):
                mask = held if mode == RESIDENT else ~held
                if mask.all():
                    found[...] = self._between(int(accelerator), mode, energy)
                elif mask.any():
                    found[mask] = self._between(int(accelerator), mode, energy[mask])
        return result

    def _making(self, accelerators: IntArray, streamed: NDArray[np.bool_]) -> FloatArray:
        """(accelerators, draws) kg CO2e of making each."""
        area, present = self._area_m2[accelerators, None], terms.has_dram(streamed[:, None], self._scenario)
        return terms.total_kg(area, np.zeros_like(area), present, self._scenario, self._draws)

    def _exact(self, energy: FloatArray, resident: NDArray[np.bool_], accelerators: IntArray) -> FloatArray:
        found = np.empty(energy.size)
        for begin in range(0, energy.size, ROWS):
            part = slice(begin, begin + ROWS)
            making = self._making(accelerators[part], ~resident[part])
            found[part] = self._quantile(making, energy[part])
        return found

    def _between(self, accelerator: int, mode: int, energy: FloatArray) -> FloatArray:
        """The quantile by straight lines between knots; knots are added where they are missing."""
        scale = np.log1p(STEP)
        place = np.log(np.maximum(energy, np.finfo(np.float64).tiny)) / scale
        low, high = int(np.floor(place.min())), int(np.ceil(place.max())) + 1
        start, values = self._known.get((accelerator, mode), (low, np.empty(0)))
        if low < start or high >= start + values.size:
            begin, end = (min(low, start), max(high + 1, start + values.size)) if values.size else (low, high + 1)
            knots = np.exp(np.arange(begin, end) * scale)
            making = self._making(np.array([accelerator]), np.array([mode == STREAMED]))
            known = slice(start - begin, start - begin + values.size) if values.size else slice(0, 0)
            before, after = (self._quantile(making, some) for some in (knots[: known.start], knots[known.stop :]))
            start, values = begin, np.concatenate([before, values, after])
            self._known[accelerator, mode] = start, values
        knots = np.exp(np.arange(start, start + values.size) * scale)
        return np.interp(energy, knots, values)

    def _quantile(self, making: FloatArray, energy: FloatArray) -> FloatArray:
        """From all draws, at energies (n,); linear between order statistics, as `uncertainty.total_quantiles`."""
        total = making + energy[:, None] * self._per_joule
        position = self._probability * (total.shape[1] - 1)
        below = min(int(position), total.shape[1] - 2)
        share = position - below
        total.partition((below, below + 1), axis=1)
        return np.asarray(total[:, below] * (1 - share) + total[:, below + 1] * share)
