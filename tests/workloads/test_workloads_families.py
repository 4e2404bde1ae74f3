"""The closed forms of all families: published sizes, the laws that make spaces cheap, how specs are read and set."""

from __future__ import annotations

from dataclasses import replace
from pkgutil import resolve_name

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.errors import InputError
from catransformers.registry import FAMILIES
from catransformers.workloads import bert, families, vit
from catransformers.workloads.operators import Gemm, VectorOp, concatenate
from catransformers.workloads.spec import BertSpec, LlamaSpec, ModelSpec, VitSpec
from catransformers.workloads.zoo import MODEL_NAMES, MODELS, named_spec

ONE_A_FAMILY = ("ViT-B-16", "vit-base-patch16-224", "bert-base", "Llama-3.2-1B")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [  # as the libraries and the papers give them
        ("vit-tiny-patch16-224", 5_717_416),
        ("vit-small-patch16-224", 22_050_664),
        ("vit-base-patch16-224", 86_567_656),
        ("vit-large-patch16-224", 304_326_632),
        ("bert-base", 109_483_778),
        ("bert-large", 335_143_938),
        ("distilbert-base", 66_955_010),
        ("MiniLM-L6-H384", 22_713_216),
        ("Llama-2-7B", 6_738_415_616),
        ("Llama-3.1-8B", 8_030_261_248),
        ("Llama-3.2-1B", 1_235_814_400),
        ("Llama-3.2-3B", 3_212_749_824),
        ("TinyLlama-1.1B", 1_100_048_384),
    ],
)
def test_published_parameters(name: str, parameters: int) -> None:
    assert families.parameters(named_spec(name)) == parameters


def test_work_of_vit_and_bert_by_hand() -> None:
    vit_macs = 12 * (12 * 197 * 768**2 + 2 * 197**2 * 768) + 196 * 768 * 768 + 768 * 1000
    assert families.workload(named_spec("vit-base-patch16-224")).macs == vit_macs
    bert_macs = 12 * (12 * 128 * 768**2 + 2 * 128**2 * 768) + 768 * 768 + 768 * 2
    assert families.workload(named_spec("bert-base")).macs == bert_macs


@st.composite
def specs(draw: st.DrawFn) -> ModelSpec:
    """Any pruned spec of any family, at any usage."""
    base = named_spec(draw(st.sampled_from(ONE_A_FAMILY)))
    values = {name: draw(st.integers(1, own)) for name, own in base.dimensions().items()}
    if isinstance(base, BertSpec):
        values["tokens"] = draw(st.integers(1, 512))
    if isinstance(base, LlamaSpec):
        values |= {"prompt_tokens": draw(st.integers(1, 4096)), "new_tokens": draw(st.integers(0, 300))}
    return base.with_dimensions(values)


@given(specs())
def test_a_spec_survives_its_plain_form(spec: ModelSpec) -> None:
    assert families.spec_from_dict(spec.to_dict()) == spec


@given(specs(), st.floats(0.1, 7))
def test_a_workload_is_times_of_layers_and_stem(spec: ModelSpec, texts: float) -> None:
    parts, work = families.parts(spec, texts), families.workload(spec, texts)
    macs = sum(p.times * (p.layers * p.layer.macs + p.stem.macs) for p in parts)
    assert work.macs == pytest.approx(macs, rel=1e-12, abs=1)  # each rounded to a whole number
    vector = sum(op.elements for op in work if isinstance(op, VectorOp))
    by_parts = sum(
        p.times * (p.layers * sum(op.elements for op in p.layer if isinstance(op, VectorOp)))
        + p.times * sum(op.elements for op in p.stem if isinstance(op, VectorOp))
        for p in parts
    )
    assert vector == pytest.approx(by_parts, rel=1e-12)
    assert work.weight_bytes == sum(p.layers * p.layer.weight_bytes + p.stem.weight_bytes for p in parts)
    assert work.activation_bytes == max(p.activation_bytes for p in parts)
    assert all(op.component in {p.component for p in parts} for op in work)


@given(specs())
def test_stored_values_are_the_parameters(spec: ModelSpec) -> None:
    work = families.workload(spec)
    scale = 1 if spec.family == "clip" else 0  # CLIP's logit scale is no operator's
    assert sum(op.stored for op in work) == work.weight_bytes == families.parameters(spec) - scale


@given(specs())
def test_every_stored_value_is_read_once_a_pass(spec: ModelSpec) -> None:
    """But for tables, of which only some rows are read, and tied ones, which are read twice."""
    for part in families.parts(spec):
        for work in (part.layer, part.stem):
            runs = spec.new_tokens if isinstance(spec, LlamaSpec) and part.component == "decode" else 1
            for op in work:
                if isinstance(op, Gemm) and op.weights:
                    read = op.count * (op.k + op.bias) * op.n
                elif isinstance(op, VectorOp) and op.kind != "embedding" and op.weight_values:
                    read = op.count * op.weight_values
                else:
                    continue
                tied = op.name == "lm_head" and isinstance(spec, LlamaSpec) and spec.tied_embeddings
                if part.component == "decode" or tied:
                    assert op.stored == 0
                elif op.name == "positions" and isinstance(spec, BertSpec):
                    assert op.stored == spec.positions * spec.encoder.embed_dim >= read
                else:
                    assert read == runs * op.stored


@given(specs())
def test_work_is_linear_in_layers(spec: ModelSpec) -> None:
    names = [name for name in spec.dimensions() if name.endswith("layers")]
    one = spec.with_dimensions(dict.fromkeys(names, 1))
    each = sum(p.layer.macs for p in families.parts(one))
    stems = sum(p.stem.macs for p in families.parts(one))
    assert families.workload(one).macs == each + stems
    if len({spec.dimensions()[name] for name in names}) == 1:
        assert families.workload(spec).macs == spec.dimensions()[names[0]] * each + stems


@given(specs(), st.data())
def test_pruning_never_adds(spec: ModelSpec, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(spec.dimensions())))
    pruned = spec.with_dimensions({name: data.draw(st.integers(1, spec.dimensions()[name]))})
    more, less = families.workload(spec), families.workload(pruned)
    assert less.macs <= more.macs
    assert less.weight_bytes <= more.weight_bytes
    assert less.activation_bytes <= more.activation_bytes
    assert families.parameters(pruned) <= families.parameters(spec)


def test_every_named_model_has_a_workload_and_its_aliases() -> None:
    for name in MODEL_NAMES:
        work = families.workload(named_spec(name))
        assert work.macs > 1e6
        assert 0 < work.activation_bytes < work.weight_bytes
    for alias, name in {
        "google/vit-base-patch16-224": "vit-base-patch16-224",
        "vit_base_patch16_224": "vit-base-patch16-224",
        "BERT-Base-Uncased": "bert-base",
        "google-bert/bert-base-uncased": "bert-base",
        "meta-llama/Llama-2-7b-hf": "Llama-2-7B",
        "llama-3.1-8b": "Llama-3.1-8B",
        "sentence-transformers/all-MiniLM-L6-v2": "MiniLM-L6-H384",
        "ViT-B/16": "ViT-B-16",
    }.items():
        assert named_spec(alias) == MODELS[name]


def test_usage_may_grow_and_dimensions_may_not() -> None:
    spec = named_spec("bert-base")
    longer = spec.with_dimensions({"tokens": 512})
    assert longer.usage() == {"tokens": 512}
    assert longer.dimensions() == spec.dimensions()
    assert families.parameters(longer) == families.parameters(spec)
    with pytest.raises(InputError) as caught:
        spec.with_dimensions({"tokens": 513, "layers": 13, "heads": 0, "laers": 3, "ffn_dim": 1.5, "prompt_tokens": 4})
    text = str(caught.value)
    for part in (
        "tokens: 513 is out of range; allowed: 1 to 512",
        "layers: 13 is out of range; allowed: 1 to 12",
        "heads: 0 is out of range",
        "did you mean 'layers'?",
        "ffn_dim: 1.5 is not a whole number",
        "prompt_tokens: unknown dimension; allowed: layers, ffn_dim, embed_dim, heads, tokens",
    ):
        assert part in text


def test_heads_of_llama_follow_their_keys_and_values() -> None:
    spec = named_spec("Llama-3.1-8B")
    assert spec.group_size == 4
    pruned = spec.with_dimensions({"kv_heads": 3, "new_tokens": 0, "prompt_tokens": 131072})
    assert (pruned.heads, pruned.kv_heads, pruned.group_size) == (12, 3, 4)
    with pytest.raises(InputError, match="set kv_heads: each has a group of 4 query heads"):
        spec.with_dimensions({"heads": 16})
    with pytest.raises(InputError, match="together at most 131072"):
        spec.with_dimensions({"prompt_tokens": 131072, "new_tokens": 1})
    with pytest.raises(InputError, match="new_tokens: -1 is out of range; allowed: 0 to"):
        spec.with_dimensions({"new_tokens": -1})


@pytest.mark.parametrize("name", ONE_A_FAMILY)
def test_damaged_plain_forms_are_told_all_at_once(name: str) -> None:
    data = named_spec(name).to_dict()
    table = next((v for v in data.values() if isinstance(v, dict) and "ffn_dim" in v), data)
    del table["ffn_dim"]
    table["layers"], table["widht"] = "twelve", 3
    with pytest.raises(InputError) as caught:
        families.spec_from_dict(data)
    text = str(caught.value)
    assert "ffn_dim: missing" in text
    assert "'twelve' is not a size" in text
    assert "widht: unknown key" in text


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("vit-base-patch16-224", {"class_token": False}, "tokens.*do not fit.*196"),
        ("vit-base-patch16-224", {"class_token": 1}, "class_token: 1 is neither true nor false"),
        ("vit-base-patch16-224", {"pooling": "max"}, "'max' is unknown; allowed: class, mean"),
        ("vit-base-patch16-224", {"classes": -1}, "classes"),
        ("vit-base-patch16-224", {"encoder": 3}, "3 is not a table"),
        ("bert-base", {"positions": 100}, "128 tokens are more than there are positions; allowed: 1 to 100"),
        ("bert-base", {"token_types": True}, "token_types"),
        ("Llama-2-7B", {"kv_heads": 5}, "32 are not whole groups; allowed: multiples of 5"),
        ("Llama-2-7B", {"max_tokens": 600}, "together at most 600"),
        ("Llama-2-7B", {"tied_embeddings": "no"}, "tied_embeddings"),
        ("Llama-2-7B", {"family": "lama"}, "did you mean 'llama'?"),
        ("Llama-2-7B", {"family": ["llama"]}, "family"),
    ],
)
def test_impossible_plain_forms(name: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        families.spec_from_dict(named_spec(name).to_dict() | changes)


@pytest.mark.parametrize("data", [{}, [], None, {"layers": 3}])
def test_a_plain_form_without_family(data: object) -> None:
    with pytest.raises(InputError, match="family: missing; allowed: clip, vit, bert, llama"):
        families.spec_from_dict(data)  # type: ignore[arg-type]


@given(st.booleans(), st.integers(0, 20))
def test_a_vit_without_class_token_pools_its_patches(class_token: bool, classes: int) -> None:
    base = named_spec("vit-tiny-patch16-224")
    assert isinstance(base, VitSpec)
    encoder = replace(base.encoder, tokens=196 + class_token)
    spec = VitSpec(encoder, classes, class_token, "mean")
    assert families.spec_from_dict(spec.to_dict()) == spec
    work = families.workload(spec)
    assert work.weight_bytes == vit.parameters(spec)
    assert vit.parameters(spec) == vit.parameters(base) - (1000 - classes) * 193 - (not class_token) * 2 * 192
    pool = next(op for op in work if op.name == "pool")
    assert isinstance(pool, VectorOp)
    assert (pool.rows, pool.columns) == (196, 192)
    assert any(op.name == "classifier" for op in work) == (classes > 0)


def test_bert_without_pooler_types_and_classes_has_fewer_operators() -> None:
    base = named_spec("bert-base")
    assert isinstance(base, BertSpec)
    bare = replace(base, token_types=0, pooler=False, classes=0)
    missing = {op.name for op in families.workload(base)} - {op.name for op in families.workload(bare)}
    assert missing == {"token_types", "pooler", "pooler_activation", "classifier"}
    assert bert.parameters(base) - bert.parameters(bare) == 2 * 768 + 769 * 768 + 769 * 2


def test_the_norms_of_bert_come_after_each_half() -> None:
    names = [op.name for op in bert.parts(named_spec("bert-base"))[0].layer]  # type: ignore[arg-type]
    assert names[names.index("residual_1") + 1] == "ln_1"
    assert names[-2:] == ["residual_2", "ln_2"]


def test_concatenation_of_nothing() -> None:
    nothing = concatenate("nothing", [])
    assert (nothing.macs, nothing.weight_bytes, nothing.activation_bytes, list(nothing)) == (0, 0, 0, [])


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_row_names_what_there_is(family: str) -> None:
    row = FAMILIES[family]
    assert callable(resolve_name(row.net))
    formats = resolve_name(row.formats)
    assert all(hasattr(formats, name) for name in ("spec_from_huggingface", "tensors_from_huggingface"))
    assert row.model_types and (row.vision or row.vocabulary)
    assert row.pairs == (family == "clip")


def test_an_unknown_family_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match="clip"):
        families.spec_from_dict({"family": "clop"})
