"""The transformer block that CLIP, ViT and BERT share, in closed form, following section 4.1 of the design.

Encoder width d, FFN f, h heads of size e (attention width a = h·e, which pruning may make ≠ d), sequence s. The norm
goes before each half (CLIP, ViT) or after it (BERT): the same work in another order. Under a causal mask too, the full
s × s product of queries and keys is counted, since that is what dense arrays and libraries execute.
"""

from __future__ import annotations

from collections.abc import Iterable

from catransformers.workloads.dimensions import EncoderSpec
from catransformers.workloads.operators import Gemm, Operator, VectorKind, VectorOp, Workload


def linear(
    name: str,
    component: str,
    m: int,
    k: int,
    n: int,
    count: float = 1,
    *,
    copies: int = 1,
    bias: bool = False,
    parallel: int = 1,
) -> Gemm:
    """A product with weights, of which it stores `copies` sets of (k + bias) × n."""
    stored = copies * (k + bias) * n
    return Gemm(name, component, m, k, n, count, bias=bias, parallel=parallel, stored=stored)


def with_parameters(
    name: str, component: str, kind: VectorKind, rows: int, columns: int, values: int, stored: int | None = None
) -> VectorOp:
    """A vector operator of which a run reads `values` stored values; it stores these, or `stored`."""
    return VectorOp(
        name, component, kind, rows, columns, weight_values=values, stored=values if stored is None else stored
    )


def layer_norm(name: str, component: str, rows: int, columns: int) -> VectorOp:
    """A LayerNorm with a gain and a bias a column."""
    return with_parameters(name, component, "norm", rows, columns, 2 * columns)


def embedding(name: str, component: str, rows: int, columns: int, table: int, count: float = 1) -> VectorOp:
    """A look-up of `rows` rows of a table of `table` rows; a table of 0 rows is stored elsewhere."""
    return VectorOp(name, component, "embedding", rows, columns, count, stored=table * columns)


def layer_parameters(e: EncoderSpec) -> int:
    """Parameters of one block: Q, K, V and output projections, FFN, two LayerNorms, all biases."""
    d, a, f = e.embed_dim, e.attention_dim, e.ffn_dim
    return (3 * d * a + 3 * a) + (a * d + d) + (d * f + f) + (f * d + d) + 4 * d


def layer_workload(e: EncoderSpec, component: str, *, norm_first: bool = True) -> Workload:
    """One block of an encoder: attention and FFN with their residual sums, and a norm before or after each of them."""
    s, d, a, f, h = e.tokens, e.embed_dim, e.attention_dim, e.ffn_dim, e.heads
    attention: tuple[Operator, ...] = (
        linear("qkv", component, s, d, a, 3, copies=3, bias=True, parallel=3),
        Gemm("scores", component, s, e.head_dim, s, count=h, weights=False, parallel=h),
        VectorOp("softmax", component, "softmax", h * s, s),
        Gemm("context", component, s, s, e.head_dim, count=h, weights=False, parallel=h),
        linear("out_proj", component, s, a, d, bias=True),
        VectorOp("residual_1", component, "add", s, d),
    )
    feed_forward: tuple[Operator, ...] = (
        linear("ffn_up", component, s, d, f, bias=True),
        VectorOp("activation", component, "activation", s, f),
        linear("ffn_down", component, s, f, d, bias=True),
        VectorOp("residual_2", component, "add", s, d),
    )
    norm_1, norm_2 = (layer_norm(name, component, s, d) for name in ("ln_1", "ln_2"))
    if norm_first:
        operators = (norm_1, *attention, norm_2, *feed_forward)
    else:
        operators = (*attention, norm_1, *feed_forward, norm_2)
    # Alive at once: the residual stream beside either (its norm and) Q, K, V, or these and one head's scores and
    # context, or the FFN's input or result and its middle.
    projections = (1 + norm_first) * s * d + 3 * s * a
    scores = s * d + 4 * s * a + s * s
    middle = 2 * s * d + s * f
    return Workload(f"{component} layer", operators, layer_parameters(e), max(projections, scores, middle))


def stored_values(operators: Iterable[Operator]) -> int:
    """Parameters that some operators keep in memory."""
    return sum(op.stored for op in operators)
