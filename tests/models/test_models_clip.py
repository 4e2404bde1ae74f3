"""Clip against open_clip: the same names, shapes and outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from catransformers.errors import InputError
from catransformers.models.families.clip import Clip
from catransformers.workloads.clip import parameters
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec


def small_spec(activation: str = "gelu", **changes: int) -> ClipSpec:
    spec = ClipSpec(
        VisionSpec(2, 96, 48, 3, 16, 17, image_size=32, patch_size=8),
        TextSpec(3, 64, 32, 4, 8, 12, vocab_size=20),
        projection_dim=24,
        activation=activation,  # type: ignore[arg-type]
    )
    return spec.with_dimensions({name.replace("__", "."): value for name, value in changes.items()})


def inputs(spec: ClipSpec, batch: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    size = spec.vision.image_size
    images = torch.randn(batch, 3, size, size, generator=generator)
    tokens = torch.randint(1, spec.text.vocab_size - 1, (batch, spec.text.tokens), generator=generator)
    for row in range(batch):  # end tokens at different places, padding after them
        tokens[row, 4 + row] = spec.text.vocab_size - 1
        tokens[row, 5 + row :] = 0
    return images, tokens


def reference(open_clip: Any, spec: ClipSpec) -> torch.nn.Module:
    """open_clip's own CLIP of this (unpruned) spec, with random weights, biases too."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    torch.manual_seed(0)
    model = CLIP(
        spec.projection_dim,
        CLIPVisionCfg(
            layers=spec.vision.layers,
            width=spec.vision.embed_dim,
            head_width=spec.vision.head_dim,
            mlp_ratio=spec.vision.ffn_dim / spec.vision.embed_dim,
            patch_size=spec.vision.patch_size,
            image_size=spec.vision.image_size,
        ),
        CLIPTextCfg(
            context_length=spec.text.tokens,
            vocab_size=spec.text.vocab_size,
            width=spec.text.embed_dim,
            heads=spec.text.heads,
            layers=spec.text.layers,
            mlp_ratio=spec.text.ffn_dim / spec.text.embed_dim,
        ),
        quick_gelu=spec.activation == "quick_gelu",
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_open_clip_weights_load_strictly_and_give_the_same_outputs(open_clip: Any, activation: str) -> None:
    spec = small_spec(activation)
    theirs = reference(open_clip, spec)
    ours = Clip(spec)
    assert set(ours.state_dict()) == set(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images, tokens = inputs(spec)
    with torch.no_grad():
        assert torch.allclose(ours.encode_image(images), theirs.encode_image(images, normalize=True), rtol=0, atol=1e-6)
        assert torch.allclose(ours.encode_text(tokens), theirs.encode_text(tokens, normalize=True), rtol=0, atol=1e-6)
        logits, _ = theirs.get_logits(images, tokens)
        assert torch.allclose(ours(images, tokens), logits, rtol=1e-6, atol=2e-5)


@pytest.mark.parametrize(
    "changes",
    [{}, {"vision__heads": 1, "text__heads": 2}, {"vision__embed_dim": 20, "text__ffn_dim": 33, "text__layers": 1}],
)
def test_parameters_equal_the_closed_form(changes: dict[str, int]) -> None:
    spec = small_spec(**changes)
    assert sum(p.numel() for p in Clip(spec).parameters()) == parameters(spec)


def test_pruned_attention_width_runs_and_outputs_are_unit_vectors() -> None:
    spec = small_spec(vision__heads=2, vision__embed_dim=40, text__heads=3)
    model = Clip(spec)
    images, tokens = inputs(spec)
    assert model.visual.transformer.resblocks[0].attn.in_proj_weight.shape == (3 * 2 * 16, 40)
    for encoded in (model.encode_image(images), model.encode_text(tokens)):
        assert encoded.shape == (5, 24)
        assert torch.allclose(encoded.norm(dim=-1), torch.ones(5), atol=1e-6)
    assert model(images, tokens).shape == (5, 5)


def test_what_follows_the_end_token_does_not_matter() -> None:
    spec = small_spec()
    model = Clip(spec)
    _, tokens = inputs(spec)
    changed = tokens.clone()
    for row in range(len(tokens)):
        changed[row, 5 + row :] = 7
    assert torch.equal(model.encode_text(tokens), model.encode_text(changed))


def test_tokens_must_follow_from_the_image() -> None:
    spec = small_spec()
    wrong = ClipSpec(VisionSpec(2, 96, 48, 3, 16, 16, image_size=32, patch_size=8), spec.text, 24)
    with pytest.raises(InputError, match="16 patches"):
        Clip(wrong)
