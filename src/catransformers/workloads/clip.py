"""CLIP in closed form: operators, parameters and bytes of a spec, following section 4.1 of the design.

An encoder is `layers` times one layer plus a stem (everything that does not repeat), so that the cost of
every model of a space follows from a few hundred layer shapes. Counts agree with open_clip to the parameter.
"""

from __future__ import annotations

from catransformers.workloads import blocks
from catransformers.workloads.blocks import embedding, layer_norm, linear, with_parameters
from catransformers.workloads.operators import Operator, Workload, WorkloadPart, concatenate
from catransformers.workloads.spec import ClipSpec, EncoderSpec, TextSpec, VisionSpec


def layer_parameters(e: EncoderSpec) -> int:
    """Parameters of one block: Q, K, V and output projections, FFN, two LayerNorms, all biases."""
    return blocks.layer_parameters(e)


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


def layer_workload(e: EncoderSpec, component: str) -> Workload:
    """One block of an encoder: pre-norm attention and FFN with their residual sums."""
    return blocks.layer_workload(e, component)


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


def workload(spec: ClipSpec, texts_per_image: float = 1) -> Workload:
    """One inference: one image and `texts_per_image` texts through their encoders."""
    return concatenate("clip", [part.workload() for part in parts(spec, texts_per_image)])
