"""Pruning a Llama: heads go by groups, removing is zeroing, what is left runs, trains and loads elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from catransformers.errors import InputError
from catransformers.models.families.llama import Llama
from catransformers.models.families.net import Batch, Outputs
from catransformers.models.families.nets import make_net
from catransformers.models.formats.llama import to_huggingface
from catransformers.models.pruning.importance import Importance, Methods, StackImportance, importance
from catransformers.models.pruning.prune import prune
from catransformers.workloads import llama as workload
from catransformers.workloads.llama import LlamaSpec, RopeScaling

SPEC = LlamaSpec(
    layers=4,
    ffn_dim=40,
    embed_dim=24,
    heads=8,
    kv_heads=4,
    head_dim=6,
    vocab_size=50,
    tied_embeddings=False,
    max_tokens=64,
    prompt_tokens=7,
    new_tokens=5,
    rope_scaling=RopeScaling(8.0, 1.0, 4.0, 32),
)
#: Without biases and with an output of its own, and the other way round.
SPECS = {"llama": SPEC, "qwen2, tied": replace(SPEC, qkv_bias=True, tied_embeddings=True)}
DIMENSIONS = ("layers", "ffn_dim", "embed_dim", "kv_heads")


@pytest.fixture(params=SPECS)
def net(request: pytest.FixtureRequest) -> Llama:
    found = Llama(SPECS[request.param])
    generator = torch.Generator().manual_seed(0)
    for name, parameter in found.named_parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator) + ("norm" in name)
    return found.eval()


def tokens(length: int = 30, seed: int = 1) -> Tensor:
    return torch.randint(0, 50, (3, length), generator=torch.Generator().manual_seed(seed))


def scores(seed: int = 2, **given: Tensor) -> Importance:
    """Random scores of all parts but those given."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"heads": (4, 4), "ffn": (4, 40), "embed": (24,), "layers": (4,)}
    parts = {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()} | given
    return Importance({"decoder": StackImportance(**parts)}, 0.0)


def next_token_loss(outputs: Outputs, batch: Batch) -> Tensor:
    return F.cross_entropy(outputs["logits"][:, :-1].flatten(0, 1), batch["tokens"][:, 1:].flatten())


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def block(net: Llama, number: int) -> Any:
    return net.layers[number]


@torch.no_grad()
def test_nothing_pruned_is_the_same_to_the_bit(net: Llama) -> None:
    again = prune(net, net.spec, scores())
    assert torch.equal(again(tokens()), net(tokens()))
    assert {p.data_ptr() for p in again.parameters()}.isdisjoint(p.data_ptr() for p in net.parameters())


@pytest.mark.parametrize("names", [*((name,) for name in DIMENSIONS), DIMENSIONS])
def test_half_of_each_dimension_runs_trains_and_reloads(net: Llama, names: tuple[str, ...]) -> None:
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    spec = net.spec.with_dimensions({name: net.spec.dimensions()[name] // 2 for name in names})
    pruned = prune(net, spec, scores())
    assert pruned.spec == spec
    assert spec.heads == 2 * spec.kv_heads
    assert sum(p.numel() for p in pruned.parameters()) == workload.parameters(spec)
    optimiser = torch.optim.AdamW(pruned.parameters(), lr=1e-2)
    batch = {"tokens": tokens()}
    losses = []
    for _ in range(5):
        loss = next_token_loss(pruned.outputs(batch), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    again = make_net(spec)
    again.load_state_dict(pruned.state_dict())
    with torch.no_grad():
        assert torch.equal(again.outputs(batch)["logits"], pruned.outputs(batch)["logits"])
        assert torch.equal(pruned.generate(tokens(9), 4)[:, :9], tokens(9))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@torch.no_grad()
def test_removing_a_head_with_its_group_is_zeroing_it(net: Llama) -> None:
    gone = (0, 3, 1, 1)
    worth = torch.ones(4, 4)
    zeroed = deepcopy(net)
    for layer, head in enumerate(gone):
        worth[layer, head] = 0
        block(zeroed, layer).self_attn.o_proj.weight[:, head * 12 : (head + 1) * 12] = 0
    pruned = prune(net, net.spec.with_dimensions({"kv_heads": 3}), scores(heads=worth))
    assert block(pruned, 0).self_attn.q_proj.weight.shape == (36, 24)
    assert block(pruned, 0).self_attn.k_proj.weight.shape == (18, 24)
    assert distance(pruned(tokens()), zeroed(tokens())) <= 1e-6
    assert distance(pruned(tokens()), net(tokens())) > 1e-3


@torch.no_grad()
def test_removing_neurons_is_zeroing_them(net: Llama) -> None:
    worth = torch.ones(4, 40)
    zeroed = deepcopy(net)
    for layer in range(4):
        gone = [layer, 10 + layer, 39 - layer]
        worth[layer, gone] = 0
        block(zeroed, layer).mlp.up_proj.weight[gone] = 0
    pruned = prune(net, net.spec.with_dimensions({"ffn_dim": 37}), scores(ffn=worth))
    assert distance(pruned(tokens()), zeroed(tokens())) <= 1e-6
    assert distance(pruned(tokens()), net(tokens())) > 1e-3


@torch.no_grad()
def test_removing_layers_is_skipping_them(net: Llama) -> None:
    short = deepcopy(net)
    short.layers = nn.ModuleList([net.layers[0], net.layers[3]])
    pruned = prune(net, net.spec.with_dimensions({"layers": 2}), scores(layers=torch.tensor([2.0, 0.0, -1.0, 1.0])))
    assert torch.equal(pruned(tokens()), short(tokens()))


@torch.no_grad()
def test_removing_channels_is_zeroing_them_but_for_the_mean_square(net: Llama) -> None:
    """RMSNorm divides by the root of a mean over d channels, and after pruning over the d' that are left.

    With S the sum of squares: x/√(S/d' + ε) = √(d'/d) · x/√(S/d + ε·d'/d). So pruning is zeroing with all gains times
    √(d'/d), exactly, if ε shrinks with their square. It is left so on purpose: see `prune.py`.
    """
    gone, left = [3, 11, 12, 20], 20
    worth = torch.ones(24)
    worth[gone] = 0
    zeroed = deepcopy(net)
    zeroed.embed_tokens.weight[:, gone] = 0
    for number in range(4):
        block(zeroed, number).self_attn.o_proj.weight[gone] = 0
        block(zeroed, number).mlp.down_proj.weight[gone] = 0
    pruned = prune(net, net.spec.with_dimensions({"embed_dim": left}), scores(embed=worth))
    assert distance(pruned(tokens()), zeroed(tokens())) > 1e-3  # not equal as it is
    for module in zeroed.modules():
        if isinstance(module, nn.RMSNorm):
            assert module.eps is not None
            module.double().weight *= (left / 24) ** 0.5
            module.eps *= left / 24
    assert distance(pruned.double()(tokens()), zeroed.double()(tokens())) <= 1e-6


def test_every_way_to_score_finds_what_is_dead(net: Llama) -> None:
    with torch.no_grad():
        for number in range(4):
            attention, mlp = block(net, number).self_attn, block(net, number).mlp
            attention.o_proj.weight[:, 12:24] = 0  # the group of the second head
            attention.v_proj.weight[6:12] = 0
            if net.spec.qkv_bias:
                attention.v_proj.bias[6:12] = 0
            mlp.down_proj.weight[:, 7] = 0
            mlp.up_proj.weight[7] = 0
        for name in ("self_attn.o_proj", "mlp.down_proj"):
            block(net, 2).get_submodule(name).weight.zero_()
    batches = [{"tokens": tokens(seed=seed)} for seed in (3, 4)]
    every: Mapping[str, Methods] = {
        "taylor": Methods(),
        "magnitude": Methods("magnitude", "magnitude", "magnitude", "magnitude"),
        "activation": Methods("activation", "activation", "activation", "activation"),
        "leave-one-out": Methods(heads="leave-one-out", ffn="leave-one-out", embed="leave-one-out"),
    }
    for name, methods in every.items():
        found = importance(net, batches, next_token_loss, methods).stacks["decoder"]
        assert (found.heads.shape, found.ffn.shape, found.embed.shape) == ((4, 4), (4, 40), (24,)), name
        if name == "leave-one-out":
            assert found.heads[:, 1].tolist() == pytest.approx([0.0] * 4, abs=1e-5)
            assert float(found.layers[2]) == pytest.approx(0.0, abs=1e-5)
            assert float(found.layers[[0, 1, 3]].abs().min()) > 1e-3
        else:
            alive = [0, 1, 3]  # the layers that hand anything on
            assert found.heads[alive].argmin(dim=1).tolist() == [1] * 3, name
            assert found.ffn[alive].argmin(dim=1).tolist() == [7] * 3, name


def test_keeping_what_matters_changes_less_than_keeping_the_rest(net: Llama) -> None:
    """Of the FFN neurons, the more important half against the less important one."""
    batches = [{"tokens": tokens(seed=seed)} for seed in (3, 4)]
    found = importance(net, batches, next_token_loss).stacks["decoder"]
    spec = net.spec.with_dimensions({"ffn_dim": 20})
    changes = []
    for sign in (1, -1):
        pruned = prune(net, spec, Importance({"decoder": replace(found, ffn=sign * found.ffn)}, 0.0))
        with torch.no_grad():
            changes.append(sum(distance(pruned(b["tokens"]), net(b["tokens"])) for b in batches))
    assert changes[0] < changes[1]


def test_other_heads_and_growth_are_refused(net: Llama) -> None:
    with pytest.raises(InputError, match="kv_heads: 5 is out of range; allowed: 1 to 4"):
        prune(net, replace(net.spec, kv_heads=5), scores())
    with pytest.raises(InputError, match="more than its prunable dimensions"):
        prune(net, replace(net.spec, kv_heads=2), scores())  # half the key heads for all query heads
    with pytest.raises(InputError, match="set kv_heads: each has a group of 2 query heads"):
        net.spec.with_dimensions({"heads": 4})


@torch.no_grad()
def test_a_pruned_net_loads_in_a_stock_class(transformers: Any, net: Llama, tmp_path: Path) -> None:
    smaller = net.spec.with_dimensions({"layers": 3, "kv_heads": 3, "embed_dim": 17, "ffn_dim": 29})
    pruned = prune(net, smaller, scores())
    config, tensors = to_huggingface(pruned)
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(tensors, tmp_path / "model.safetensors")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert distance(model(tokens(), use_cache=False).logits, pruned(tokens())) <= 1e-6
