"""Importance: gates change nothing, their gradients are the derivatives they claim to be, the cache is honest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from catransformers.accuracy.training.losses import pair_loss
from catransformers.errors import CatransformersWarning, InputError, IntegrityError
from catransformers.models.families.clip import Clip
from catransformers.models.families.net import Batch, Outputs
from catransformers.models.loading.tensor_cache import load_keyed, save_keyed
from catransformers.models.pruning.importance import Importance, Methods, importance
from catransformers.models.pruning.importance_store import cached_importance, from_tensors, importance_key, to_tensors
from catransformers.models.pruning.part_scores import PARTS
from catransformers.models.pruning.removal import skipped
from catransformers.models.pruning.taylor import _Gates, taylor_scores
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec

SPEC = ClipSpec(
    vision=VisionSpec(layers=2, ffn_dim=6, embed_dim=8, heads=3, head_dim=2, tokens=5, image_size=4, patch_size=2),
    text=TextSpec(layers=3, ffn_dim=5, embed_dim=7, heads=2, head_dim=2, tokens=4, vocab_size=11),
    projection_dim=6,
)
STEP = 1e-4


def make_model() -> Clip:
    generator = torch.Generator().manual_seed(3)
    model = Clip(SPEC).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.3 * noise if "ln_" in name and name.endswith("weight") else 0.5 * noise)
        model.logit_scale.fill_(1.0)
    return model


def make_batches(number: int = 2, size: int = 3, seed: int = 0) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(number, size, 3, 4, 4, generator=generator)
    tokens = torch.randint(0, 10, (number, size, 4), generator=generator)
    tokens[..., -1] = 10
    return [{"images": i, "tokens": t} for i, t in zip(images, tokens, strict=True)]


def matching_loss(outputs: Outputs, _batch: Batch) -> Tensor:
    """A loss in which samples do not meet, so that each one's derivative can be had by itself."""
    return (outputs["logit_scale"].exp() * (outputs["image"] * outputs["text"]).sum(dim=1)).square().mean()


def per_sample(model: Clip, images: Tensor, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images, tokens).diagonal().square()


def doubled(batches: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    return [{"images": batch["images"].double(), "tokens": batch["tokens"]} for batch in batches]


class GatedNorm(nn.Module):
    """A LayerNorm whose sums are weighted by gates, written independently of the hooks."""

    def __init__(self, norm: nn.LayerNorm, gate: Tensor) -> None:
        super().__init__()
        self.norm, self.gate = norm, gate

    def forward(self, x: Tensor) -> Tensor:
        g = self.gate
        mean = (x @ g)[..., None] / g.sum()
        variance = ((x - mean) ** 2 @ g)[..., None] / g.sum()
        return g * ((x - mean) / (variance + self.norm.eps).sqrt() * self.norm.weight + self.norm.bias)


@pytest.fixture(scope="module")
def scores() -> Importance:
    return importance(make_model().double(), doubled(make_batches()), matching_loss)


def derivative(model: Clip, change) -> float:
    """Mean over samples of |∂L/∂ξ| by central differences; `change(±STEP)` moves the gate."""
    total = 0.0
    for batch in make_batches():
        images, tokens = batch["images"], batch["tokens"]
        change(STEP)
        up = per_sample(model, images.double(), tokens)
        change(-STEP)
        down = per_sample(model, images.double(), tokens)
        change(0.0)
        total += float(((up - down) / (2 * STEP)).abs().sum())
    return total / 6


@pytest.mark.parametrize("component", ["vision", "text"])
def test_head_and_neuron_scores_are_derivatives(component: str, scores: Importance) -> None:
    model = make_model().double()
    encoder, own = getattr(SPEC, component), scores.stacks[component]
    blocks = (model.visual.transformer if component == "vision" else model.transformer).resblocks
    for layer, block in enumerate(blocks):
        for name, number, width, measured in (
            ("attn.out_proj", encoder.heads, encoder.head_dim, own.heads),
            ("mlp.c_proj", encoder.ffn_dim, 1, own.ffn),
        ):
            weight = block.get_submodule(name).weight
            original = weight.detach().clone()
            for part in range(number):

                def change(step: float, part=part, width=width, weight=weight, original=original) -> None:
                    with torch.no_grad():
                        weight.copy_(original)
                        weight[:, part * width : (part + 1) * width] *= 1 + step

                assert float(measured[layer, part]) == pytest.approx(derivative(model, change), rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("component", ["vision", "text"])
def test_channel_scores_are_derivatives_through_the_norms(component: str, scores: Importance) -> None:
    model = make_model().double()
    encoder = getattr(SPEC, component)
    gate = torch.ones(encoder.embed_dim, dtype=torch.float64)
    tower = model.visual if component == "vision" else model
    for block in tower.transformer.resblocks:
        block.ln_1, block.ln_2 = GatedNorm(block.ln_1, gate), GatedNorm(block.ln_2, gate)
    last = "ln_post" if component == "vision" else "ln_final"
    setattr(tower, last, GatedNorm(getattr(tower, last), gate))
    for channel in range(encoder.embed_dim):

        def change(step: float, channel=channel) -> None:
            gate.fill_(1.0)
            gate[channel] += step

        expected = derivative(model, change)
        assert float(scores.stacks[component].embed[channel]) == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_layer_scores_are_the_loss_without_the_layer() -> None:
    model, batches = make_model(), make_batches()
    scores = importance(model, batches, pair_loss)

    def loss() -> float:
        with torch.no_grad():
            return sum(float(pair_loss(model.outputs(batch), batch)) for batch in batches) / len(batches)

    assert scores.loss == pytest.approx(loss(), abs=1e-6)
    for own, blocks in (
        (scores.stacks["vision"].layers, model.visual.transformer.resblocks),
        (scores.stacks["text"].layers, model.transformer.resblocks),
    ):
        for number, block in enumerate(blocks):
            with skipped(block):
                assert float(own[number]) == pytest.approx(loss() - scores.loss, abs=1e-5)


def test_gates_leave_outputs_bit_identical() -> None:
    model = make_model()
    batch, *_ = make_batches()
    images, tokens = batch["images"], batch["tokens"]
    before = model(images, tokens)
    gates = [_Gates(model, stack, len(images), images.device) for stack in model.stacks()]
    handles = [handle for gate in gates for handle in gate.attach(model)]
    assert torch.equal(model(images, tokens), before)
    for handle in handles:
        handle.remove()


def test_the_model_is_as_before() -> None:
    model = make_model().train()
    model.logit_scale.requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    importance(model, make_batches(), pair_loss)
    assert model.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["logit_scale"]
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())


def test_a_dead_neuron_and_a_dead_head_score_zero() -> None:
    model = make_model()
    with torch.no_grad():
        model.transformer.resblocks[1].mlp.c_proj.weight[:, 2] = 0
        model.visual.transformer.resblocks[0].attn.out_proj.weight[:, 2:4] = 0
    scores = importance(model, make_batches(), pair_loss)
    assert float(scores.stacks["text"].ffn[1, 2]) == 0
    assert float(scores.stacks["vision"].heads[0, 1]) == 0
    assert int((scores.stacks["text"].ffn == 0).sum()) == 1


def test_an_unused_gate_is_an_error_not_a_zero() -> None:
    model = make_model()
    model.visual.transformer.resblocks[0].forward = lambda x: x
    with pytest.raises(RuntimeError, match="never used"):
        taylor_scores(model.requires_grad_(False), make_batches(), pair_loss)


def test_bad_calibration_data_are_refused() -> None:
    with pytest.raises(InputError, match="no calibration batches"):
        importance(make_model(), [], pair_loss)
    batch, *_ = make_batches()
    with pytest.raises(InputError, match="not finite"):
        importance(make_model(), [{**batch, "images": batch["images"] * torch.inf}], pair_loss)


def equal(a: Importance, b: Importance) -> bool:
    return a.loss == b.loss and all(
        torch.equal(getattr(a.stacks[name], part), getattr(b.stacks[name], part))
        for name in ("vision", "text")
        for part in PARTS
    )


def test_the_cache_gives_back_the_same_scores_without_the_work(tmp_path: Path) -> None:
    model, batches = make_model(), make_batches()
    first = cached_importance(model, batches, pair_loss, tmp_path / "cache")

    def never(_outputs: Outputs, _batch: Batch) -> Tensor:
        raise AssertionError("computed although cached")

    assert equal(cached_importance(model, batches, never, tmp_path / "cache"), first)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_another_model_or_other_data_have_another_key() -> None:
    model, batches = make_model(), make_batches()
    keys = {importance_key(model, batches), importance_key(model, make_batches(seed=1))}
    keys.add(importance_key(model, batches[:1]))
    with torch.no_grad():
        model.logit_scale += 1e-3
    keys.add(importance_key(model, batches))
    assert len(keys) == 4
    assert importance_key(make_model(), make_batches()) in keys


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign"])
def test_a_damaged_cache_is_computed_again(damage: str, tmp_path: Path) -> None:
    model, batches = make_model(), make_batches()
    first = cached_importance(model, batches, pair_loss, tmp_path)
    key = importance_key(model, batches)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-3] ^= 64
    elif damage == "foreign":
        save_keyed(to_tensors(first), path, "0" * 64)
        content = bytearray(path.read_bytes())
    path.write_bytes({"truncated": content[:-5], "empty": b""}.get(damage, bytes(content)))
    with pytest.raises(IntegrityError):
        load_keyed(path, key)
    with pytest.warns(CatransformersWarning, match="made again"):
        again = cached_importance(model, batches, pair_loss, tmp_path)
    assert equal(first, again)
    assert equal(from_tensors(load_keyed(path, key)), first)


def loss_of(model: Clip, batches: list[dict[str, Tensor]]) -> float:
    with torch.no_grad():
        return sum(float(pair_loss(model.outputs(batch), batch)) for batch in batches) / len(batches)


def test_removal_scores_are_what_the_loss_gains_by_zeroing_weights() -> None:
    """Every head, neuron and channel is removed by brute force, in the weights that read it."""
    batches = doubled(make_batches())
    methods = Methods(heads="leave-one-out", ffn="leave-one-out", embed="leave-one-out")
    scores = importance(make_model().double(), batches, pair_loss, methods)
    assert scores.loss == pytest.approx(loss_of(make_model().double(), batches))
    for name in ("vision", "text"):
        encoder, found = getattr(SPEC, name), scores.stacks[name]
        for layer in range(encoder.layers):
            for path, number, width, measured in (
                ("attn.out_proj", encoder.heads, encoder.head_dim, found.heads),
                ("mlp.c_proj", encoder.ffn_dim, 1, found.ffn),
            ):
                for part in range(number):
                    model = make_model().double()
                    tower = model.visual.transformer if name == "vision" else model.transformer
                    with torch.no_grad():
                        weight = tower.resblocks[layer].get_submodule(path).weight
                        weight[:, part * width : (part + 1) * width] = 0
                    expected = loss_of(model, batches) - scores.loss
                    assert float(measured[layer, part]) == pytest.approx(expected, abs=1e-6)
        for channel in range(encoder.embed_dim):
            model = make_model().double()
            tower = model.visual if name == "vision" else model
            with torch.no_grad():
                norms = [norm for block in tower.transformer.resblocks for norm in (block.ln_1, block.ln_2)]
                for norm in [*norms, tower.ln_post if name == "vision" else tower.ln_final]:
                    norm.weight[channel] = norm.bias[channel] = 0
            assert float(found.embed[channel]) == pytest.approx(loss_of(model, batches) - scores.loss, abs=1e-6)


def test_many_neurons_are_removed_in_groups_of_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catransformers.models.pruning.removal.GROUPS", 2)
    scores = importance(make_model(), make_batches(), pair_loss, Methods(ffn="leave-one-out")).stacks["vision"]
    assert torch.equal(scores.ffn[:, 0:1].expand(-1, 3), scores.ffn[:, :3])
    assert torch.equal(scores.ffn[:, 3:4].expand(-1, 3), scores.ffn[:, 3:])
    assert not torch.equal(scores.ffn[:, 0], scores.ffn[:, 3])
    model = make_model()
    with torch.no_grad():
        model.visual.transformer.resblocks[1].mlp.c_proj.weight[:, 3:] = 0
    expected = loss_of(model, make_batches()) - loss_of(make_model(), make_batches())
    assert float(scores.ffn[1, 4]) == pytest.approx(expected, abs=1e-5)


def test_magnitudes_are_norms_of_the_weights_that_go_with_a_part() -> None:
    model = make_model().requires_grad_(False)
    scores = importance(model, make_batches(), pair_loss, Methods("magnitude", "magnitude", "magnitude", "magnitude"))
    block, e = model.transformer.resblocks[2], SPEC.text.head_dim
    text = scores.stacks["text"]
    q, k, v = block.attn.in_proj_weight.detach().chunk(3)
    rows = torch.cat([part[e : 2 * e] for part in (q, k, v)])
    expected = (rows.square().sum() + block.attn.out_proj.weight[:, e : 2 * e].square().sum()).sqrt()
    assert float(text.heads[2, 1]) == pytest.approx(float(expected), rel=1e-6)
    expected = (block.mlp.c_fc.weight[4].square().sum() + block.mlp.c_proj.weight[:, 4].square().sum()).sqrt()
    assert float(text.ffn[2, 4]) == pytest.approx(float(expected), rel=1e-6)
    matrices = [p for p in block.parameters() if p.dim() == 2]
    assert float(text.layers[2]) == pytest.approx(float(sum(p.square().sum() for p in matrices)) ** 0.5, rel=1e-6)
    channel = [model.token_embedding.weight[:, 3], model.positional_embedding[:, 3], model.text_projection[3]]
    for layer in model.transformer.resblocks:
        channel += [layer.attn.in_proj_weight[:, 3], layer.attn.out_proj.weight[3]]
        channel += [layer.mlp.c_fc.weight[:, 3], layer.mlp.c_proj.weight[3]]
    assert float(text.embed[3]) == pytest.approx(float(sum(p.square().sum() for p in channel)) ** 0.5, rel=1e-6)
    patch = model.visual.conv1.weight
    with torch.no_grad():
        patch[5] *= 100
    again = importance(model, make_batches(), pair_loss, Methods(embed="magnitude")).stacks["vision"].embed
    assert int(again.argmax()) == 5


def test_activities_are_means_of_what_parts_hand_on() -> None:
    model, batches = make_model(), make_batches(number=2, size=3)
    scores = importance(model, batches, pair_loss, Methods("activation", "activation", "activation", "activation"))
    seen: dict[str, list[Tensor]] = {}

    def keep(name: str, value: Tensor) -> None:
        seen.setdefault(name, []).append(value.detach().double())

    block = model.visual.transformer.resblocks[1]
    block.attn.out_proj.register_forward_pre_hook(lambda _m, x: keep("context", x[0]))
    block.mlp.c_proj.register_forward_pre_hook(lambda _m, x: keep("neurons", x[0]))
    block.register_forward_pre_hook(lambda _m, x: keep("in", x[0]))
    block.register_forward_hook(lambda _m, _x, y: keep("out", y))
    norms = [n for b in model.visual.transformer.resblocks for n in (b.ln_1, b.ln_2)] + [model.visual.ln_post]
    for number, norm in enumerate(norms):
        norm.register_forward_hook(lambda _m, _x, y, number=number: keep(f"norm {number}", y))
    with torch.no_grad():
        for batch in batches:
            model.outputs(batch)
    whole = {name: torch.cat(rows) for name, rows in seen.items()}
    vision = scores.stacks["vision"]
    heads = whole["context"].unflatten(-1, (3, 2)).square().mean(dim=-1).sqrt().mean(dim=(0, 1))
    torch.testing.assert_close(vision.heads[1], heads.float())
    torch.testing.assert_close(vision.ffn[1], whole["neurons"].abs().mean(dim=(0, 1)).float())
    turned = 1 - nn.functional.cosine_similarity(whole["in"], whole["out"], dim=-1).mean()
    assert float(vision.layers[1]) == pytest.approx(float(turned), rel=1e-5)
    channels = sum(whole[f"norm {n}"].abs().reshape(6, -1, 8).mean(dim=(0, 1)) for n in range(len(norms)))
    torch.testing.assert_close(vision.embed, channels.float())


def test_each_kind_of_part_has_its_own_method() -> None:
    model, batches = make_model(), make_batches()
    mixed = importance(model, batches, pair_loss, Methods("random", "magnitude", "activation", "leave-one-out"), seed=5)
    for part, method in (("heads", "random"), ("ffn", "magnitude"), ("embed", "activation")):
        alone = importance(model, batches, pair_loss, Methods(**{part: method}), seed=5)
        for name in ("vision", "text"):
            assert torch.equal(getattr(mixed.stacks[name], part), getattr(alone.stacks[name], part))
    default = importance(model, batches, pair_loss)
    assert mixed.loss == default.loss
    assert torch.equal(mixed.stacks["text"].layers, default.stacks["text"].layers)
    assert not torch.equal(mixed.stacks["text"].heads, default.stacks["text"].heads)
    other = importance(model, batches, pair_loss, Methods(heads="random"), seed=6)
    assert not torch.equal(mixed.stacks["text"].heads, other.stacks["text"].heads)


def test_methods_seed_and_base_are_in_the_key() -> None:
    model, batches = make_model(), make_batches()
    keys = [
        importance_key(model, batches),
        importance_key(model, batches, Methods(heads="random")),
        importance_key(model, batches, Methods(ffn="random")),
        importance_key(model, batches, seed=1),
        importance_key(model, batches, base_sha256="0" * 64),
        importance_key(model, batches, base_sha256="1" * 64),
        importance_key(model, [{"images": b["images"], "other": b["tokens"]} for b in batches]),
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("method", ["taylor", "leave-one-out", "magnitude", "activation"])
def test_a_base_in_half_precision_is_scored_much_alike(method: str) -> None:
    """Losses of a net in bfloat16 are taken in float32, so that small differences do not vanish in rounding."""
    methods = Methods(method, method, method)
    whole = importance(make_model().bfloat16().float(), make_batches(number=4, size=8), pair_loss, methods)
    half = importance(make_model().bfloat16(), make_batches(number=4, size=8), pair_loss, methods)
    assert half.loss == pytest.approx(whole.loss, abs=0.03)
    for name in ("vision", "text"):
        for part in ("heads", "ffn", "embed"):
            pair = torch.stack(
                [getattr(half.stacks[name], part).flatten(), getattr(whole.stacks[name], part).flatten()]
            )
            assert float(torch.corrcoef(pair)[0, 1]) > 0.8, (name, part)
