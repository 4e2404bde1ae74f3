"""For every model the cheapest accelerator, exactly: dominance pruning (`dominance`), then a batched minimum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from catransformers.designs.quantities import QUANTITIES
from catransformers.designs.table import Silicon
from catransformers.search.costs.dominance import undominated
from catransformers.search.costs.quantities import Block
from catransformers.search.costs.stacks import Stacks
from catransformers.search.space import FloatArray, IntArray

BY_ACCELERATOR = tuple(
    name for name, row in QUANTITIES.items() if row.of_accelerator
)  # quantities that no model has a say in
CHUNK_VALUES = 1 << 21  # designs looked at in one pass: bounds the memory (16 MiB an array)


def cheapest(
    stacks: Stacks,
    silicon: Silicon,
    quantity: str,
    limits: Mapping[str, float],
    *,
    chosen: IntArray | None = None,
) -> tuple[FloatArray, NDArray[np.int32]]:
    """For every model the least `quantity` over the accelerators that keep the `limits`, and which one has it.

    Args:
        stacks: what the models are made of.
        silicon: the accelerators.
        quantity: one of `problem.OBJECTIVES`.
        limits: upper bounds by quantity, SI.
        chosen: the accelerators to look at, rising; by default those that `undominated` leaves.

    Returns:
        (models,) the minimum, infinite where no accelerator is feasible, and (models,) the accelerator, one
        of equals, −1 where there is none. Models in the order of `ModelSpace`.
    """
    if chosen is None:
        chosen = undominated(stacks, silicon, quantity, limits)
    chosen = within(chosen, silicon, limits)
    variants, others = len(stacks.outer), len(stacks.inner)
    least = np.full((variants, others), np.inf)
    winner = np.full((variants, others), -1, dtype=np.int32)
    if chosen.size == 0:
        return least.ravel(), winner.ravel()
    block = Block({quantity, *limits}, stacks, silicon, chosen)
    rows = max(1, CHUNK_VALUES // (others * chosen.size))
    for start in range(0, variants, rows):
        v = slice(start, min(start + rows, variants))
        values = block.values(v)
        objective = values[quantity]
        for name, bound in limits.items():
            if name not in BY_ACCELERATOR:
                objective = np.where(values[name] <= bound, objective, np.inf)
        position = objective.argmin(axis=2)
        best = np.take_along_axis(objective, position[:, :, None], axis=2)[:, :, 0]
        least[v] = best
        winner[v] = np.where(np.isfinite(best), chosen[position], -1)
    return least.ravel(), winner.ravel()


def within(chosen: IntArray, silicon: Silicon, limits: Mapping[str, float]) -> IntArray:
    """Those of the accelerators that keep the limits which no model has a say in."""
    if "area" in limits:
        chosen = chosen[silicon.area_m2[chosen] <= limits["area"]]
    if "tops" in limits and silicon.tops is not None:
        chosen = chosen[silicon.tops[chosen] <= limits["tops"]]
    return chosen
