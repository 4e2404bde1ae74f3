"""The few hundred layer shapes and stems that a space of a million models is made of (section 4.3 of the design)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from catransformers.search.encoder_costs import EncoderCosts
from catransformers.search.space import FloatArray, IntArray, ModelSpace
from catransformers.workloads import clip
from catransformers.workloads.operators import Workload
from catransformers.workloads.spec import ClipSpec, EncoderSpec, VisionSpec


def variants_of(space: ModelSpace, component: str) -> list[EncoderSpec]:
    """All variants of one encoder, in the order of the space."""
    names = [name for name in space.names if name.startswith(f"{component}.")]
    choices = product(*(space.values[name] for name in names))
    specs = (space.base.with_dimensions(dict(zip(names, choice, strict=True))) for choice in choices)
    return [getattr(spec, component) for spec in specs]


def parameters_of(variants: Sequence[EncoderSpec], base: ClipSpec) -> IntArray:
    """(variants,) parameters of an encoder's variants."""
    return np.array(
        [e.layers * clip.layer_parameters(e) + clip.stem_parameters(e, base.projection_dim) for e in variants],
        dtype=np.int64,
    )


@dataclass(frozen=True)
class EncoderShapes:
    """The distinct layers and stems of some variants of an encoder, and how each variant is made of them.

    Args:
        layers: the distinct layers.
        stems: the distinct stems.
        count: (variants,) number of layers.
        shape: (variants,) which layer.
        stem: (variants,) which stem.
    """

    layers: list[Workload]
    stems: list[Workload]
    count: IntArray
    shape: IntArray
    stem: IntArray

    @property
    def workloads(self) -> list[Workload]:
        """All that has to be costed: the layers, then the stems."""
        return [*self.layers, *self.stems]

    @classmethod
    def of(cls, variants: Sequence[EncoderSpec], projection_dim: int) -> EncoderShapes:
        """The distinct parts of some variants of one encoder."""
        component = "vision" if isinstance(variants[0], VisionSpec) else "text"
        layers: dict[tuple[int, int, int], tuple[int, Workload]] = {}
        stems: dict[int, tuple[int, Workload]] = {}
        shape, stem = [], []
        for e in variants:
            key = (e.ffn_dim, e.embed_dim, e.heads)
            if key not in layers:
                layers[key] = (len(layers), clip.layer_workload(e, component))
            if e.embed_dim not in stems:
                stems[e.embed_dim] = (len(stems), clip.stem_workload(e, component, projection_dim))
            shape.append(layers[key][0])
            stem.append(stems[e.embed_dim][0])
        return cls(
            [work for _, work in layers.values()],
            [work for _, work in stems.values()],
            np.array([e.layers for e in variants], dtype=np.int64),
            np.array(shape, dtype=np.int64),
            np.array(stem, dtype=np.int64),
        )

    def costs(self, latency_s: FloatArray, energy_j: FloatArray) -> EncoderCosts:
        """With the costs of `workloads`, (2, workloads, accelerators): streamed, resident."""
        split = len(self.layers)
        layer_bytes, stem_bytes = (np.array([w.weight_bytes for w in g]) for g in (self.layers, self.stems))
        layer_sets, stem_sets = (np.array([w.activation_bytes for w in g]) for g in (self.layers, self.stems))
        return EncoderCosts(
            layer_latency_s=latency_s[:, :split],
            layer_energy_j=energy_j[:, :split],
            stem_latency_s=latency_s[:, split:],
            stem_energy_j=energy_j[:, split:],
            layers=self.count,
            shape=self.shape,
            stem=self.stem,
            weight_bytes=self.count * layer_bytes[self.shape] + stem_bytes[self.stem],
            activation_bytes=np.maximum(layer_sets[self.shape], stem_sets[self.stem]),
        )
