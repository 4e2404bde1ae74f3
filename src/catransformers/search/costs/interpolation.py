"""Costs of a stack's variants between those of a coarse space: straight in each dimension (multilinear).

What a layer costs is nearly a sum of products of two different dimensions, which such an interpolation reproduces. How
many layers there are is no matter of interpolation for latency and energy: a stack is layers × one layer + stem.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from catransformers.search.costs.stacks import StackCosts
from catransformers.search.space import FloatArray, IntArray


@dataclass(frozen=True)
class Rows:
    """Some models' stacks on some accelerators.

    Args:
        latency_s, energy_j: (2, models, accelerators) of one run, streamed and resident.
        weight_bytes, activation_bytes: (models,) of all the stack's weights, and its working set.
        parameters: (models,) of the whole model, the other stacks being the base model's.
    """

    latency_s: FloatArray
    energy_j: FloatArray
    weight_bytes: FloatArray
    activation_bytes: FloatArray
    parameters: FloatArray

    def take(self, rows: IntArray) -> Rows:
        """Some of them, in that order."""
        return Rows(
            self.latency_s[:, rows],
            self.energy_j[:, rows],
            self.weight_bytes[rows],
            self.activation_bytes[rows],
            self.parameters[rows],
        )


@dataclass(frozen=True)
class Grid:
    """One stack of the coarse space, on the accelerators that matter.

    Args:
        names: its dimensions.
        values: those of each, rising.
        costs: of its variants.
        parameters: (variants,).
        chosen: the accelerators.
    """

    names: tuple[str, ...]
    values: tuple[FloatArray, ...]
    costs: StackCosts
    parameters: IntArray
    chosen: IntArray

    @cached_property
    def _tables(self) -> tuple[FloatArray, FloatArray]:
        """(4, shapes, accelerators) and (4, stems, accelerators): latencies, then energies."""
        costs = self.costs
        return (
            np.concatenate([costs.layer_latency_s, costs.layer_energy_j])[:, :, self.chosen],
            np.concatenate([costs.stem_latency_s, costs.stem_energy_j])[:, :, self.chosen],
        )

    def rows(self, variants: FloatArray) -> Rows:
        """Interpolated costs of variants given by their dimensions, (n, dimensions)."""
        places, shares = zip(*(_between(g, variants[:, k]) for k, g in enumerate(self.values)), strict=True)
        shape = tuple(len(grid) for grid in self.values)
        depth = next(k for k, name in enumerate(self.names) if name.endswith("layers"))
        layer, stem = (np.zeros((4, len(variants), self.chosen.size)) for _ in range(2))
        sizes = np.zeros((3, len(variants)))
        kinds = [self.costs.weight_bytes, self.costs.activation_bytes, self.parameters]
        for corner in product(*((0, 1) if len(grid) > 1 else (0,) for grid in self.values)):
            weight = np.ones(len(variants))  # of the dimensions that a layer depends on
            for k, up in enumerate(corner):
                if k != depth:
                    weight = weight * (shares[k] if up else 1 - shares[k])
            variant = np.ravel_multi_index(tuple(places[k] + up for k, up in enumerate(corner)), shape)
            own = shares[depth] if corner[depth] else 1 - shares[depth]
            sizes += weight * own * np.stack([kind[variant] for kind in kinds])
            if corner[depth] == 0:
                layer += weight[:, None] * self._tables[0][:, self.costs.shape[variant]]
                stem += weight[:, None] * self._tables[1][:, self.costs.stem[variant]]
        total = variants[:, depth, None] * layer + stem
        return Rows(total[:2], total[2:], *sizes)


def _between(grid: FloatArray, values: FloatArray) -> tuple[IntArray, FloatArray]:
    """Which interval of a grid each value lies in, and how far up in it; the topmost value is in the last one."""
    if len(grid) == 1:
        return np.zeros(values.size, dtype=np.int64), np.zeros(values.size)
    place = np.clip(np.searchsorted(grid, values, side="right") - 1, 0, len(grid) - 2)
    return place, (values - grid[place]) / (grid[place + 1] - grid[place])
