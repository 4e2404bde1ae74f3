"""Pruning a vision transformer: removing is zeroing, half of every dimension runs, trains and reloads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from catransformers.models.families.net import Batch, Outputs
from catransformers.models.families.vit import Block, Vit
from catransformers.models.loading.storage import load_model, save_model
from catransformers.models.pruning.importance import Importance, Methods, StackImportance, importance
from catransformers.models.pruning.prune import prune, sliced, sorted_net
from catransformers.workloads.dimensions import VisionSpec
from catransformers.workloads.vit import VitSpec, parameters

ENCODER = VisionSpec(layers=4, ffn_dim=40, embed_dim=24, heads=4, head_dim=6, tokens=17, image_size=16, patch_size=4)
SPECS = {
    "class": VitSpec(ENCODER, 5),
    "mean": VitSpec(ENCODER, 5, pooling="mean"),
    "normed mean, features": VitSpec(replace(ENCODER, tokens=16), 0, class_token=False, pooling="normed_mean"),
}
DIMENSIONS = ("layers", "ffn_dim", "embed_dim", "heads")
IMAGES = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
BATCH: Batch = {"images": IMAGES, "labels": torch.arange(6) % 5}


@pytest.fixture(params=SPECS)
def net(request: pytest.FixtureRequest) -> Vit:
    found = Vit(SPECS[request.param])
    generator = torch.Generator().manual_seed(0)
    for parameter in found.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator) + 0.5 * (parameter.ndim == 1)
    return found.eval()


def loss(outputs: Outputs, batch: Batch) -> Tensor:
    if "logits" in outputs:
        return F.cross_entropy(outputs["logits"], batch["labels"])
    return outputs["features"].square().mean()


def scores(net: Vit, seed: int = 3) -> Importance:
    e, generator = net.spec.encoder, torch.Generator().manual_seed(seed)
    shapes = ((e.layers, e.heads), (e.layers, e.ffn_dim), (e.embed_dim,), (e.layers,))
    return Importance({"vision": StackImportance(*(torch.rand(s, generator=generator) for s in shapes))}, 1.0)


def result(net: Vit) -> Tensor:
    with torch.no_grad():
        return next(iter(net.outputs(BATCH).values()))


def lowest(values: Tensor) -> list[int]:
    """The indices of the lower half of some scores (n,)."""
    found: list[int] = values.argsort()[: len(values) // 2].tolist()
    return found


def test_full_size_is_the_same_bits(net: Vit) -> None:
    assert torch.equal(result(prune(net, net.spec, scores(net))), result(net))


def test_removing_heads_is_zeroing_them(net: Vit) -> None:
    found = scores(net)
    pruned = prune(net, net.spec.with_dimensions({"heads": 2}), found)
    before = result(net)
    for layer, block in enumerate(net.blocks):
        assert isinstance(block, Block)
        for head in lowest(found.stacks["vision"].heads[layer]):
            block.attn.proj.weight.data[:, 6 * head : 6 * head + 6] = 0
    assert (result(net) - before).abs().max() > 1e-3
    torch.testing.assert_close(result(pruned), result(net), rtol=0, atol=1e-6)


def test_removing_neurons_is_zeroing_them(net: Vit) -> None:
    found = scores(net)
    pruned = prune(net, net.spec.with_dimensions({"ffn_dim": 20}), found)
    before = result(net)
    for layer, block in enumerate(net.blocks):
        assert isinstance(block, Block)
        block.mlp.fc2.weight.data[:, lowest(found.stacks["vision"].ffn[layer])] = 0
    assert (result(net) - before).abs().max() > 1e-3
    torch.testing.assert_close(result(pruned), result(net), rtol=0, atol=1e-6)


def test_removing_layers_is_leaving_out_what_they_add(net: Vit) -> None:
    found = scores(net)
    pruned = prune(net, net.spec.with_dimensions({"layers": 2}), found)
    before = result(net)
    for layer in lowest(found.stacks["vision"].layers):
        block = net.blocks[layer]
        assert isinstance(block, Block)
        for writer in (block.attn.proj, block.mlp.fc2):
            writer.weight.data.zero_()
            writer.bias.data.zero_()
    assert (result(net) - before).abs().max() > 1e-3
    torch.testing.assert_close(result(pruned), result(net), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dimension", [*DIMENSIONS, "all"])
def test_half_of_a_dimension_runs_trains_and_reloads(net: Vit, dimension: str, tmp_path: Path) -> None:
    chosen = DIMENSIONS if dimension == "all" else (dimension,)
    own = net.spec.dimensions()
    spec = net.spec.with_dimensions({name: own[name] // 2 for name in chosen})
    pruned = prune(net, spec, scores(net))
    assert pruned.spec == spec
    assert sum(p.numel() for p in pruned.parameters()) == parameters(spec)
    assert bool(result(pruned).isfinite().all())
    optimizer = torch.optim.SGD(pruned.parameters(), lr=1e-3)
    first = loss(pruned.outputs(BATCH), BATCH)
    first.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in pruned.parameters())
    optimizer.step()
    assert loss(pruned.outputs(BATCH), BATCH) < first
    save_model(pruned, tmp_path / "model.safetensors")
    again = load_model(tmp_path)
    assert isinstance(again, Vit)
    assert again.spec == spec
    assert torch.equal(result(again), result(pruned))


def test_a_width_that_the_heads_do_not_divide(net: Vit) -> None:
    spec = net.spec.with_dimensions({"embed_dim": 17, "heads": 3})
    pruned = prune(net, spec, scores(net))
    assert result(pruned).shape == (6, net.spec.classes or 17)


def test_slices_of_the_sorted_net_are_what_pruning_takes(net: Vit) -> None:
    found = scores(net)
    ordered = sorted_net(net, found)
    order = found.stacks["vision"].embed.argsort(descending=True)  # features come out in the new order of channels
    expected = result(net) if net.spec.classes else result(net)[:, order]
    torch.testing.assert_close(result(ordered), expected, rtol=0, atol=2e-6)
    spec = net.spec.with_dimensions({"ffn_dim": 13, "heads": 3, "embed_dim": 11})
    ours, theirs = result(sliced(ordered, spec)), result(prune(net, spec, found))
    if not net.spec.classes:
        theirs = theirs[:, [sorted(order[:11].tolist()).index(int(channel)) for channel in order[:11]]]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)


@pytest.mark.parametrize("method", ["taylor", "leave-one-out", "magnitude", "activation"])
def test_every_way_of_scoring_finds_the_parts_that_do_nothing(method: str) -> None:
    torch.manual_seed(0)
    net = Vit(SPECS["class"])
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    block = net.blocks[1]
    assert isinstance(block, Block)
    with torch.no_grad():  # head 2 hands on nothing and nobody reads it; so does neuron 7
        block.attn.proj.weight[:, 12:18] = 0
        block.mlp.fc2.weight[:, 7] = 0
        for third in range(3):
            block.attn.qkv.weight[24 * third + 12 : 24 * third + 18] = 0
            block.attn.qkv.bias[24 * third + 12 : 24 * third + 18] = 0
        block.mlp.fc1.weight[7] = 0
        block.mlp.fc1.bias[7] = 0
    methods = Methods(heads=method, ffn="taylor" if method == "leave-one-out" else method)  # type: ignore[arg-type]
    found = importance(net, [BATCH], loss, methods).stacks["vision"]
    assert int(found.heads[1].abs().argmin()) == 2
    assert int(found.ffn[1].abs().argmin()) == 7
    assert found.embed.shape == (24,)
    assert found.layers.shape == (4,)
