"""Our Llama against transformers' Llama, Mistral and Qwen2, its cache, and what its description says of its weights."""

from __future__ import annotations

import warnings
from dataclasses import replace
from math import pi
from typing import Any

import pytest
import torch
from torch import Tensor

from catransformers.errors import InputError
from catransformers.models.families.llama import Llama, frequencies
from catransformers.models.formats.llama import spec_from_huggingface, tensors_from_huggingface
from catransformers.models.loading.storage import assign_tensors
from catransformers.models.tracing.trace import trace
from catransformers.workloads import families
from catransformers.workloads import llama as workload
from catransformers.workloads.llama import LlamaSpec, RopeScaling
from catransformers.workloads.operators import Gemm, Workload
from catransformers.workloads.zoo import named_spec

SPEC = LlamaSpec(
    layers=3,
    ffn_dim=40,
    embed_dim=24,
    heads=6,
    kv_heads=2,
    head_dim=8,
    vocab_size=50,
    tied_embeddings=False,
    max_tokens=64,
    prompt_tokens=7,
    new_tokens=5,
)
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
}
#: Name → class of the library without its `Config` or `ForCausalLM`, and its settings beside `SIZES`.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama, every head with keys of its own": ("Llama", {"num_key_value_heads": 6}),
    "Llama, grouped queries": ("Llama", {"head_dim": 8}),
    "Llama, one key head for all": ("Llama", {"num_key_value_heads": 1, "rms_norm_eps": 0.01}),
    "Llama 3.2, tied": ("Llama", {"tie_word_embeddings": True, "rope_theta": 500_000.0, "rope_scaling": LLAMA3}),
    "Llama 3.1, as transformers 5 writes it": ("Llama", {"rope_parameters": LLAMA3 | {"rope_theta": 500_000.0}}),
    "Mistral without a window": ("Mistral", {"head_dim": 10, "sliding_window": None, "rope_theta": 1e6}),
    "Mistral with a window": ("Mistral", {"sliding_window": 16}),
    "Qwen2": ("Qwen2", {"rope_theta": 1e6}),
    "Qwen2, tied": ("Qwen2", {"tie_word_embeddings": True, "rms_norm_eps": 1e-6}),
}


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Weights of a size at which every part of the model matters: attention is neither flat nor one-hot."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        matrix = parameter.dim() == 2 and "embed_tokens" not in name
        scale = 1.5 * parameter.shape[-1] ** -0.5 if matrix else 0.3
        parameter.data = noise * scale + ("norm" in name)


def stock(transformers: Any, name: str, seed: int = 0) -> Any:
    kind, settings = CASES[name]
    config = getattr(transformers, f"{kind}Config")(**SIZES | settings)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    randomise(model, seed)
    return model


def ours(model: Any) -> Llama:
    """Our net with the weights of the library's."""
    config = model.config.to_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the window, which has a test of its own
        spec = spec_from_huggingface(config, "config.json")
    with torch.device("meta"):
        net = Llama(spec)
    assign_tensors(net, tensors_from_huggingface(spec, config, model.state_dict(), "checkpoint"), "test")
    return net.eval()


def tokens(batch: int, length: int, seed: int = 1) -> Tensor:
    return torch.randint(0, 50, (batch, length), generator=torch.Generator().manual_seed(seed))


def random_net(spec: LlamaSpec = SPEC, seed: int = 0) -> Llama:
    net = Llama(spec)
    randomise(net, seed)
    return net.eval()


def distance(a: Tensor, b: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_logits_are_those_of_transformers(transformers: Any, name: str) -> None:
    model = stock(transformers, name)
    net = ours(model)
    ids = tokens(3, min(48, net.spec.max_tokens))
    expected = model(ids, use_cache=False).logits
    assert distance(net.outputs({"tokens": ids})["logits"], expected) <= 1e-6
    assert expected.std() > 0.1  # there is something to be equal to


@pytest.mark.parametrize("name", CASES)
def test_parameters_are_the_librarys_and_the_closed_forms(transformers: Any, name: str) -> None:
    model = stock(transformers, name)
    net = ours(model)
    expected = sum(p.numel() for p in model.parameters())
    assert sum(p.numel() for p in net.parameters()) == expected
    assert sum(t.numel() for t in net.state_dict().values()) == expected
    assert workload.parameters(net.spec) == expected
    assert families.workload(net.spec).weight_bytes == expected
    assert list(net.buffers()) == []


def test_a_traced_qwen2_agrees_with_the_closed_form(transformers: Any) -> None:
    with torch.device("meta"):
        model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SIZES)).eval()
        ids = torch.zeros(1, 40, dtype=torch.long)
    spec = spec_from_huggingface(model.config.to_dict(), "config.json")
    prefill = workload.prefill(spec.with_dimensions({"prompt_tokens": 40}))
    traced = trace(model, ids, use_cache=False, logits_to_keep=1)
    assert traced.macs == prefill.macs
    assert traced.weight_bytes == prefill.weight_bytes

    def with_biases(work: Workload) -> int:
        return sum(op.n * int(op.count) for op in work if isinstance(op, Gemm) and op.bias)

    assert with_biases(traced) == with_biases(prefill) == spec.layers * (spec.attention_dim + 2 * spec.kv_dim)


@torch.no_grad()
def test_every_weight_matters(transformers: Any) -> None:
    """So that equal outputs mean that all of them arrived in their place."""
    for name in ("Llama, grouped queries", "Qwen2, tied"):
        net = ours(stock(transformers, name))
        ids = torch.arange(48).reshape(1, -1)
        before = net(ids)
        for key, parameter in net.named_parameters():
            kept = parameter.data
            parameter.data = kept * 1.5
            assert distance(net(ids), before) > 1e-4, key
            parameter.data = kept


@torch.no_grad()
def test_a_longer_text_than_the_first_training_shows_the_stretching(transformers: Any) -> None:
    net = ours(stock(transformers, "Llama 3.1, as transformers 5 writes it"))
    assert net.spec.rope_scaling == RopeScaling(8.0, 1.0, 4.0, 32)
    with torch.device("meta"):
        plain = Llama(replace(net.spec, rope_scaling=None))
    assign_tensors(plain, net.state_dict(), "test")
    ids = tokens(1, 64)
    assert distance(plain(ids), net(ids)) > 1e-3


def test_frequencies_by_hand() -> None:
    spec = replace(SPEC, head_dim=6, rope_theta=1000.0)
    plain = frequencies(spec)
    assert plain.tolist() == pytest.approx([1.0, 0.1, 0.01])
    assert plain.dtype == torch.float32
    # Waves of 2π, 20π and 200π tokens; a training on 40π tokens holds 20, 2 and 0.2 of them.
    stretched = frequencies(replace(spec, rope_scaling=RopeScaling(4.0, 1.0, 3.0, round(40 * pi))))
    kept = (round(40 * pi) / (20 * pi) - 1) / 2
    assert stretched.tolist() == pytest.approx([1.0, 0.1 * (kept + (1 - kept) / 4), 0.01 / 4])


@torch.no_grad()
def test_what_follows_does_not_matter_so_padding_needs_no_mask() -> None:
    net = random_net()
    ids = tokens(2, 20)
    whole = net.outputs({"tokens": ids})["logits"]
    other = ids.clone()
    other[:, 12:] = 0
    mask = torch.arange(20).expand(2, 20) < 12
    padded = net.outputs({"tokens": other, "mask": mask})["logits"]
    assert torch.equal(padded[:, :12], whole[:, :12])
    assert not torch.allclose(padded[:, 12:], whole[:, 12:])
    assert distance(net(ids[:, :12]), whole[:, :12]) <= 1e-6


@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, tied_embeddings=True, qkv_bias=True, kv_heads=6)])
@pytest.mark.parametrize(("prompt", "steps"), [(1, 12), (9, 5), (4, 0), (63, 1)])
@torch.no_grad()
def test_generating_with_a_cache_is_generating_without(spec: LlamaSpec, prompt: int, steps: int) -> None:
    net = random_net(spec)
    found = ids = tokens(3, prompt)
    for _ in range(steps):
        found = torch.cat([found, net(found)[:, -1:].argmax(dim=-1)], dim=1)
    again = net.generate(ids, steps)
    assert torch.equal(again, found)
    assert again.shape == (3, prompt + steps)


def test_generating_as_transformers_does(transformers: Any) -> None:
    model = stock(transformers, "Llama, grouped queries")
    model.generation_config.eos_token_id = None
    ids = tokens(2, 6)
    expected = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, do_sample=False)
    found = ours(model).generate(ids, 10)
    assert torch.equal(found, expected)
    assert len(set(found[:, 6:].flatten().tolist())) > 4  # not one token over and over


def test_what_is_too_long_or_not_there_is_told() -> None:
    net = random_net()
    with pytest.raises(InputError, match="65 are more than the model admits; allowed: sequences of at most 64"):
        net.outputs({"tokens": tokens(1, 65)})
    with pytest.raises(InputError, match="at most 64"):
        net.generate(tokens(1, 60), 5)
    with pytest.raises(InputError, match="0 tokens; allowed: prompts from 1 token"):
        net.generate(tokens(1, 0), 5)
    with pytest.raises(InputError, match="-1 steps"):
        net.generate(tokens(1, 3), -1)
    with pytest.raises(InputError) as caught:
        Llama(replace(SPEC, heads=7, head_dim=5))
    assert [problem.where for problem in caught.value.problems] == ["heads", "head_dim"]


@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, tied_embeddings=True, qkv_bias=True)])
def test_the_stack_describes_every_weight_with_its_size(spec: LlamaSpec) -> None:
    net = Llama(spec)
    (stack,) = net.stacks()
    sizes = {
        "embed": spec.embed_dim,
        "ffn": spec.ffn_dim,
        "attention": stack.head_size * spec.kv_heads,
        "kv": stack.kv_size * spec.kv_heads,
        "vocabulary": spec.vocab_size,
    }
    described = dict(stack.stem_axes)
    for layer in range(spec.layers):
        described |= {f"{stack.blocks}.{layer}.{name}": axes for name, axes in stack.block_axes.items()}
    state = net.state_dict()
    assert sorted(described) == sorted(state)
    for name, tensor in state.items():
        assert tuple(sizes[axis] for axis in described[name]) == tensor.shape, name
    assert len(net.blocks_of(stack)) == spec.layers
    assert stack.size(spec.dimensions()).heads == spec.kv_heads
    for name in (stack.context, stack.neurons, *stack.norms):
        assert all(block.get_submodule(name) is not None for block in net.blocks_of(stack))
    assert all(net.get_submodule(name) is not None for name in stack.outer_norms)


def test_a_net_starts_as_described_and_can_be_trained() -> None:
    torch.manual_seed(0)
    net = Llama(replace(SPEC, qkv_bias=True, ffn_dim=400, vocab_size=500))
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all()
        elif "norm" in name:
            assert (parameter == 1).all()
        else:
            assert float(parameter.detach().std()) == pytest.approx(0.02, rel=0.1)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    ids = torch.randint(0, 500, (4, 32))
    losses = []
    for _ in range(30):
        logits = net.outputs({"tokens": ids})["logits"]
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


@torch.no_grad()
def test_half_precision_is_near_and_turns_in_full() -> None:
    net = random_net()
    ids = tokens(2, 40)
    exact = net(ids)
    half = Llama(SPEC)
    half.load_state_dict(net.state_dict())
    half = half.to(torch.bfloat16).eval()
    logits = half.outputs({"tokens": ids})["logits"]
    assert logits.dtype == torch.bfloat16
    assert distance(logits.float(), exact) < 0.1
    assert half.generate(ids, 4).shape == (2, 44)
    for found, expected in zip(half._rotary(500, ids), net._rotary(500, ids), strict=True):
        assert torch.equal(found, expected)  # positions that bfloat16 could not tell apart
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = net.outputs({"tokens": ids})["logits"]
    assert mixed.isfinite().all()
    assert distance(mixed.float(), exact) < 0.1


def test_the_named_models_have_the_parameters_they_are_known_for() -> None:
    for name, published in (("Llama-3.1-8B", 8_030_261_248), ("Llama-3.2-1B", 1_235_814_400)):
        with torch.device("meta"):
            net = Llama(named_spec(name))  # type: ignore[arg-type] # a Llama's
        assert sum(p.numel() for p in net.parameters()) == published
        assert frequencies(net.spec).isfinite().all()
