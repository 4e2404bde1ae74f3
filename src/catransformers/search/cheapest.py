"""For every model the cheapest accelerator, exactly: dominance pruning (`dominance`), then a batched minimum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from catransformers.hardware.power import energy_with_idle_j
from catransformers.search.dominance import undominated
from catransformers.search.space import FloatArray, IntArray
from catransformers.search.stack_costs import RESIDENT, STREAMED, Silicon, StackCosts, demand_bytes

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
        quantity: `carbon`, `latency`, `energy` or `area`.
        limits: upper bounds by quantity, SI.
        second_times: how often the second stack runs in one inference.
        chosen: the accelerators to look at, rising; by default those that `undominated` leaves.

    Returns:
        (models,) the minimum, infinite where no accelerator is feasible, and (models,) the accelerator, one
        of equals, −1 where there is none. Models in the order of `ModelSpace`.
    """
    if chosen is None:
        chosen = undominated(first, second, silicon, quantity, limits, second_times=second_times)
    if "area" in limits:
        chosen = chosen[silicon.area_m2[chosen] <= limits["area"]]
    variants, others = first.layers.size, second.layers.size
    least = np.full((variants, others), np.inf)
    winner = np.full((variants, others), -1, dtype=np.int32)
    if chosen.size == 0:
        return least.ravel(), winner.ravel()
    wanted = {quantity, *limits}
    need_energy, need_latency = bool(wanted & {"carbon", "energy"}), bool(wanted & {"carbon", "latency"})
    everything = slice(None)
    second_energy = second_times * second.energy_j(everything, chosen) if need_energy else None
    second_latency = second_times * second.latency_s(everything, chosen) if need_latency else None
    capacity = silicon.capacity_bytes[chosen]
    rows = max(1, CHUNK_VALUES // (others * chosen.size))
    for start in range(0, variants, rows):
        v = slice(start, min(start + rows, variants))
        resident = demand_bytes(first, second, v)[:, :, None] <= capacity
        values: dict[str, FloatArray] = {}
        if second_energy is not None:
            values["energy"] = _combined(first.energy_j(v, chosen), second_energy, resident)
        if second_latency is not None:
            values["latency"] = _combined(first.latency_s(v, chosen), second_latency, resident)
        if "carbon" in wanted:
            embodied, idle = silicon.embodied_kg[:, chosen], silicon.idle_w[:, chosen]
            waiting_w = np.where(resident, idle[RESIDENT], idle[STREAMED])
            life_energy = energy_with_idle_j(values["energy"], values["latency"], waiting_w, silicon.period_s)
            values["carbon"] = silicon.operational_kg_per_j * life_energy
            values["carbon"] += np.where(resident, embodied[RESIDENT], embodied[STREAMED])
        if "area" in wanted:
            values["area"] = np.broadcast_to(silicon.area_m2[chosen], resident.shape)
        objective = values[quantity]
        for name, bound in limits.items():
            if name != "area":
                objective = np.where(values[name] <= bound, objective, np.inf)
        position = objective.argmin(axis=2)
        best = np.take_along_axis(objective, position[:, :, None], axis=2)[:, :, 0]
        least[v] = best
        winner[v] = np.where(np.isfinite(best), chosen[position], -1)
    return least.ravel(), winner.ravel()


def _combined(first: FloatArray, second: FloatArray, resident: NDArray[np.bool_]) -> FloatArray:
    """(v, w, a): the sum of both stacks, each as the residency says."""
    first, second = first[:, :, None, :], second[:, None, :, :]
    total: FloatArray = np.asarray(first[STREAMED] + second[STREAMED], dtype=np.float64)
    np.copyto(total, first[RESIDENT] + second[RESIDENT], where=resident)
    return total
