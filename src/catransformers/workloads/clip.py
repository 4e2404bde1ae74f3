"""CLIP, an image and a text encoder of one space: its spec and its closed form, following section 4.1 of the design.

An encoder is `layers` times one layer plus a stem (everything that does not repeat), so that the cost of
every model of a space follows from a few hundred layer shapes. Counts agree with open_clip to the parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from catransformers.reading import Rule, Table
from catransformers.workloads.blocks import (
    embedding,
    layer_norm,
    layer_parameters,
    layer_workload,
    linear,
    with_parameters,
)
from catransformers.workloads.dimensions import (
    PRUNABLE,
    SIZE,
    Encoder,
    EncoderSpec,
    TextSpec,
    VisionSpec,
    check_dimensions,
    encoder_dimensions,
    plain,
    read_spec,
    words,
)
from catransformers.workloads.family import Family
from catransformers.workloads.operators import Operator, Workload, WorkloadPart

Activation = Literal["gelu", "quick_gelu"]


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """A CLIP model: a vision and a text encoder that project into one space of `projection_dim`.

    `activation` is `gelu` or `quick_gelu` (the original CLIP's x·σ(1.702x)).
    """

    vision: VisionSpec
    text: TextSpec
    projection_dim: int
    activation: Activation = "gelu"

    family = "clip"

    def dimensions(self) -> dict[str, int]:
        """The prunable dimensions by name, in a fixed order: `{"vision.layers": 12, …, "text.heads": 8}`."""
        return encoder_dimensions(self.vision, "vision.") | encoder_dimensions(self.text, "text.")

    def usage(self) -> dict[str, int]:
        """What else `with_dimensions` may set: nothing, every text fills the context."""
        return {}

    def with_dimensions(self, values: Mapping[str, int]) -> ClipSpec:
        """This spec with some prunable dimensions replaced.

        Raises:
            InputError: for unknown names and for values outside 1 … this spec's own (pruning never grows); all at once.
        """
        check_dimensions(self.dimensions(), values).finish()
        changed = {
            c: replace(getattr(self, c), **{d: values[f"{c}.{d}"] for d in PRUNABLE if f"{c}.{d}" in values})
            for c in ("vision", "text")
        }
        return replace(self, **changed)

    def to_dict(self) -> dict[str, object]:
        """Plain data that `from_dict` reads back; the `model` object of `--json`."""
        return {
            "family": self.family,
            "projection_dim": self.projection_dim,
            "activation": self.activation,
            "vision": plain(self.vision),
            "text": plain(self.text),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ClipSpec:
        """The inverse of `to_dict`.

        Raises:
            InputError: if a key is missing or unknown, a size is no whole number above 0, or the activation is unknown.
        """
        rules: dict[str, Rule | Table] = {
            "projection_dim": SIZE,
            "activation": words(*get_args(Activation)),
            "vision": Encoder(VisionSpec),
            "text": Encoder(TextSpec),
        }
        return cls(**read_spec(data, cls.family, rules))


def stem_parameters(e: EncoderSpec, projection_dim: int) -> int:
    """Parameters of an encoder outside its blocks (embeddings, outer norms, projection)."""
    d = e.embed_dim
    shared = e.tokens * d + d * projection_dim  # positions, projection (no bias)
    if isinstance(e, VisionSpec):
        return shared + 3 * e.patch_size**2 * d + d + 4 * d  # patch convolution, class token, ln_pre and ln_post
    if isinstance(e, TextSpec):
        return shared + e.vocab_size * d + 2 * d  # token table, ln_final
    raise TypeError(f"no stem for {type(e).__name__}")


def parameters(spec: ClipSpec) -> int:
    """Parameters of the whole model, the logit scale included (ViT-B-16: 149,620,737)."""
    return 1 + sum(
        e.layers * layer_parameters(e) + stem_parameters(e, spec.projection_dim) for e in (spec.vision, spec.text)
    )


def stem_workload(e: EncoderSpec, component: str, projection_dim: int) -> Workload:
    """What an encoder does once: embed its input, the outer norms, project the pooled token."""
    s, d = e.tokens, e.embed_dim
    head: tuple[Operator, ...]
    if isinstance(e, VisionSpec):
        patches, pixels = s - 1, 3 * e.patch_size**2
        head = (
            linear("patch_embed", component, patches, pixels, d),
            with_parameters("positions", component, "add", s, d, s * d + d),  # and the class token
            layer_norm("ln_pre", component, s, d),
        )
        alive = max(patches * (pixels + d), 2 * s * d)
        pooled = 1  # ln_post sees the class token only
    elif isinstance(e, TextSpec):
        head = (
            embedding("token_embed", component, s, d, e.vocab_size),
            with_parameters("positions", component, "add", s, d, s * d),
        )
        alive = 2 * s * d
        pooled = s  # ln_final runs before pooling, on every token
    else:
        raise TypeError(f"no stem for {type(e).__name__}")
    tail = (
        layer_norm("ln_out", component, pooled, d),
        linear("projection", component, 1, d, projection_dim),
    )
    return Workload(f"{component} stem", head + tail, stem_parameters(e, projection_dim), alive)


def parts(spec: ClipSpec, texts_per_image: float = 1) -> list[WorkloadPart]:
    """The vision encoder, once, and the text encoder, `texts_per_image` times.

    Each text is run by itself, so the texts multiply the text encoder's operators, not its stored weights.
    """
    return [
        WorkloadPart(
            component,
            e.layers,
            layer_workload(e, component),
            stem_workload(e, component, spec.projection_dim),
            times,
        )
        for component, e, times in (("vision", spec.vision, 1), ("text", spec.text, texts_per_image))
    ]


FAMILY = Family(
    ClipSpec.from_dict,
    parts,
    parameters,
    net="catransformers.models.families.clip:Clip",
    formats="catransformers.models.formats.clip",
    model_types=("clip",),
    exports=("huggingface", "open_clip", "onnx"),
    vision=lambda spec: spec.vision,
    vocabulary=lambda spec: spec.text.vocab_size,
    processor="clip",
)
