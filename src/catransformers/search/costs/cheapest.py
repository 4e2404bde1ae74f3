"""For every model the cheapest accelerator, exactly: dominance pruning (`dominance`), then a batched minimum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from catransformers.search.costs.dominance import undominated
from catransformers.search.costs.quantities import Block
from catransformers.search.costs.stacks import Silicon, StackCosts
from catransformers.search.space import FloatArray, IntArray

BY_ACCELERATOR = ("area", "tops")  # quantities that no model has a say in
CHUNK_VALUES = 1 << 21  # designs looked at in one pass: bounds the memory (16 MiB an array)


def cheapest(
    first: StackCosts,
    second: StackCosts,
    silicon: Silicon,
    quantity: str,
    limits: Mapping[str, float],
    *,
    second_times: float = 1.0,
    chosen: IntArray | None = None,
) -> tuple[FloatArray, NDArray[np.int32]]:
    """For every model the least `quantity` over the accelerators that keep the `limits`, and which one has it.

    Args:
        first: the costs of the model's first stack.
        second: those of its second one.
        silicon: the accelerators.
        quantity: one of `problem.OBJECTIVES`.
        limits: upper bounds by quantity, SI.
        second_times: how often the second stack runs in one inference.
        chosen: the accelerators to look at, rising; by default those that `undominated` leaves.

    Returns:
        (models,) the minimum, infinite where no accelerator is feasible, and (models,) the accelerator, one
        of equals, −1 where there is none. Models in the order of `ModelSpace`.
    """
    if chosen is None:
        chosen = undominated(first, second, silicon, quantity, limits, second_times=second_times)
    chosen = within(chosen, silicon, limits)
    variants, others = first.layers.size, second.layers.size
    least = np.full((variants, others), np.inf)
    winner = np.full((variants, others), -1, dtype=np.int32)
    if chosen.size == 0:
        return least.ravel(), winner.ravel()
    block = Block({quantity, *limits}, first, second, silicon, chosen, second_times)
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
