"""The few hundred layer shapes and stems that a space of a million models is made of (section 4.3 of the design).

A stack's dimensions have a prefix, and its parts are those of that name: `vision.layers` belongs to CLIP's part
`vision`. Without prefixes a model is one stack of all its parts, which share their dimensions and number of layers:
Llama's prefill and decode. The latency and energy of a stack are layers × layer + stem, in which the layers (and the
stems) of its parts are one after another; what it holds is what its parts say they hold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from catransformers.search.costs.stacks import StackCosts
from catransformers.search.space import FloatArray, IntArray, ModelSpace
from catransformers.workloads import families
from catransformers.workloads.operators import Workload, WorkloadPart, concatenate
from catransformers.workloads.spec import ModelSpec


def prefixes_of(base: ModelSpec) -> tuple[str, ...]:
    """What the names of each stack's dimensions begin with: `("vision.", "text.")`, or `("",)` for a single stack."""
    return tuple(dict.fromkeys(name[: name.rfind(".") + 1] for name in base.dimensions()))


def times_of(base: ModelSpec, texts_per_image: float) -> tuple[float, ...]:
    """How often each stack runs in one inference: the text encoder of CLIP as often as an image meets a text."""
    once, here = families.parts(base), families.parts(base, texts_per_image)
    times = {one.component: other.times / one.times for one, other in zip(once, here, strict=True)}
    return tuple(times.get(prefix.rstrip("."), 1.0) for prefix in prefixes_of(base))


def variants_of(space: ModelSpace, prefix: str) -> list[dict[str, int]]:
    """The dimensions of all variants of one stack, in the order of the space."""
    names = [name for name in space.names if name.startswith(prefix)]
    return [dict(zip(names, choice, strict=True)) for choice in product(*(space.values[name] for name in names))]


def _parts_of(spec: ModelSpec, prefix: str) -> list[WorkloadPart]:
    return [part for part in families.parts(spec) if prefix in ("", f"{part.component}.")]


@dataclass(frozen=True)
class StackShapes:
    """The distinct layers and stems of some variants of a stack, and how each variant is made of them.

    Args:
        layers: the distinct layers.
        stems: the distinct stems.
        count: (variants,) number of layers.
        shape: (variants,) which layer.
        stem: (variants,) which stem.
        weight_bytes: (variants,) of all the stack's weights.
        activation_bytes: (variants,) its working set, the caches of all its layers included.
        parameters: (variants,) of the whole model, the other stacks being the base model's.
    """

    layers: list[Workload]
    stems: list[Workload]
    count: IntArray
    shape: IntArray
    stem: IntArray
    weight_bytes: IntArray
    activation_bytes: IntArray
    parameters: IntArray

    @property
    def workloads(self) -> list[Workload]:
        """All that has to be costed: the layers, then the stems."""
        return [*self.layers, *self.stems]

    @classmethod
    def of(cls, space: ModelSpace, prefix: str) -> StackShapes:
        """What the variants of one stack, named by its `prefix`, are made of; in the order of `variants_of`."""
        layers: dict[Workload, int] = {}
        stems: dict[Workload, int] = {}
        known: dict[tuple[int, ...], tuple[int, int, list[WorkloadPart]]] = {}
        rows = []
        for variant in variants_of(space, prefix):
            spec, count = space.base.with_dimensions(variant), variant[f"{prefix}layers"]
            key = tuple(size for name, size in variant.items() if name != f"{prefix}layers")
            if key not in known:
                parts = _parts_of(spec, prefix)
                layer = concatenate("layer", [part.layer.repeated(part.times) for part in parts])
                stem = concatenate("stem", [part.stem.repeated(part.times) for part in parts])
                known[key] = (layers.setdefault(layer, len(layers)), stems.setdefault(stem, len(stems)), parts)
            shape, end, parts = known[key]
            held = [replace(part, layers=count) for part in parts]
            weights, alive = sum(part.weight_bytes for part in held), max(part.activation_bytes for part in held)
            rows.append((count, shape, end, weights, alive, families.parameters(spec)))
        return cls([*layers], [*stems], *np.array(rows, dtype=np.int64).T)

    def costs(self, latency_s: FloatArray, energy_j: FloatArray) -> StackCosts:
        """With the costs of `workloads`, (2, workloads, accelerators): streamed, resident."""
        split = len(self.layers)
        return StackCosts(
            layer_latency_s=latency_s[:, :split],
            layer_energy_j=energy_j[:, :split],
            stem_latency_s=latency_s[:, split:],
            stem_energy_j=energy_j[:, split:],
            layers=self.count,
            shape=self.shape,
            stem=self.stem,
            weight_bytes=self.weight_bytes,
            activation_bytes=self.activation_bytes,
        )
