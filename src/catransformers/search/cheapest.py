"""For every model the cheapest accelerator, exactly: dominance pruning, then a batched minimum.

An encoder costs layers × one layer + stem on a given accelerator, so all models follow from a few hundred rows.
Each row exists twice: with the weights resident on chip, and streamed from DRAM at each inference; which of the two
holds for a model on an accelerator depends on whether the model's bytes fit into the global buffer.

Floating-point sums and products of non-negative numbers are monotone, so a pruned accelerator could not have won
even by rounding: results equal those of brute force to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catransformers.search.space import FloatArray, IntArray

STREAMED, RESIDENT = 0, 1
CHUNK_VALUES = 1 << 21  # designs looked at in one pass: bounds the memory (16 MiB an array)


@dataclass(frozen=True)
class EncoderCosts:
    """One encoder's layer shapes and stems on all accelerators, and the variants made of them.

    Args:
        layer_latency_s: (2, shapes, accelerators), streamed and resident.
        layer_energy_j: likewise.
        stem_latency_s: (2, stems, accelerators).
        stem_energy_j: likewise.
        layers: (variants,) number of layers.
        shape: (variants,) which layer shape.
        stem: (variants,) which stem.
        weight_bytes: (variants,) of all the encoder's weights.
        activation_bytes: (variants,) its working set.
    """

    layer_latency_s: FloatArray
    layer_energy_j: FloatArray
    stem_latency_s: FloatArray
    stem_energy_j: FloatArray
    layers: IntArray
    shape: IntArray
    stem: IntArray
    weight_bytes: IntArray
    activation_bytes: IntArray

    def latency_s(self, variants: IntArray | slice, chosen: IntArray | slice = slice(None)) -> FloatArray:
        """(2, variants, chosen accelerators), s for one run of the encoder."""
        return self._total(self.layer_latency_s, self.stem_latency_s, variants, chosen)

    def energy_j(self, variants: IntArray | slice, chosen: IntArray | slice = slice(None)) -> FloatArray:
        """(2, variants, chosen accelerators), J for one run of the encoder."""
        return self._total(self.layer_energy_j, self.stem_energy_j, variants, chosen)

    def _total(
        self, layer: FloatArray, stem: FloatArray, variants: IntArray | slice, chosen: IntArray | slice
    ) -> FloatArray:
        layer, stem = layer[:, :, chosen], stem[:, :, chosen]
        repeated = self.layers[variants, None] * layer[:, self.shape[variants]]
        return np.asarray(repeated + stem[:, self.stem[variants]], dtype=np.float64)


@dataclass(frozen=True)
class Silicon:
    """What an accelerator is apart from the work it does.

    Args:
        area_m2: (accelerators,) of the die.
        capacity_bytes: (accelerators,) of the global buffer.
        embodied_kg: (2, accelerators): with DRAM (streamed) and without (resident).
        operational_kg_per_j: kgCO2e over the whole life for each joule that one inference takes.
    """

    area_m2: FloatArray
    capacity_bytes: FloatArray
    embodied_kg: FloatArray
    operational_kg_per_j: float


def demand_bytes(vision: EncoderCosts, text: EncoderCosts, v: IntArray | slice = slice(None)) -> IntArray:
    """(chosen vision variants, text variants): bytes to hold on chip, all weights and the larger working set."""
    weights = vision.weight_bytes[v, None] + text.weight_bytes
    return np.asarray(weights + np.maximum(vision.activation_bytes[v, None], text.activation_bytes), dtype=np.int64)


def undominated(
    vision: EncoderCosts, text: EncoderCosts, silicon: Silicon, quantities: Sequence[str]
) -> NDArray[np.int64]:
    """Accelerators that might be the cheapest for some model, in rising order.

    One is dropped if another holds at least the same models on chip and is no worse in area, embodied carbon and in
    every layer shape's and stem's latency and energy, each as far as `quantities` (a study's objective and limits)
    need it. Of equals the first stays.

    Args:
        vision: the vision encoder's costs.
        text: the text encoder's costs.
        silicon: the accelerators.
        quantities: those that are minimised or limited: `carbon`, `latency`, `energy`, `area`.
    """
    wanted = set(quantities)
    streamed, resident = (_columns(vision, text, silicon, wanted, mode) for mode in (STREAMED, RESIDENT))
    fixed = silicon.area_m2[:, None] if "area" in wanted else np.zeros((silicon.area_m2.size, 0))
    # Buffers between two demands hold the same models: compare the number of models held, not bytes.
    demands = np.sort(demand_bytes(vision, text), axis=None)
    held = np.searchsorted(demands, silicon.capacity_bytes, side="right")
    everything, nothing = demands.size, 0

    rank = fixed.sum(axis=1)
    rank += np.where(held > nothing, resident.sum(axis=1), 0) + np.where(held < everything, streamed.sum(axis=1), 0)
    rest = np.lexsort((np.arange(held.size), rank, -held))
    alive = np.ones(held.size, dtype=np.bool_)
    kept = []
    while rest.size:
        best, rest = rest[0], rest[1:]
        kept.append(best)
        beaten = _not_better(fixed[best], fixed, rest)
        both_resident, rivals = beaten[held[beaten] > nothing], beaten[held[beaten] == nothing]
        beaten = np.concatenate((rivals, _not_better(resident[best], resident, both_resident)))
        if held[best] < everything:
            beaten = _not_better(streamed[best], streamed, beaten)
        smaller, rivals = beaten[held[beaten] < held[best]], beaten[held[beaten] == held[best]]
        beaten = np.concatenate((rivals, _not_better(resident[best], streamed, smaller)))
        alive[beaten] = False
        rest = rest[alive[rest]]
    return np.sort(np.array(kept, dtype=np.int64))


def _columns(vision: EncoderCosts, text: EncoderCosts, silicon: Silicon, wanted: set[str], mode: int) -> FloatArray:
    """(accelerators, columns): everything about a residency that the wanted quantities depend on."""
    parts = [np.empty((0, silicon.area_m2.size))]
    if "carbon" in wanted:
        parts.append(silicon.embodied_kg[mode][None])
    for encoder in (vision, text):
        if wanted & {"carbon", "energy"}:
            parts += [encoder.layer_energy_j[mode], encoder.stem_energy_j[mode]]
        if "latency" in wanted:
            parts += [encoder.layer_latency_s[mode], encoder.stem_latency_s[mode]]
    return np.ascontiguousarray(np.concatenate(parts).T)


def _not_better(best: FloatArray, columns: FloatArray, rivals: IntArray) -> IntArray:
    """Those of `rivals` that are nowhere better than `best`; most fall at the first few columns."""
    width = best.size
    spread = max(1, width // 8)
    for picked in (np.arange(0, width, spread), np.arange(width)):
        if rivals.size:
            rivals = rivals[(best[picked] <= columns[np.ix_(rivals, picked)]).all(axis=1)]
    return rivals


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
        (models,) the minimum, infinite where no accelerator is feasible, and (models,) the accelerator, the first
        of equals, −1 where there is none. Models in the order of `ModelSpace`.
    """
    if chosen is None:
        chosen = undominated(vision, text, silicon, [quantity, *limits])
    if "area" in limits:
        chosen = chosen[silicon.area_m2[chosen] <= limits["area"]]
    variants, texts = vision.layers.size, text.layers.size
    least = np.full((variants, texts), np.inf)
    winner = np.full((variants, texts), -1, dtype=np.int32)
    if chosen.size == 0:
        return least.ravel(), winner.ravel()
    wanted = {quantity, *limits}
    need_energy, need_latency = bool(wanted & {"carbon", "energy"}), "latency" in wanted
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
            embodied = silicon.embodied_kg[:, chosen]
            values["carbon"] = silicon.operational_kg_per_j * values["energy"]
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
