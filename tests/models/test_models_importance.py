"""Importance: gates change nothing, their gradients are the derivatives they claim to be, the cache is honest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from catransformers.accuracy.losses import contrastive_loss
from catransformers.errors import CatransformersWarning, InputError, IntegrityError
from catransformers.models.clip import Clip
from catransformers.models.importance import Importance, _gate_scores, _Gates, importance, skipped
from catransformers.models.importance_store import cached_importance, from_tensors, importance_key, to_tensors
from catransformers.models.tensor_cache import load_keyed, save_keyed
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


def make_batches(number: int = 2, size: int = 3, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(number, size, 3, 4, 4, generator=generator)
    tokens = torch.randint(0, 10, (number, size, 4), generator=generator)
    tokens[..., -1] = 10
    return list(zip(images, tokens, strict=True))


def matching_loss(logits: Tensor, _tokens: Tensor) -> Tensor:
    """A loss in which samples do not meet, so that each one's derivative can be had by itself."""
    return logits.diagonal().square().mean()


def per_sample(model: Clip, images: Tensor, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images, tokens).diagonal().square()


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
    return importance(make_model().double(), [(i.double(), t) for i, t in make_batches()], matching_loss)


def derivative(model: Clip, change) -> float:
    """Mean over samples of |∂L/∂ξ| by central differences; `change(±STEP)` moves the gate."""
    total = 0.0
    for images, tokens in make_batches():
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
    encoder, own = getattr(SPEC, component), getattr(scores, component)
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
        assert float(getattr(scores, component).embed[channel]) == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_layer_scores_are_the_loss_without_the_layer() -> None:
    model, batches = make_model(), make_batches()
    scores = importance(model, batches, contrastive_loss)

    def loss() -> float:
        with torch.no_grad():
            return sum(float(contrastive_loss(model(i, t), t)) for i, t in batches) / len(batches)

    assert scores.loss == pytest.approx(loss(), abs=1e-6)
    for own, blocks in (
        (scores.vision.layers, model.visual.transformer.resblocks),
        (scores.text.layers, model.transformer.resblocks),
    ):
        for number, block in enumerate(blocks):
            with skipped(block):
                assert float(own[number]) == pytest.approx(loss() - scores.loss, abs=1e-5)


def test_gates_leave_outputs_bit_identical() -> None:
    model = make_model()
    (images, tokens), *_ = make_batches()
    before = model(images, tokens)
    gates = _Gates(SPEC.vision, len(images), images.device)
    handles = list(gates.attach(model.visual.transformer, model.visual.ln_post))
    gates_text = _Gates(SPEC.text, len(images), images.device)
    handles += list(gates_text.attach(model.transformer, model.ln_final))
    assert torch.equal(model(images, tokens), before)
    for handle in handles:
        handle.remove()


def test_the_model_is_as_before() -> None:
    model = make_model().train()
    model.logit_scale.requires_grad_(False)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    importance(model, make_batches(), contrastive_loss)
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
    scores = importance(model, make_batches(), contrastive_loss)
    assert float(scores.text.ffn[1, 2]) == 0
    assert float(scores.vision.heads[0, 1]) == 0
    assert int((scores.text.ffn == 0).sum()) == 1


def test_an_unused_gate_is_an_error_not_a_zero() -> None:
    model = make_model()
    model.visual.transformer.resblocks[0].forward = lambda x: x
    with pytest.raises(RuntimeError, match="never used"):
        _gate_scores(model, make_batches(), contrastive_loss)


def test_bad_calibration_data_are_refused() -> None:
    with pytest.raises(InputError, match="no calibration batches"):
        importance(make_model(), [], contrastive_loss)
    (images, tokens), *_ = make_batches()
    with pytest.raises(InputError, match="not finite"):
        importance(make_model(), [(images * torch.inf, tokens)], contrastive_loss)


def equal(a: Importance, b: Importance) -> bool:
    fields = ("heads", "ffn", "embed", "layers")
    return a.loss == b.loss and all(
        torch.equal(getattr(getattr(a, c), f), getattr(getattr(b, c), f)) for c in ("vision", "text") for f in fields
    )


def test_the_cache_gives_back_the_same_scores_without_the_work(tmp_path: Path) -> None:
    model, batches = make_model(), make_batches()
    first = cached_importance(model, batches, contrastive_loss, tmp_path / "cache")

    def never(_logits: Tensor, _tokens: Tensor) -> Tensor:
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
    first = cached_importance(model, batches, contrastive_loss, tmp_path)
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
        again = cached_importance(model, batches, contrastive_loss, tmp_path)
    assert equal(first, again)
    assert equal(from_tensors(load_keyed(path, key)), first)
