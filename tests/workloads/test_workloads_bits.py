"""Precision as an attribute: bits of a whole workload, of a part, and of single operators, with the bytes to match."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.errors import InputError
from catransformers.workloads import families
from catransformers.workloads.operators import Gemm, VectorOp, Workload, concatenate
from catransformers.workloads.zoo import named_spec

BITS = st.integers(2, 32)
NAMES = st.sampled_from(["embedded", "ViT-B-16", "vit-tiny-patch16-224", "MiniLM-L6-H384", "Llama-3.2-1B"])


@given(NAMES, BITS, BITS)
def test_bytes_follow_the_bits_and_work_stays(name: str, weight_bits: int, activation_bits: int) -> None:
    work = families.workload(named_spec(name))
    other = work.with_bits(weight_bits, activation_bits)
    assert other.macs == work.macs
    assert other.weight_bytes == work.weight_bytes * weight_bits / 8
    assert other.activation_bytes == work.activation_bytes * activation_bits / 8
    assert {op.weight_bits for op in other} == {weight_bits}
    assert {op.activation_bits for op in other} == {activation_bits}
    assert other.with_bits(8, 8) == work
    assert work.with_bits() == work


@given(NAMES, BITS, BITS)
def test_parts_and_wholes_agree_at_every_precision(name: str, weight_bits: int, activation_bits: int) -> None:
    spec = named_spec(name)
    parts = [part.with_bits(weight_bits, activation_bits).workload() for part in families.parts(spec, 2.5)]
    assert concatenate(spec.family, parts) == families.workload(spec, 2.5).with_bits(weight_bits, activation_bits)


def test_one_operator_at_another_precision() -> None:
    work = families.workload(named_spec("bert-base"))
    mixed = work.with_operator_bits(["ffn_up", "text.ffn_down"], weight_bits=4)
    ffn = 12 * (2 * 768 * 3072 + 768 + 3072)
    assert work.weight_bytes - mixed.weight_bytes == ffn / 2
    assert mixed.activation_bytes == work.activation_bytes
    assert {op.name for op in mixed if op.weight_bits == 4} == {"ffn_up", "ffn_down"}
    wide = work.with_operator_bits(["softmax"], activation_bits=16)
    assert wide.activation_bytes == 2 * work.activation_bytes  # any operator's operands may be what fills it
    assert wide.weight_bytes == work.weight_bytes


@given(st.lists(st.sampled_from(["qkv", "ffn_up", "vision.ln_1", "text.token_embed"])), BITS, BITS)
def test_order_of_changes_does_not_matter(names: list[str], first: int, second: int) -> None:
    work = families.workload(named_spec("ViT-B-32"))
    at_once = work.with_bits(first).with_operator_bits(names, second)
    one_by_one = work.with_bits(first)
    for name in names:
        one_by_one = one_by_one.with_operator_bits([name], second)
    assert one_by_one == at_once
    assert at_once.weight_bytes == sum(op.stored * op.weight_bits for op in at_once) / 8


def test_parameters_of_no_operator_are_as_wide_as_the_widest() -> None:
    work = Workload("w", (Gemm("a", "c", 2, 3, 4, stored=12), VectorOp("b", "c", "add", 2, 4)), 20, 8)
    assert work.with_bits(4).weight_bytes == 10
    assert work.with_operator_bits(["a"], 16).weight_bytes == 2 * 12 + 2 * 8
    bare = Workload("w", (Gemm("a", "c", 2, 3, 4),), 20, 8)
    assert bare.with_bits(2).with_bits(4).weight_bytes == 10


@pytest.mark.parametrize("bits", [0, 1, 33, -8, 8.0, True, "8"])
def test_impossible_bits(bits: int) -> None:
    work = families.workload(named_spec("bert-base"))
    with pytest.raises(InputError) as caught:
        work.with_bits(bits, bits)
    assert [p.where for p in caught.value.problems] == ["weight_bits", "activation_bits"]
    assert "2 to 32" in str(caught.value)


def test_unknown_operators_and_bits_at_once() -> None:
    work = families.workload(named_spec("bert-base"))
    with pytest.raises(InputError) as caught:
        work.with_operator_bits(["ffn_upp", "vision.qkv"], 1)
    assert len(caught.value.problems) == 3
    assert "did you mean 'ffn_up'?" in str(caught.value)
