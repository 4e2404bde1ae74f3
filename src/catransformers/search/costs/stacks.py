"""What the stacks of a space cost on all accelerators: layers × one layer + stem, from a few hundred rows.

A model has one stack or several that vary independently (CLIP: vision and text). A layer of a stack is all that one
more block adds to an inference: of Llama, one of the prefill and one of the decode. A model's number is that of its
variants in mixed radix, the last stack's fastest. Where all models are gone through, the variants of all stacks but
the last (`outer`) are paired with those of the last one (`inner`).

Each row exists twice: with the weights resident on chip, and streamed from DRAM at each inference; which of the two
holds for a model on an accelerator depends on whether the model's bytes fit into the global buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from math import prod

import numpy as np

from catransformers.search.space import FloatArray, IntArray


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
        """A stack of one variant that takes no time, no energy and no room."""
        row, none = np.zeros((2, 1, accelerators)), np.zeros(1, dtype=np.int64)
        return cls(row, row, row, row, none, none, none, none, none)

    def one(self, variant: int) -> StackCosts:
        """The stack with one of its variants."""
        some = slice(variant, variant + 1)
        columns = ("layers", "shape", "stem", "weight_bytes", "activation_bytes")
        return replace(self, **{name: getattr(self, name)[some] for name in columns})

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
class Stacks:
    """All stacks of a space: every model is one variant of each.

    Args:
        each: the stacks, in the order of the space's dimensions.
        times: how often each runs in one inference.
    """

    each: tuple[StackCosts, ...]
    times: tuple[float, ...]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The number of variants of each stack."""
        return tuple(stack.layers.size for stack in self.each)

    def __len__(self) -> int:
        return prod(self.shape)

    @cached_property
    def outer(self) -> Stacks:
        """All stacks but the last; a single stack is itself."""
        return self if len(self.each) == 1 else Stacks(self.each[:-1], self.times[:-1])

    @cached_property
    def inner(self) -> Stacks:
        """The last stack; beside a single one, a stack that takes no time, no energy and no room."""
        if len(self.each) > 1:
            return Stacks(self.each[-1:], self.times[-1:])
        return Stacks((StackCosts.nothing(self.each[0].stem_latency_s.shape[2]),), (1.0,))

    def one(self, model: int) -> Stacks:
        """A single model."""
        variants = np.unravel_index(model, self.shape)
        some = tuple(stack.one(int(variant)) for stack, variant in zip(self.each, variants, strict=True))
        return Stacks(some, self.times)

    def latency_s(self, models: IntArray | slice = slice(None), chosen: IntArray | slice = slice(None)) -> FloatArray:
        """(2, models, chosen accelerators), s for one inference, streamed and resident."""
        return self._sum(StackCosts.latency_s, models, chosen)

    def energy_j(self, models: IntArray | slice = slice(None), chosen: IntArray | slice = slice(None)) -> FloatArray:
        """(2, models, chosen accelerators), J for one inference."""
        return self._sum(StackCosts.energy_j, models, chosen)

    def mean_latency_s(self) -> FloatArray:
        """(models,) of all accelerators, streamed and resident: how much work a model is."""
        own = (
            t * stack.latency_s(slice(None)).mean(axis=(0, 2)) for stack, t in zip(self.each, self.times, strict=True)
        )
        return np.asarray(reduce(np.add.outer, own), dtype=np.float64).ravel()

    def weight_bytes(self, models: IntArray | slice = slice(None)) -> IntArray:
        """(models,) of all weights."""
        parts = self._variants(models)
        return np.asarray(sum(stack.weight_bytes[v] for stack, v in zip(self.each, parts, strict=True)))

    def activation_bytes(self, models: IntArray | slice = slice(None)) -> IntArray:
        """(models,) the largest working set of the stacks, which run one after another."""
        parts = self._variants(models)
        own = (stack.activation_bytes[v] for stack, v in zip(self.each, parts, strict=True))
        return np.asarray(reduce(np.maximum, own))

    def demand_bytes(self, v: IntArray | slice = slice(None)) -> IntArray:
        """(chosen `outer`, `inner`): bytes to hold on chip, all weights and the largest working set."""
        weights = self.outer.weight_bytes(v)[:, None] + self.inner.weight_bytes()
        return np.asarray(
            weights + np.maximum(self.outer.activation_bytes(v)[:, None], self.inner.activation_bytes()), dtype=np.int64
        )

    def _variants(self, models: IntArray | slice) -> tuple[IntArray | slice, ...]:
        """The variants of each stack that some models are made of."""
        if len(self.each) == 1:
            return (models,)
        numbers = np.arange(len(self))[models] if isinstance(models, slice) else models
        return tuple(np.asarray(some, dtype=np.int64) for some in np.unravel_index(numbers, self.shape))

    def _sum(
        self,
        cost: Callable[[StackCosts, IntArray | slice, IntArray | slice], FloatArray],
        models: IntArray | slice,
        chosen: IntArray | slice,
    ) -> FloatArray:
        parts = self._variants(models)
        runs = (
            cost(stack, v, chosen) if times == 1 else times * cost(stack, v, chosen)
            for stack, times, v in zip(self.each, self.times, parts, strict=True)
        )
        return reduce(np.add, runs)
