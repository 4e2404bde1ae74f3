"""Pruning and importance of BERT: every dimension, removal equal to zeroing, and gates that are derivatives."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from catransformers.models.families.bert import Bert
from catransformers.models.families.net import Batch, Outputs
from catransformers.models.loading.storage import load_model, save_model
from catransformers.models.pruning.importance import Importance, Methods, StackImportance, importance
from catransformers.models.pruning.prune import prune, sliced, sorted_net
from catransformers.models.pruning.taylor import taylor_scores
from catransformers.workloads.bert import BertSpec, parameters
from catransformers.workloads.spec import EncoderSpec

SPEC = BertSpec(EncoderSpec(4, 32, 24, 4, 6, 16), vocab_size=30, positions=16)
HALF = {"layers": 2, "ffn_dim": 16, "embed_dim": 12, "heads": 2}


def net(spec: BertSpec = SPEC) -> Bert:
    torch.manual_seed(0)
    made = Bert(spec)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return made.eval()


def batch(rows: int = 8, s: int = 10) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(4)
    lengths = torch.randint(1, s + 1, (rows, 1), generator=generator)
    return {
        "tokens": torch.randint(0, SPEC.vocab_size, (rows, s), generator=generator),
        "mask": torch.arange(s) < lengths,
        "types": (torch.arange(s) > lengths // 2).long(),
        "labels": torch.randint(0, 2, (rows,), generator=generator),
    }


def loss(outputs: Outputs, given: Batch) -> Tensor:
    return nn.functional.cross_entropy(outputs["logits"], given["labels"])


def scores(seed: int = 0) -> Importance:
    e, generator = SPEC.encoder, torch.Generator().manual_seed(seed)
    shapes = {
        "heads": (e.layers, e.heads),
        "ffn": (e.layers, e.ffn_dim),
        "embed": (e.embed_dim,),
        "layers": (e.layers,),
    }
    made = {part: torch.rand(*shape, generator=generator) for part, shape in shapes.items()}
    return Importance({"text": StackImportance(**made)}, 0.0)


@pytest.mark.parametrize("names", [("layers",), ("ffn_dim",), ("embed_dim",), ("heads",), tuple(HALF)], ids="+".join)
def test_half_of_each_dimension_runs_trains_and_reloads_bit_equal(names: tuple[str, ...], tmp_path) -> None:  # type: ignore[no-untyped-def]
    base, given = net(), batch()
    spec = SPEC.with_dimensions({name: HALF[name] for name in names})
    pruned = prune(base, spec, scores())
    assert pruned.spec == spec
    assert sum(p.numel() for p in pruned.parameters()) == parameters(spec) < parameters(SPEC)
    before = base(given["tokens"])
    optimiser = torch.optim.SGD(pruned.parameters(), lr=0.05)
    losses = []
    for _ in range(4):
        optimiser.zero_grad()
        value = loss(pruned.outputs(given), given)
        value.backward()
        optimiser.step()
        losses.append(float(value.detach()))
    assert losses[-1] < losses[0]
    assert torch.equal(base(given["tokens"]), before)
    save_model(pruned, tmp_path / "model.safetensors")
    again = load_model(tmp_path)
    assert again.spec == spec
    assert torch.equal(again.outputs(given)["logits"], pruned.outputs(given)["logits"])


def test_the_full_size_is_bit_identical() -> None:
    base, given = net(), batch()
    assert torch.equal(prune(base, SPEC, scores()).outputs(given)["logits"], base.outputs(given)["logits"])


def weakest(values: Tensor, keep: int) -> Tensor:
    return values.argsort(descending=True)[keep:]


def test_removing_heads_is_zeroing_them() -> None:
    base, given, chosen = net(), batch(), scores()
    pruned = prune(base, SPEC.with_dimensions({"heads": 1}), chosen)
    with torch.no_grad():
        for layer, block in enumerate(base.encoder.layer):
            for head in weakest(chosen.stacks["text"].heads[layer], 1).tolist():
                block.get_submodule("attention.output.dense").weight[:, 6 * head : 6 * head + 6] = 0  # type: ignore[index, operator]
    found, expected = pruned.outputs(given)["logits"], base.outputs(given)["logits"]
    assert (found - expected).abs().max() <= 1e-6
    assert (found - net().outputs(given)["logits"]).abs().max() > 1e-2


def test_removing_neurons_is_zeroing_them() -> None:
    base, given, chosen = net(), batch(), scores()
    pruned = prune(base, SPEC.with_dimensions({"ffn_dim": 5}), chosen)
    with torch.no_grad():
        for layer, block in enumerate(base.encoder.layer):
            block.get_submodule("output.dense").weight[:, weakest(chosen.stacks["text"].ffn[layer], 5)] = 0  # type: ignore[index, operator]
    found, expected = pruned.outputs(given)["logits"], base.outputs(given)["logits"]
    assert (found - expected).abs().max() <= 1e-6
    assert (found - net().outputs(given)["logits"]).abs().max() > 1e-2


def test_removing_layers_keeps_the_others_in_their_order() -> None:
    base, given = net(), batch()
    chosen = scores()
    keep = sorted(chosen.stacks["text"].layers.argsort(descending=True)[:2].tolist())
    expected = net()
    expected.encoder.layer = nn.ModuleList(base.encoder.layer[i] for i in keep)
    pruned = prune(base, SPEC.with_dimensions({"layers": 2}), chosen)
    assert torch.equal(pruned.outputs(given)["logits"], expected.outputs(given)["logits"])


def test_sorted_channels_change_no_output_and_pruning_is_a_slice() -> None:
    base, given, chosen = net(), batch(), scores()
    ordered = sorted_net(base, chosen)
    torch.testing.assert_close(ordered.outputs(given)["logits"], base.outputs(given)["logits"], atol=1e-5, rtol=0)
    spec = SPEC.with_dimensions({name: HALF[name] for name in ("ffn_dim", "embed_dim", "heads")})
    torch.testing.assert_close(
        sliced(ordered, spec).outputs(given)["logits"],
        prune(base, spec, chosen).outputs(given)["logits"],
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize("method", ["taylor", "leave-one-out", "magnitude", "activation", "random"])
def test_every_method_scores_every_part(method: str) -> None:
    layers = "leave-one-out" if method == "taylor" else method
    methods = Methods(method, method, method, layers)  # type: ignore[arg-type]
    found = importance(net(), [batch()], loss, methods).stacks["text"]
    shapes = {part: tuple(getattr(found, part).shape) for part in ("heads", "ffn", "embed", "layers")}
    assert shapes == {"heads": (4, 4), "ffn": (4, 32), "embed": (24,), "layers": (4,)}
    assert all(getattr(found, part).std() > 0 for part in shapes)


class GatedNorm(nn.Module):
    """A LayerNorm of weighted channels, by the definition of mean and variance."""

    def __init__(self, norm: nn.LayerNorm, gate: Tensor) -> None:
        super().__init__()
        self.norm, self.gate = norm, gate

    def forward(self, x: Tensor) -> Tensor:
        share = self.gate / self.gate.sum()
        mean = (x * share).sum(dim=-1, keepdim=True)
        variance = ((x - mean).square() * share).sum(dim=-1, keepdim=True)
        normal = (x - mean) / (variance + self.norm.eps).sqrt()
        return self.gate * (normal * self.norm.weight + self.norm.bias)


def gated(base: Bert, gate: Tensor) -> Bert:
    """The net with every norm's channels weighted."""
    made = Bert(base.spec).double()
    made.load_state_dict(base.state_dict())
    (stack,) = made.stacks()
    places = [(made, name) for name in stack.outer_norms]
    places += [(block, name) for block in made.blocks_of(stack) for name in stack.norms]
    for owner, name in places:
        parent, _, last = name.rpartition(".")
        norm = owner.get_submodule(name)
        assert isinstance(norm, nn.LayerNorm)
        setattr(owner.get_submodule(parent), last, GatedNorm(norm, gate))
    return made.eval()


def test_channels_scores_are_the_derivatives_by_gates_on_all_norms() -> None:
    base, given = net().double(), batch(rows=3)
    found = taylor_scores(base.requires_grad_(False), [given], loss)["text"]["embed"]
    step = 1e-6
    expected = torch.zeros(24, dtype=torch.float64)
    for channel in range(24):
        ends = []
        for sign in (1, -1):
            gate = torch.ones(24, dtype=torch.float64)
            gate[channel] += sign * step
            with torch.no_grad():
                logits = gated(base, gate).outputs(given)["logits"]
            ends.append(nn.functional.cross_entropy(logits, given["labels"], reduction="none"))
        expected[channel] = ((ends[0] - ends[1]) / (2 * step)).abs().mean()
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-5)


def test_closing_the_gates_of_all_norms_is_removing_the_channels() -> None:
    """Without a pooler, whose own channels go with the stream's, that is exact."""
    base, given, chosen = net(replace(SPEC, pooler=False)), batch(), scores()
    gate = torch.ones(24, dtype=torch.float64)
    gate[weakest(chosen.stacks["text"].embed, 12)] = 0
    pruned = prune(base, base.spec.with_dimensions({"embed_dim": 12}), chosen)
    expected = gated(base.double(), gate).outputs(given)["logits"]
    assert (pruned.double().outputs(given)["logits"] - expected).abs().max() <= 1e-6
