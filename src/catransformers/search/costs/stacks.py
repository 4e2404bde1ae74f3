"""What the stacks of a space cost on all accelerators: layers × one layer + stem, from a few hundred rows.

A model has two stacks that vary independently (CLIP: vision and text), or one, and then a second that is `nothing`. A
layer of a stack is all that one more block adds to an inference: of Llama, one of the prefill and one of the decode.

Each row exists twice: with the weights resident on chip, and streamed from DRAM at each inference; which of the two
holds for a model on an accelerator depends on whether the model's bytes fit into the global buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catransformers.search.space import FloatArray, IntArray

STREAMED, RESIDENT = 0, 1

#: (life energy, resident, chosen accelerators) → kgCO2e, (…, chosen accelerators) all.
CarbonAt = Callable[[FloatArray, NDArray[np.bool_], IntArray | slice], FloatArray]


@dataclass(frozen=True)
class StackCosts:
    """One stack's layer shapes and stems on all accelerators, and the variants made of them.

    Args:
        layer_latency_s: (2, shapes, accelerators), streamed and resident.
        layer_energy_j: likewise.
        stem_latency_s: (2, stems, accelerators).
        stem_energy_j: likewise.
        layers: (variants,) number of layers.
        shape: (variants,) which layer shape.
        stem: (variants,) which stem.
        weight_bytes: (variants,) of all the stack's weights.
        activation_bytes: (variants,) its working set, the caches of all its layers included.
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

    @classmethod
    def nothing(cls, accelerators: int) -> StackCosts:
        """A stack of one variant that takes no time, no energy and no room: the second one of a model that has one."""
        row, none = np.zeros((2, 1, accelerators)), np.zeros(1, dtype=np.int64)
        return cls(row, row, row, row, none, none, none, none, none)

    def latency_s(self, variants: IntArray | slice, chosen: IntArray | slice = slice(None)) -> FloatArray:
        """(2, variants, chosen accelerators), s for one run of the stack."""
        return self._total(self.layer_latency_s, self.stem_latency_s, variants, chosen)

    def energy_j(self, variants: IntArray | slice, chosen: IntArray | slice = slice(None)) -> FloatArray:
        """(2, variants, chosen accelerators), J for one run of the stack."""
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
        idle_w: (2, accelerators): power while waiting for the next inference, streamed and resident.
        period_s: from one inference to the next.
        operational_kg_per_j: kgCO2e over the whole life for each joule that one inference, wait included, takes.
        tops: (accelerators,) peak throughput; None where nobody asks.
        water_l: (accelerators,) litres for the electricity of making the device; None where its factor is not known.
        water_l_per_j: litres over the whole life for each joule that one inference, wait included, takes.
        carbon_at: how to find carbon at another quantile of its range than the typical value; None for the latter.
    """

    area_m2: FloatArray
    capacity_bytes: FloatArray
    embodied_kg: FloatArray
    idle_w: FloatArray
    period_s: float
    operational_kg_per_j: float
    tops: FloatArray | None = None
    water_l: FloatArray | None = None
    water_l_per_j: float = 0.0
    carbon_at: CarbonAt | None = None


def demand_bytes(first: StackCosts, second: StackCosts, v: IntArray | slice = slice(None)) -> IntArray:
    """(chosen variants, variants of the second): bytes to hold on chip, all weights and the larger working set."""
    weights = first.weight_bytes[v, None] + second.weight_bytes
    return np.asarray(weights + np.maximum(first.activation_bytes[v, None], second.activation_bytes), dtype=np.int64)
