"""Prefill and decode of Llama: every step of the decode counted one by one, caches, and shared keys and values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catransformers.errors import InputError
from catransformers.workloads import families, llama
from catransformers.workloads.llama import RopeScaling
from catransformers.workloads.operators import Gemm, VectorOp, Workload
from catransformers.workloads.spec import LlamaSpec
from catransformers.workloads.zoo import named_spec

SMALL = LlamaSpec(
    layers=3,
    ffn_dim=40,
    embed_dim=24,
    heads=6,
    kv_heads=2,
    head_dim=5,
    vocab_size=50,
    tied_embeddings=False,
    max_tokens=10_000,
    prompt_tokens=7,
    new_tokens=5,
)
LENGTHS = st.tuples(st.integers(1, 300), st.integers(1, 400))


def with_tokens(prompt: int, new: int, spec: LlamaSpec = SMALL) -> LlamaSpec:
    return replace(spec, prompt_tokens=prompt, new_tokens=new)


def step_macs(spec: LlamaSpec, length: int) -> int:
    """One step of the decode at a cache of `length`, by hand."""
    d, a, kv, f = spec.embed_dim, spec.attention_dim, spec.kv_dim, spec.ffn_dim
    layer = 2 * d * a + 2 * d * kv + 2 * spec.heads * length * spec.head_dim + 3 * d * f
    return spec.layers * layer + d * spec.vocab_size


@given(LENGTHS)
def test_the_decode_is_the_sum_of_its_steps(lengths: tuple[int, int]) -> None:
    p, g = lengths
    spec = with_tokens(p, g)
    assert llama.decode(spec).macs == sum(step_macs(spec, p + t) for t in range(1, g + 1))


@settings(deadline=None)
@given(LENGTHS)
def test_values_of_the_decode_are_those_of_its_steps(lengths: tuple[int, int]) -> None:
    p, g = lengths

    def values(work: Workload, kind: str) -> float:
        return sum(op.elements for op in work if isinstance(op, VectorOp) and op.kind == kind)

    many = llama.decode(with_tokens(p, g))
    steps = [llama.decode(with_tokens(p + t, 1)) for t in range(g)]
    for kind in ("softmax", "norm", "activation", "multiply", "rotary", "add", "embedding"):
        assert values(many, kind) == sum(values(step, kind) for step in steps)
    assert len(many.operators) <= 3 * llama.BUCKETS + 20


@given(st.integers(1, 1000), st.integers(0, 1000))
def test_buckets_cover_the_steps_in_order(first: int, steps: int) -> None:
    buckets = llama.even_buckets(first, steps)
    assert len(buckets) <= llama.BUCKETS
    assert sum(size for _, size in buckets) == steps
    at = first
    for length, size in buckets:
        assert length == at + (size - 1) / 2
        at += size
    sizes = [size for _, size in buckets]
    assert not sizes or max(sizes) - min(sizes) <= 2


@given(st.integers(1, 500))
def test_the_prefill_by_hand(p: int) -> None:
    spec = with_tokens(p, 0)
    d, a, kv, f = spec.embed_dim, spec.attention_dim, spec.kv_dim, spec.ffn_dim
    layer = p * (2 * d * a + 2 * d * kv + 3 * d * f) + 2 * spec.heads * p * p * spec.head_dim
    assert llama.prefill(spec).macs == spec.layers * layer + d * spec.vocab_size


def test_an_inference_is_prefill_and_decode_over_one_set_of_weights() -> None:
    prefill, decode, both = llama.prefill(SMALL), llama.decode(SMALL), families.workload(SMALL)
    assert both.macs == prefill.macs + decode.macs
    assert [(op.name, op.component, op.count) for op in both] == [
        (op.name, op.component, op.count) for work in (prefill, decode) for op in work
    ]
    assert prefill.weight_bytes == decode.weight_bytes == both.weight_bytes == llama.parameters(SMALL)
    assert both == families.workload(SMALL)
    alone = with_tokens(7, 0)
    assert families.workload(alone).operators == prefill.operators
    with pytest.raises(ValueError, match="nothing to decode"):
        llama.decode(alone)


def test_query_heads_of_a_group_share_their_keys_and_values() -> None:
    for part, tokens in zip(llama.parts(SMALL), (7, 1), strict=True):
        scores = [op for op in part.layer if op.name == "scores"]
        context = [op for op in part.layer if op.name == "context"]
        for op in (*scores, *context):
            assert isinstance(op, Gemm)
            assert not op.weights
            assert (op.m, op.parallel) == (3 * tokens, 2)
        assert all(isinstance(op, Gemm) and op.k == 5 for op in scores)


def test_a_decode_reads_its_whole_cache_and_all_weights_in_each_step() -> None:
    spec = with_tokens(100, 4)
    layer = llama.decode_part(spec).layer
    cache = sum(op.k * op.n * op.count for op in layer if isinstance(op, Gemm) and not op.weights)
    assert cache == sum(2 * spec.kv_dim * (100 + t) for t in range(1, 5))
    weights = sum(op.k * op.n * op.count for op in layer if isinstance(op, Gemm) and op.weights)
    gains = sum(op.weight_values * op.count for op in layer if isinstance(op, VectorOp))
    assert weights + gains == 4 * llama.layer_parameters(spec)


def test_all_layers_caches_are_alive_at_once() -> None:
    spec = with_tokens(1000, 200)
    assert llama.prefill_part(spec).cache_bytes == 3 * 2 * spec.kv_dim * 1000
    assert llama.decode_part(spec).cache_bytes == 3 * 2 * spec.kv_dim * 1200
    more = replace(spec, layers=4)
    assert llama.decode(more).activation_bytes - llama.decode(spec).activation_bytes == 2 * spec.kv_dim * 1200
    four = families.workload(spec).with_bits(4, 4)
    assert four.activation_bytes == families.workload(spec).activation_bytes / 2


def test_a_tied_output_reads_the_table_but_stores_nothing() -> None:
    tied = replace(SMALL, tied_embeddings=True)
    head = next(op for op in llama.prefill(tied) if op.name == "lm_head")
    assert isinstance(head, Gemm)
    assert (head.k, head.n, head.weights, head.stored) == (24, 50, True, 0)
    assert llama.parameters(SMALL) - llama.parameters(tied) == 24 * 50
    assert families.workload(tied).macs == families.workload(SMALL).macs


def test_biases_add_their_parameters_and_no_products() -> None:
    biased = replace(SMALL, qkv_bias=True)
    assert llama.parameters(biased) - llama.parameters(SMALL) == 3 * (6 * 5 + 2 * 2 * 5)
    assert families.workload(biased).macs == families.workload(SMALL).macs
    for spec in (SMALL, biased):
        work = families.workload(spec)
        assert work.weight_bytes == llama.parameters(spec) == sum(op.stored for op in work)
    gemms = {op.name: op.bias for op in llama.prefill(biased) if isinstance(op, Gemm)}
    assert {name for name, bias in gemms.items() if bias} == {"query", "key_value"}


def test_qwen2_has_the_parameters_it_is_known_for() -> None:
    """Qwen2-0.5B: 494,032,768 parameters (the model's page), its dimensions from arXiv 2407.10671, table 1."""
    qwen = replace(
        SMALL,
        layers=24,
        ffn_dim=4864,
        embed_dim=896,
        heads=14,
        kv_heads=2,
        head_dim=64,
        vocab_size=151936,
        tied_embeddings=True,
        qkv_bias=True,
    )
    assert llama.parameters(qwen) == 494_032_768


STRETCHED = replace(SMALL, qkv_bias=True, norm_eps=1e-6, rope_theta=1e6, rope_scaling=RopeScaling(8.0, 1.0, 4.0, 64))


def test_plain_forms_of_before_are_read_with_the_defaults() -> None:
    data = SMALL.to_dict()
    old = {k: v for k, v in data.items() if k not in ("qkv_bias", "norm_eps", "rope_theta", "rope_scaling")}
    assert len(data) - len(old) == 4
    assert LlamaSpec.from_dict(old) == SMALL
    assert LlamaSpec.from_dict(STRETCHED.to_dict()) == STRETCHED
    assert STRETCHED.with_dimensions({"kv_heads": 1, "layers": 2}).rope_scaling == STRETCHED.rope_scaling
    whole = LlamaSpec.from_dict(STRETCHED.to_dict() | {"rope_theta": 1_000_000})
    assert isinstance(whole.rope_theta, float)
    assert whole == STRETCHED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qkv_bias": 1}, "qkv_bias: 1 is neither true nor false"),
        ({"norm_eps": 0}, "norm_eps: 0 is not a number above 0"),
        ({"norm_eps": True}, "norm_eps: True is not a number"),
        ({"rope_theta": float("inf")}, "rope_theta: inf is not a number"),
        ({"rope_theta": "10000"}, "rope_theta: '10000' is not a number"),
        ({"rope_scaling": 8}, "rope_scaling: 8 is not a table"),
        ({"rope_scaling": {"factor": 0.5}}, "rope_scaling.original_max: missing"),
        ({"rope_scaling.factor": 0.5}, "rope_scaling.factor: 0.5 would shrink; allowed: numbers from 1"),
        ({"rope_scaling.high_freq_factor": 1.0}, "high_freq_factor: 1.0 leaves no ramp"),
        ({"rope_scaling.original_max": 0}, "rope_scaling.original_max: 0 is not a size"),
        ({"rope_scaling.faktor": 8}, "did you mean 'factor'?"),
    ],
)
def test_impossible_rotary_embeddings_and_norms_are_told(change: dict[str, Any], message: str) -> None:
    data: dict[str, Any] = STRETCHED.to_dict()
    for key, value in change.items():
        table, _, inner = key.rpartition(".")
        (data[table] if table else data)[inner] = value
    with pytest.raises(InputError) as caught:
        LlamaSpec.from_dict(data)
    assert message in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    data = STRETCHED.to_dict() | {"norm_eps": -1.0, "layers": 0, "rope_scaling": {"factor": "8"}, "qkv_bias": None}
    with pytest.raises(InputError) as caught:
        LlamaSpec.from_dict(data)
    where = [problem.where.removeprefix("model spec: ") for problem in caught.value.problems]
    missing = [f"rope_scaling.{name}" for name in ("original_max", "low_freq_factor", "high_freq_factor")]
    assert sorted(where) == sorted(["norm_eps", "layers", "qkv_bias", "rope_scaling.factor", *missing])


def test_the_named_models_turn_as_published() -> None:
    """Of the configurations published with the weights: rope_theta, rope_scaling."""
    for name, theta, factor in (
        ("Llama-2-7B", 1e4, None),
        ("TinyLlama-1.1B", 1e4, None),
        ("Llama-3.1-8B", 5e5, 8.0),
        ("Llama-3.2-1B", 5e5, 32.0),
        ("Llama-3.2-3B", 5e5, 32.0),
    ):
        spec = named_spec(name)
        assert isinstance(spec, LlamaSpec)
        assert (spec.rope_theta, spec.norm_eps, spec.qkv_bias) == (theta, 1e-5, False)
        assert spec.rope_scaling == (None if factor is None else RopeScaling(factor, 1.0, 4.0, 8192))
