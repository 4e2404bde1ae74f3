"""The same models and accelerators, asked another question: other quantities, other limits, nothing costed again.

For one model the designs that can matter are looked at (`Candidates`): all accelerators, or, where carbon is a quantile
of its range and so takes long to work out, those that no other beats in all that the question depends on. A quantile
of carbon never falls with the area, with the DRAM that streaming needs, or with the energy of the life.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from catransformers.designs.limits import Limits, Shortfall
from catransformers.designs.quantities import Objectives, columns_of
from catransformers.designs.table import check_known, values_of
from catransformers.hardware.front import undominated
from catransformers.search.costs.designs import Designs, shortfall
from catransformers.search.costs.space import Costs
from catransformers.search.space import FloatArray, IntArray


def asked(costs: Costs, minimise: tuple[str, ...] | None = None, limits: Limits | None = None) -> Costs:
    """The same costs with other quantities to minimise, or under other limits.

    Args:
        costs: of a study.
        minimise: one quantity or two; by default the study's.
        limits: by default the study's. Whatever they say, an inference must be done before the next one is due.

    Raises:
        InputError: if water is asked for on a grid whose factor is not known.
    """
    objectives = costs.objectives if minimise is None else Objectives(minimise, costs.objectives.carbon_quantile)
    own = in_time(costs.limits if limits is None else limits, costs.scenario.period_s)
    check_known({*objectives.minimise, *own.of_designs()}, costs.scenario)
    return replace(costs.under(costs.scenario, own, costs.silicon), objectives=objectives)


def unlimited(costs: Costs) -> Costs:
    """The same costs without any limit."""
    return costs.under(costs.scenario, Limits(), costs.silicon)


def in_time(limits: Limits, period_s: float) -> Limits:
    """The limits, with an inference done before the next one is due, which is after `period_s`."""
    if np.isfinite(period_s) and (limits.latency is None or limits.latency > period_s):
        return limits.but(latency=period_s)
    return limits


@dataclass(frozen=True)
class Candidates:
    """Designs of one model among which the best ones are, whatever limits are set on the quantities.

    Args:
        model: its number in the space.
        found: the model on all accelerators, no limit looked at.
        accelerator: (n,) rows of the accelerator table, rising.
        values: by quantity (n,) what the designs cost, SI.
    """

    model: int
    found: Designs
    accelerator: IntArray
    values: Mapping[str, FloatArray]

    def within(self, limits: Limits) -> NDArray[np.bool_]:
        """(n,) which designs keep the limits."""
        kept = np.full(self.accelerator.size, limits.parameters is None or self.found.parameters <= limits.parameters)
        for name, bound in limits.of_designs().items():
            kept &= self.values[name] <= bound
        return kept

    def least(self, quantity: str, kept: NDArray[np.bool_]) -> int | None:
        """Position of the design with the least `quantity`, of equals the one that emits least; None if none is kept.

        Args:
            quantity: one of `values`.
            kept: (n,) the designs to choose from.
        """
        positions = np.flatnonzero(kept)
        if not positions.size:
            return None
        carbon = self.found.total_kg[self.accelerator[positions]]
        return int(positions[np.lexsort((carbon, self.values[quantity][positions]))[0]])

    def shortfall(self, limits: Limits) -> Shortfall:
        """Which limit keeps the model from every accelerator, and by how much; call it only where some limit does."""
        missed = shortfall(replace(self.found, within=np.zeros_like(self.found.within)), limits)
        assert missed is not None  # noqa: S101 - nothing is within
        return missed


def candidates(costs: Costs, model: int, quantities: Collection[str]) -> Candidates:
    """The designs of a model that can be best in any of some quantities under limits on any of them.

    Args:
        costs: as `asked` made them; their limits are not looked at.
        model: its number in the space.
        quantities: some of `quantities.OF_DESIGNS`.
    """
    found = unlimited(costs).designs(model)
    chosen = np.arange(found.latency_s.size)
    if costs.silicon.carbon_at is not None and "carbon" in columns_of({*quantities}):
        chosen = _unbeaten(found, quantities)
    values = values_of(
        {*quantities}, found.latency_s[chosen], found.energy_j[chosen], found.resident[chosen], found.silicon, chosen
    )
    return Candidates(model, found, chosen, values)


def _unbeaten(found: Designs, quantities: Collection[str]) -> IntArray:
    """Accelerators that no other beats in all that the quantities rise with."""
    streamed = (~found.resident).astype(np.float64)
    columns = [found.area_m2, found.life_energy_j, streamed]
    for name in quantities:
        parts = columns_of({name})
        names = parts - {"carbon", "inferences", "area"} if "carbon" in parts else {name} - {"area"}
        columns += [found.quantity(part) for part in sorted(names)]
    return np.sort(undominated(np.zeros(streamed.size, dtype=np.int64), np.stack(columns)))
