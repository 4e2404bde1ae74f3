"""CLIP in closed form: operators, parameters and bytes of a spec, following section 4.1 of the design.

An encoder is `layers` times one layer plus a stem (everything that does not repeat), so that the cost of
every model of a space follows from a few hundred layer shapes. Counts agree with open_clip to the parameter.
"""

from __future__ import annotations

from math import ceil

from catransformers.workloads.operators import Gemm, Operator, VectorOp, Workload, concatenate
from catransformers.workloads.spec import ClipSpec, EncoderSpec, TextSpec, VisionSpec

WEIGHT_BITS = 8
ACTIVATION_BITS = 8


def layer_parameters(e: EncoderSpec) -> int:
    """Parameters of one block: Q, K, V and output projections, FFN, two LayerNorms, all biases."""
    d, a, f = e.embed_dim, e.attention_dim, e.ffn_dim
    return (3 * d * a + 3 * a) + (a * d + d) + (d * f + f) + (f * d + d) + 4 * d


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


def _bytes(values: int, bits: int) -> int:
    return ceil(values * bits / 8)


def layer_workload(e: EncoderSpec, component: str) -> Workload:
    """One block of an encoder: pre-norm attention and FFN with their residual sums."""
    s, d, a, f, h = e.tokens, e.embed_dim, e.attention_dim, e.ffn_dim, e.heads
    operators: tuple[Operator, ...] = (
        VectorOp("ln_1", component, "norm", s, d),
        Gemm("qkv", component, s, d, a, count=3, bias=True, parallel=3),
        Gemm("scores", component, s, e.head_dim, s, count=h, weights=False, parallel=h),
        VectorOp("softmax", component, "softmax", h * s, s),
        Gemm("context", component, s, s, e.head_dim, count=h, weights=False, parallel=h),
        Gemm("out_proj", component, s, a, d, bias=True),
        VectorOp("residual_1", component, "add", s, d),
        VectorOp("ln_2", component, "norm", s, d),
        Gemm("ffn_up", component, s, d, f, bias=True),
        VectorOp("activation", component, "activation", s, f),
        Gemm("ffn_down", component, s, f, d, bias=True),
        VectorOp("residual_2", component, "add", s, d),
    )
    # Alive at once: the residual stream beside either its norm and Q, K, V, or these and one head's scores and context,
    # or its norm and the FFN's middle.
    projections = 2 * s * d + 3 * s * a
    attention = s * d + 4 * s * a + s * s
    feed_forward = 2 * s * d + s * f
    return Workload(
        f"{component} layer",
        operators,
        _bytes(layer_parameters(e), WEIGHT_BITS),
        _bytes(max(projections, attention, feed_forward), ACTIVATION_BITS),
    )


def stem_workload(e: EncoderSpec, component: str, projection_dim: int) -> Workload:
    """What an encoder does once: embed its input, the outer norms, project the pooled token."""
    s, d = e.tokens, e.embed_dim
    head: tuple[Operator, ...]
    if isinstance(e, VisionSpec):
        patches, pixels = s - 1, 3 * e.patch_size**2
        head = (
            Gemm("patch_embed", component, patches, pixels, d),
            VectorOp("positions", component, "add", s, d),
            VectorOp("ln_pre", component, "norm", s, d),
        )
        alive = max(patches * (pixels + d), 2 * s * d)
        pooled = 1  # ln_post sees the class token only
    else:
        head = (
            VectorOp("token_embed", component, "embedding", s, d),
            VectorOp("positions", component, "add", s, d),
        )
        alive = 2 * s * d
        pooled = s  # ln_final runs before pooling, on every token
    tail = (
        VectorOp("ln_out", component, "norm", pooled, d),
        Gemm("projection", component, 1, d, projection_dim),
    )
    return Workload(
        f"{component} stem",
        head + tail,
        _bytes(stem_parameters(e, projection_dim), WEIGHT_BITS),
        _bytes(alive, ACTIVATION_BITS),
    )


def workload(spec: ClipSpec, texts_per_image: float = 1) -> Workload:
    """One inference: one image and `texts_per_image` texts through their encoders.

    Each text is run by itself, so the texts multiply the text encoder's operators, not its stored weights.
    """
    parts = []
    for component, e, times in (("vision", spec.vision, 1), ("text", spec.text, texts_per_image)):
        once = concatenate(
            component,
            [stem_workload(e, component, spec.projection_dim), layer_workload(e, component).scaled(e.layers)],
        )
        run = once.scaled(times)
        parts.append(Workload(component, run.operators, once.weight_bytes, once.activation_bytes))
    return concatenate("clip", parts)
