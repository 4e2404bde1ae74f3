"""For every model the cheapest accelerator, exactly: dominance pruning (`dominance`), then a batched minimum."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from catransformers.hardware.power import energy_with_idle_j
from catransformers.search.dominance import undominated
from catransformers.search.encoder_costs import RESIDENT, STREAMED, EncoderCosts, Silicon, demand_bytes
from catransformers.search.space import FloatArray, IntArray

CHUNK_VALUES = 1 << 21  # designs looked at in one pass: bounds the memory (16 MiB an array)


def cheapest(
    vision: EncoderCosts,
    text: EncoderCosts,
    silicon: Silicon,
    quantity: str,
    limits: Mapping[str, float],
    *,
    texts_per_image: float = 1.0,
    chosen: IntArray | None = None,
) -> tuple[FloatArray, NDArray[np.int32]]:
    """For every model the least `quantity` over the accelerators that keep the `limits`, and which one has it.

    Args:
        vision: the vision encoder's costs.
        text: the text encoder's costs.
        silicon: the accelerators.
        quantity: `carbon`, `latency`, `energy` or `area`.
        limits: upper bounds by quantity, SI.
        texts_per_image: how often the text encoder runs in one inference.
        chosen: the accelerators to look at, rising; by default those that `undominated` leaves.

    Returns:
        (models,) the minimum, infinite where no accelerator is feasible, and (models,) the accelerator, one
        of equals, −1 where there is none. Models in the order of `ModelSpace`.
    """
    if chosen is None:
        chosen = undominated(vision, text, silicon, quantity, limits, texts_per_image=texts_per_image)
    if "area" in limits:
        chosen = chosen[silicon.area_m2[chosen] <= limits["area"]]
    variants, texts = vision.layers.size, text.layers.size
    least = np.full((variants, texts), np.inf)
    winner = np.full((variants, texts), -1, dtype=np.int32)
    if chosen.size == 0:
        return least.ravel(), winner.ravel()
    wanted = {quantity, *limits}
    need_energy, need_latency = bool(wanted & {"carbon", "energy"}), bool(wanted & {"carbon", "latency"})
    everything = slice(None)
    text_energy = texts_per_image * text.energy_j(everything, chosen) if need_energy else None
    text_latency = texts_per_image * text.latency_s(everything, chosen) if need_latency else None
    capacity = silicon.capacity_bytes[chosen]
    rows = max(1, CHUNK_VALUES // (texts * chosen.size))
    for start in range(0, variants, rows):
        v = slice(start, min(start + rows, variants))
        resident = demand_bytes(vision, text, v)[:, :, None] <= capacity
        values: dict[str, FloatArray] = {}
        if text_energy is not None:
            values["energy"] = _combined(vision.energy_j(v, chosen), text_energy, resident)
        if text_latency is not None:
            values["latency"] = _combined(vision.latency_s(v, chosen), text_latency, resident)
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


def _combined(vision: FloatArray, text: FloatArray, resident: NDArray[np.bool_]) -> FloatArray:
    """(v, t, a): the sum of both encoders, each as the residency says."""
    first, second = vision[:, :, None, :], text[:, None, :, :]
    total: FloatArray = np.asarray(first[STREAMED] + second[STREAMED], dtype=np.float64)
    np.copyto(total, first[RESIDENT] + second[RESIDENT], where=resident)
    return total
