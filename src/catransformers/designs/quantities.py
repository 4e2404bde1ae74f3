"""What the designs of a sweep cost, by quantity: worked out when asked for, once, as a study works it out."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from catransformers.carbon.footprint import footprint_range
from catransformers.carbon.impacts import impact_footprint, unknown_factors
from catransformers.designs.estimate import DesignTable
from catransformers.errors import InputError

FloatArray = npt.NDArray[np.float64]
CarbonQuantile = Literal["p50", "p95"]

#: What a front may minimise; the first four, which need no further factors, also break ties in this order.
OBJECTIVES = ("carbon", "latency", "energy", "area", "tcdp", "water")
USUAL = OBJECTIVES[:4]


class Quantities:
    """The columns of one model's designs on A accelerators.

    Args:
        designs: what each costs.
        carbon_quantile: what `carbon` means, in `tcdp` too: `p50` is the footprint at the typical value of every
            factor, `p95` the 95th percentile of its range.
    """

    def __init__(self, designs: DesignTable, carbon_quantile: CarbonQuantile = "p50") -> None:
        self._designs, self._quantile = designs, carbon_quantile
        self._known: dict[str, FloatArray] = {}

    def __getitem__(self, name: str) -> FloatArray:
        """(A,) one of `OBJECTIVES`, `power` or `tops`, SI (water: litres).

        Raises:
            InputError: for `water` on a grid whose factor is not known.
        """
        if name not in self._known:
            self._known[name] = self._worked_out(name)
        return self._known[name]

    def _worked_out(self, name: str) -> FloatArray:
        own = self._designs
        if name == "carbon" and self._quantile == "p95":
            return footprint_range(own.area_m2, own.life_energy_j, ~own.resident, own.scenario)[2]
        if name == "tcdp":
            return self["carbon"] * own.latency_s
        if name == "water":
            litres = impact_footprint("water", own.area_m2, own.life_energy_j, own.scenario).total
            if litres is None:
                raise InputError(unknown_factors("water", own.scenario))
            return litres
        columns = {
            "carbon": own.total_kg,
            "latency": own.latency_s,
            "energy": own.energy_j,
            "area": own.area_m2,
            "power": own.power_w,
            "tops": own.tops,
        }
        return columns[name]
