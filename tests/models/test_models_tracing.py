"""Traced workloads: exactly the closed forms for whole published models, and hand counts for everything written out."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import prod
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from catransformers.errors import InputError
from catransformers.models.families.clip import Clip
from catransformers.models.tracing.trace import count_parameters, trace
from catransformers.workloads import bert, clip, families, llama, vit
from catransformers.workloads.operators import Gemm, VectorOp, Workload
from catransformers.workloads.spec import ClipSpec, LlamaSpec, VitSpec
from catransformers.workloads.zoo import ZOO, embedded_spec, named_spec

META = torch.device("meta")
IDS = {tokens: torch.zeros(1, tokens, dtype=torch.long, device=META) for tokens in (1, 64, 77, 128, 512)}
IMAGE = torch.empty(1, 3, 224, 224, device=META)


def values(work: Workload) -> Counter[str]:
    """Values that the vector operators touch, by kind."""
    found: Counter[str] = Counter()
    for op in work:
        if isinstance(op, VectorOp):
            found[op.kind] += int(op.elements)
    return found


def shapes(work: Workload) -> list[tuple[object, ...]]:
    """The operators without their names."""
    return [
        (op.m, op.k, op.n, op.count, op.weights, op.bias)
        if isinstance(op, Gemm)
        else (op.kind, op.rows, op.columns, op.weight_values)
        for op in work
    ]


def agree(traced: Workload, closed: Workload, module: nn.Module, parameters: int) -> None:
    """MACs and parameters to the last one; attention, activations and residual sums to the value."""
    assert traced.macs == closed.macs
    assert count_parameters(module) == parameters == traced.weight_bytes
    for kind in ("softmax", "activation", "add", "multiply", "rotary"):
        assert values(traced)[kind] == values(closed)[kind], kind


# Whole models.


@pytest.mark.parametrize("name", ["ViT-B-16", "ViT-B-32", "ViT-L-14", "ViT-H-14"])
def test_open_clip_agrees_with_the_closed_form(open_clip: Any, name: str) -> None:
    with META:  # else its numbers are made first
        model = open_clip.create_model(name, device="meta").eval()
    spec = ZOO[name]
    work = trace(model, IMAGE, IDS[77])
    agree(work, families.workload(spec), model, clip.parameters(spec))
    # The library normalises all patches at the end, where one is needed, and each feature vector.
    unneeded = (spec.vision.tokens - 1) * spec.vision.embed_dim
    assert values(work)["norm"] == values(families.workload(spec))["norm"] + unneeded + 2 * spec.projection_dim


def test_our_clip_agrees_with_the_closed_form_pruned_too() -> None:
    full = embedded_spec()
    pruned = full.with_dimensions({name: max(1, value // 2) for name, value in full.dimensions().items()})
    for spec in (full, pruned):
        model = Clip(spec).eval()
        size = spec.vision.image_size
        work = trace(model, torch.zeros(1, 3, size, size), torch.zeros(1, spec.text.tokens, dtype=torch.long))
        logit = 1 * spec.projection_dim  # Clip's forward ends with the product of one image and one text
        assert work.macs - logit == families.workload(spec).macs
        assert count_parameters(model) == clip.parameters(spec)


def test_timm_vit_agrees_with_the_closed_form(timm: Any) -> None:
    with META:
        for name in ("vit_base_patch16_224", "vit_tiny_patch16_224"):
            model, spec = timm.create_model(name).eval(), named_spec(name)
            assert isinstance(spec, VitSpec)
            work = trace(model, IMAGE)
            agree(work, families.workload(spec), model, vit.parameters(spec))
            assert values(work)["norm"] - values(families.workload(spec))["norm"] == 196 * spec.encoder.embed_dim


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_hugging_face_vit_agrees_with_the_closed_form(transformers: Any, attention: str) -> None:
    config = transformers.ViTConfig(num_labels=1000, attn_implementation=attention)
    with META:
        model = transformers.ViTForImageClassification(config).eval()
    spec = named_spec("vit-base-patch16-224")
    assert isinstance(spec, VitSpec)
    agree(trace(model, IMAGE), families.workload(spec), model, vit.parameters(spec))
    assert model.num_parameters() == vit.parameters(spec)


@pytest.mark.parametrize(("name", "tokens"), [("bert-base", 128), ("bert-base", 512), ("bert-large", 64)])
def test_bert_agrees_with_the_closed_form(transformers: Any, name: str, tokens: int) -> None:
    spec = named_spec(name).with_dimensions({"tokens": tokens})
    e = spec.encoder  # type: ignore[union-attr]
    config = transformers.BertConfig(
        vocab_size=30522,
        hidden_size=e.embed_dim,
        num_hidden_layers=e.layers,
        num_attention_heads=e.heads,
        intermediate_size=e.ffn_dim,
        max_position_embeddings=512,
        type_vocab_size=2,
        num_labels=2,
    )
    with META:
        model = transformers.BertForSequenceClassification(config).eval()
    work = trace(model, IDS[tokens])
    agree(work, families.workload(spec), model, families.parameters(spec))
    assert model.num_parameters() == families.parameters(spec)
    assert values(work)["norm"] == values(families.workload(spec))["norm"]
    assert values(work)["embedding"] == 3 * tokens * e.embed_dim  # positions and types are looked up, then added


def test_distilbert_and_minilm_agree_with_the_closed_form(transformers: Any) -> None:
    with META:
        distil = transformers.DistilBertForSequenceClassification(transformers.DistilBertConfig()).eval()
        config = transformers.BertConfig(
            hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
        )
        mini = transformers.BertModel(config).eval()
    for model, name in ((distil, "distilbert-base"), (mini, "MiniLM-L6-H384")):
        spec = named_spec(name)
        agree(trace(model, IDS[128]), families.workload(spec), model, bert.parameters(spec))  # type: ignore[arg-type]


def hugging_face_llama(transformers: Any, spec: LlamaSpec) -> Any:
    config = transformers.LlamaConfig(
        vocab_size=spec.vocab_size,
        hidden_size=spec.embed_dim,
        intermediate_size=spec.ffn_dim,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.kv_heads,
        head_dim=spec.head_dim,
        max_position_embeddings=spec.max_tokens,
        tie_word_embeddings=spec.tied_embeddings,
    )
    with META:
        return transformers.LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("name", ["Llama-2-7B", "Llama-3.1-8B", "Llama-3.2-1B", "TinyLlama-1.1B"])
def test_llama_agrees_with_the_closed_form(transformers: Any, name: str) -> None:
    spec = named_spec(name)
    assert isinstance(spec, LlamaSpec)
    model = hugging_face_llama(transformers, spec)
    assert model.num_parameters() == llama.parameters(spec)
    prefill = trace(model, IDS[512], use_cache=False, logits_to_keep=1)
    agree(prefill, llama.prefill(spec), model, llama.parameters(spec))
    unneeded = 511 * spec.embed_dim  # the library normalises every token before it drops all but the last
    assert values(prefill)["norm"] == values(llama.prefill(spec))["norm"] + unneeded

    cache = transformers.DynamicCache()
    for layer in range(spec.layers):
        shape = (1, spec.kv_heads, 512, spec.head_dim)
        cache.update(torch.empty(shape, device=META), torch.empty(shape, device=META), layer)
    one = spec.with_dimensions({"new_tokens": 1})
    decode = trace(model, IDS[1], past_key_values=cache, logits_to_keep=1)
    agree(decode, llama.decode(one), model, llama.parameters(spec))
    assert values(decode) == values(llama.decode(one))
    assert decode.activation_bytes > llama.decode_part(one).cache_bytes - 2 * spec.layers * spec.kv_dim


def test_pruned_llama_agrees_with_the_closed_form(transformers: Any) -> None:
    spec = named_spec("Llama-3.1-8B").with_dimensions(
        {"layers": 2, "kv_heads": 3, "embed_dim": 1020, "ffn_dim": 777, "prompt_tokens": 64}
    )
    assert isinstance(spec, LlamaSpec)
    model = hugging_face_llama(transformers, spec)
    work = trace(model, IDS[64], use_cache=False, logits_to_keep=1)
    agree(work, llama.prefill(spec), model, llama.parameters(spec))


# Hand counts.


class Lambda(nn.Module):
    """A function as a module, with parameters `p` (a vector) where it wants one."""

    def __init__(self, function: Any, size: int = 0) -> None:
        super().__init__()
        self.function = function
        if size:
            self.p = nn.Parameter(torch.ones(size))

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs) if hasattr(self, "p") else self.function(*inputs)


X = torch.zeros(3, 5, 8)


@pytest.mark.parametrize(
    "function",
    [
        F.gelu,
        F.silu,
        F.relu,
        torch.tanh,
        F.mish,
        F.hardswish,
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: x * torch.sigmoid(1.702 * x),
        lambda x: torch.sigmoid(x) * x,
        lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
        lambda x: 0.5 * x * (1 + torch.tanh(0.79788456 * (x + 0.044715 * x**3))),
        lambda x: x * torch.tanh(F.softplus(x)),
        lambda x: F.relu(x) ** 2,
        lambda x: x.clone().relu_(),
    ],
)
def test_an_activation_is_one_however_it_is_written(function: Any) -> None:
    assert shapes(trace(Lambda(function), X)) == [("activation", 15, 8, 0)]


@pytest.mark.parametrize(
    ("function", "stored"),
    [
        (lambda m, x: m.p * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)), 8),
        (lambda m, x: m.p * (x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6)).to(x.dtype), 8),
        (lambda m, x: (1.0 + m.p) * (x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-6)), 8),
        (lambda m, x: F.rms_norm(x, (8,), m.p), 8),
        (lambda m, x: F.layer_norm(x, (8,), m.p, m.p), 16),
        (lambda m, x: (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True) + 1e-5) * m.p + m.p, 16),
        (lambda m, x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5) * m.p + m.p, 16),
        (lambda m, x: F.normalize(x, dim=-1) + 0 * m.p.sum(), 0),
    ],
)
def test_a_norm_is_one_however_it_is_written(function: Any, stored: int) -> None:
    work = trace(Lambda(function, 8), X)
    assert shapes(work) == [("norm", 15, 8, stored)]
    assert sum(op.stored for op in work) == min(stored, 8)
    assert work.weight_bytes == 8


def softmax_by_hand(x: Tensor) -> Tensor:
    e = torch.exp(x - x.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.softmax(-1),
        lambda x: F.log_softmax(x, dim=-1),
        softmax_by_hand,
    ],
)
def test_a_softmax_is_one_however_it_is_written(function: Any) -> None:
    assert shapes(trace(Lambda(function), X)) == [("softmax", 15, 8, 0)]


def test_gates_sums_and_scales() -> None:
    def gated(x: Tensor, y: Tensor) -> Tensor:
        gate, up = y.chunk(2, dim=-1)
        return x + F.silu(gate) * up

    y = torch.zeros(3, 5, 16)
    assert shapes(trace(Lambda(gated), X, y)) == [
        ("activation", 15, 8, 0),
        ("multiply", 15, 8, 0),
        ("add", 15, 8, 0),
    ]
    assert shapes(trace(Lambda(F.glu), y)) == [("activation", 15, 8, 0), ("multiply", 15, 8, 0)]
    assert shapes(trace(Lambda(lambda m, x: m.p * x, 8), X)) == [("multiply", 15, 8, 8)]
    assert shapes(trace(Lambda(lambda x: 3 * x + 1 - x / 2), X)) == []
    assert shapes(trace(Lambda(lambda x: x + torch.full((5, 5), -1.0).triu()[:, :1]), X)) == []


def test_positions_are_added_from_a_table() -> None:
    work = trace(Lambda(lambda m, x: x + m.p.view(5, 8), 40), X)
    assert shapes(work) == [("add", 15, 8, 40)]
    assert [op.stored for op in work] == [40]


@pytest.mark.parametrize("heads", [1, 4])
def test_rotary_embeddings(heads: int) -> None:
    def halves(x: Tensor) -> Tensor:
        angles = torch.arange(6)[:, None] * torch.ones(4)
        cos, sin = (torch.cat([t, t], -1) for t in (angles.cos(), angles.sin()))
        left, right = x.chunk(2, -1)
        return x * cos + torch.cat([-right, left], -1) * sin

    def complexes(x: Tensor) -> Tensor:
        angles = torch.arange(6)[:, None] * torch.ones(4)
        turns = torch.polar(torch.ones_like(angles), angles)
        return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * turns).flatten(-2)

    x = torch.zeros(2, heads, 6, 8)
    for function in (halves, complexes):
        assert shapes(trace(Lambda(function), x)) == [("rotary", 12 * heads, 8, 0)]


SIZES = st.integers(1, 9)


@settings(max_examples=40, deadline=None)
@given(st.lists(SIZES, min_size=2, max_size=5), st.integers(0, 6), SIZES, st.booleans())
def test_random_perceptrons_by_hand(widths: list[int], batch: int, tokens: int, bias: bool) -> None:
    layers: list[nn.Module] = []
    for k, n in pairwise(widths):
        layers += [nn.Linear(k, n, bias=bias), nn.GELU()]
    model = nn.Sequential(*layers)
    work = trace(model, torch.zeros(batch, tokens, widths[0]))
    pairs = list(pairwise(widths))
    rows = batch * tokens
    expected: list[tuple[object, ...]] = []
    for k, n in pairs if rows else []:
        expected += [(rows, k, n, 1, True, bias), ("activation", rows, n, 0)]
    assert shapes(work) == expected
    assert work.macs == sum(rows * k * n for k, n in pairs)
    assert work.weight_bytes == count_parameters(model) == sum((k + bias) * n for k, n in pairs)


class Attention(nn.Module):
    """Self-attention with shared keys and values, fused or written out, causal or not."""

    def __init__(self, heads: int, group: int, size: int, fused: bool, causal: bool) -> None:
        super().__init__()
        self.heads, self.group, self.size, self.fused, self.causal = heads, group, size, fused, causal
        self.query = nn.Linear(6, heads * group * size)
        self.key, self.value = (nn.Linear(6, heads * size, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        b, s, _ = x.shape
        q = self.query(x).view(b, s, self.heads * self.group, self.size).transpose(1, 2)
        k, v = (part(x).view(b, s, self.heads, self.size).transpose(1, 2) for part in (self.key, self.value))
        if self.fused:
            return F.scaled_dot_product_attention(q, k, v, is_causal=self.causal, enable_gqa=self.group > 1)
        k, v = (t.repeat_interleave(self.group, dim=1) for t in (k, v))
        scores = q @ k.transpose(-1, -2) / self.size**0.5
        if self.causal:
            scores = scores + torch.full((s, s), float("-inf")).triu(1)
        return torch.softmax(scores, -1) @ v


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(1, 3), SIZES, st.booleans(), st.booleans(), st.integers(1, 3), SIZES)
def test_random_attention_by_hand(
    heads: int, group: int, size: int, fused: bool, causal: bool, batch: int, tokens: int
) -> None:
    work = trace(Attention(heads, group, size, fused, causal), torch.zeros(batch, tokens, 6))
    rows, all_heads = batch * tokens, heads * group
    products = rows * 6 * size * (all_heads + 2 * heads) + 2 * batch * all_heads * tokens * tokens * size
    assert work.macs == products
    assert values(work) == Counter({"softmax": batch * all_heads * tokens * tokens})
    scores = [op for op in work if op.name == "scores"]
    assert [op.weights for op in scores if isinstance(op, Gemm)] == [False]
    assert [op.name for op in work if isinstance(op, Gemm) and op.weights] == ["query", "key", "value"]
    assert {op.component for op in work} == {"query", "key", "value", "Attention"}


@pytest.mark.parametrize("weights", [True, False])
def test_attention_layers_of_torch_in_evaluation_too(weights: bool) -> None:
    model = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    x = torch.zeros(2, 5, 16)
    macs = 2 * (4 * 5 * 16 * 16 + 2 * 5 * 5 * 16)
    for training in (True, False):
        work = trace(model.train(training), x, x, x, need_weights=weights)
        assert work.macs == macs
        assert values(work) == Counter({"softmax": 2 * 4 * 5 * 5})
        assert sum(op.stored for op in work) == work.weight_bytes == 4 * 17 * 16
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu").eval()
    work = trace(nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval(), x)
    assert work.macs == 3 * (macs + 2 * 2 * 5 * 16 * 32)
    assert values(work) == Counter({"softmax": 3 * 200, "norm": 3 * 2 * 160, "add": 3 * 2 * 160, "activation": 3 * 320})
    assert torch.backends.mha.get_fastpath_enabled()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.booleans(), st.integers(1, 3))
def test_convolutions_agree_with_torchs_own_counter(
    groups: int, wide: int, kernel: int, stride: int, transposed: bool, dimensions: int
) -> None:
    name = f"Conv{'Transpose' if transposed else ''}{dimensions}d"
    model = getattr(nn, name)(groups * wide, groups * 2, kernel, stride=stride, groups=groups).to(META)
    x = torch.empty(2, groups * wide, *[7, 6, 5][:dimensions], device=META)
    with FlopCounterMode(display=False) as counter:
        model(x)
    work = trace(model, x)
    assert work.macs == counter.get_total_flops() / 2 > 0
    assert sum(op.stored for op in work) == count_parameters(model)


class Products(nn.Module):
    """Every way to write a product."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.v = nn.Parameter(torch.ones(8, 4)), nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        rows = x[0]
        a = torch.einsum("bsd,de->bse", x, self.w)  # 15·8·4
        b = self.w.T @ rows.T  # 4·8·5, weights on the left
        c = rows @ self.v  # 5·8
        d = torch.dot(rows[0], rows[1])  # 8
        e = torch.baddbmm(torch.zeros(1), x, x.transpose(1, 2))  # 3·5·8·5
        f = torch.addbmm(torch.zeros(5, 5), x, x.transpose(1, 2))  # 3·5·8·5
        g = torch.addmv(torch.zeros(5), rows, self.v)  # 5·8
        h = torch.addmm(c[:, None], rows, self.w)  # 5·8·4, and a sum
        return a.sum() + b.sum() + d + e.sum() + f.sum() + g.sum() + h.sum()


def test_products_in_every_form() -> None:
    work = trace(Products(), X)
    assert work.macs == 15 * 8 * 4 + 4 * 8 * 5 + 5 * 8 + 8 + 2 * 3 * 25 * 8 + 5 * 8 + 5 * 8 * 4
    gemms = [op for op in work if isinstance(op, Gemm)]
    assert [op.weights for op in gemms] == [True, True, True, False, False, False, True, True]
    assert (gemms[1].m, gemms[1].k, gemms[1].n) == (5, 8, 4)
    assert sum(op.stored for op in gemms) == work.weight_bytes == 40
    assert values(work) == Counter({"add": 5 * 4})


def test_embeddings_and_tied_weights() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(11, 8)
            self.out = nn.Linear(8, 11, bias=False)
            self.out.weight = self.table.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.out(self.table(ids))

    model = Tied()
    work = trace(model, torch.zeros(2, 5, dtype=torch.long))
    assert shapes(work) == [("embedding", 10, 8, 0), (10, 8, 11, 1, True, False)]
    assert [op.stored for op in work] == [88, 0]
    assert count_parameters(model) == work.weight_bytes == 88


def test_names_are_module_paths() -> None:
    model = nn.ModuleDict()
    model["net"] = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    model["attention"] = nn.MultiheadAttention(8, 2, batch_first=True)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = model
            self.head = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.parts["net"](x)
            return self.head(x + self.parts["attention"](y, y, y, need_weights=False)[0])

    work = trace(Whole(), X, name="whole")
    assert work.name == "whole"
    assert [(op.component, op.name) for op in work] == [
        ("parts", "net.0"),
        ("parts", "net.1"),
        ("parts", "attention.in_proj_weight"),
        ("parts", "attention.scores"),
        ("parts", "attention.softmax"),
        ("parts", "attention.context"),
        ("parts", "attention.out_proj"),
        ("whole", "add"),
        ("head", "head"),
    ]


def test_the_working_set_by_hand() -> None:
    # 8 → 32 → 8 beside a residual: the input (40), the middle and its activation (160 each).
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(8, 32), nn.Linear(32, 8)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.down(F.relu(self.up(x)))

    assert trace(Block(), torch.zeros(5, 8)).activation_bytes == 40 + 160 + 160


# What a trace leaves alone, and what it refuses.


def test_a_module_with_numbers_is_traced_without_copying_them(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 8))
    model.mask = torch.ones(8)  # a tensor that is neither parameter nor buffer
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules()]

    def refuse(self: Tensor, memo: object) -> Tensor:
        raise AssertionError("numbers were copied")

    monkeypatch.setattr(Tensor, "__deepcopy__", refuse)
    monkeypatch.setattr(nn.Parameter, "__deepcopy__", refuse)
    assert trace(model, torch.zeros(4, 8)).macs == 4 * 2 * 8 * 16
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training
    assert not model.mask.is_meta
    assert [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules()] == hooks == [0] * 4


def test_a_model_of_terabytes_takes_no_memory() -> None:
    with META:
        model = nn.Sequential(*[nn.Linear(10**6, 10**6) for _ in range(3)])
    assert trace(model, torch.zeros(1, 10**6)).macs == 3 * 10**12
    assert count_parameters(model) == 3 * (10**12 + 10**6)


def test_questions_about_regularity_are_answered_and_others_stop_the_trace() -> None:
    def regular(x: Tensor) -> Tensor:
        if torch.isnan(x).any() or not (x < 1).all():
            return x @ x.T
        return F.relu(x)

    assert shapes(trace(Lambda(regular), torch.zeros(4, 8))) == [("activation", 4, 8, 0)]
    with pytest.raises(InputError, match=r"cannot be traced.*item.*shapes and types alone"):
        trace(Lambda(lambda x: x * x.sum().item()), X)


def test_wrong_inputs_are_told_with_the_models_name() -> None:
    with pytest.raises(InputError, match="Linear: its forward pass cannot be traced"):
        trace(nn.Linear(8, 4), torch.zeros(2, 7))
    with pytest.raises(InputError, match=r"mine: its forward pass cannot be traced.*missing"):
        trace(nn.Linear(8, 4), name="mine")


def test_an_operator_that_nobody_can_count_stops_the_trace() -> None:
    with pytest.raises(InputError, match=r"nobody knows what aten::_cdist_forward, aten::_trilinear compute"):
        trace(Lambda(lambda x: (F.bilinear(x, x, torch.ones(2, 8, 8)), torch.cdist(x, x))), X)
    library_ = torch.library.Library("tracing_test", "DEF")
    library_.define("secret(Tensor x) -> Tensor")
    library_.impl("secret", torch.empty_like, "Meta")
    with pytest.raises(InputError, match="tracing_test::secret"):
        trace(Lambda(torch.ops.tracing_test.secret), X)


def test_a_failed_trace_leaves_no_hooks() -> None:
    model = nn.Sequential(nn.Linear(8, 4)).to(META)
    with pytest.raises(InputError):
        trace(model, torch.zeros(2, 7))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224", "efficientnet_b0", "convnext_tiny"])
def test_other_families_agree_with_torchs_own_counter(timm: Any, name: str) -> None:
    with META:
        model = timm.create_model(name).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(IMAGE)
    work = trace(model, IMAGE)
    assert work.macs == counter.get_total_flops() / 2
    assert work.weight_bytes == count_parameters(model) == sum(prod(p.shape) for p in model.parameters())


def test_a_traced_workload_takes_bits() -> None:
    spec: ClipSpec = embedded_spec()
    size = spec.vision.image_size
    inputs = (torch.zeros(1, 3, size, size), torch.zeros(1, spec.text.tokens, dtype=torch.long))
    work = trace(Clip(spec), *inputs)
    assert work.with_bits(4, 16).weight_bytes == work.weight_bytes / 2
    assert work.with_bits(4, 16).activation_bytes == work.activation_bytes * 2
