"""The conformance kit on the families that ship, and on a family that breaks its promises: the kit has to say so."""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from catransformers.accuracy.training.losses import class_loss, language_loss, pair_loss
from catransformers.models.families import vit as vit_module
from catransformers.models.families.net import Batch, Net, Outputs
from catransformers.models.families.vit import Vit
from catransformers.registry import FAMILIES
from catransformers.testing import FamilyConformance
from catransformers.workloads.spec import (
    BertSpec,
    ClipSpec,
    EncoderSpec,
    LlamaSpec,
    TextSpec,
    VisionSpec,
    VitSpec,
)

prune_module, taylor_module = (
    importlib.import_module(f"catransformers.models.pruning.{name}") for name in ("prune", "taylor")
)

SAMPLES, VOCABULARY = 4, 13
VISION = VisionSpec(layers=3, ffn_dim=12, embed_dim=8, heads=3, head_dim=4, tokens=5, image_size=8, patch_size=4)
LLAMA = LlamaSpec(
    layers=2,
    ffn_dim=12,
    embed_dim=10,
    heads=6,
    kv_heads=3,
    head_dim=4,
    vocab_size=VOCABULARY,
    tied_embeddings=False,
    max_tokens=16,
    prompt_tokens=7,
    new_tokens=0,
)


def images() -> Tensor:
    return torch.randn(SAMPLES, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def tokens(length: int) -> Tensor:
    drawn = torch.randint(1, VOCABULARY - 1, (SAMPLES, length), generator=torch.Generator().manual_seed(1))
    drawn[torch.arange(SAMPLES), torch.tensor([length - 1, 3, 4, 2])] = VOCABULARY - 1
    return drawn


def mask(length: int) -> Tensor:
    return torch.arange(length) < torch.tensor([length, 3, 4, 5])[:, None]


class TestClip(FamilyConformance):
    def spec(self) -> ClipSpec:
        text = TextSpec(layers=2, ffn_dim=10, embed_dim=6, heads=2, head_dim=3, tokens=7, vocab_size=VOCABULARY)
        return ClipSpec(VISION, text, projection_dim=6, activation="quick_gelu")

    def batch(self) -> Batch:
        return {"images": images(), "tokens": tokens(7)}

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        return pair_loss(outputs, batch)


class TestVit(FamilyConformance):
    def spec(self) -> VitSpec:
        return VitSpec(VISION, classes=3)

    def batch(self) -> Batch:
        return {"images": images(), "labels": torch.tensor([0, 1, 2, 1])}

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        return class_loss(outputs, batch)


class TestVitOfMeans(TestVit):
    """Without class token; the mean of the patches, normalised before."""

    def spec(self) -> VitSpec:
        return VitSpec(replace(VISION, tokens=4), classes=3, class_token=False, pooling="normed_mean")


class TestBert(FamilyConformance):
    def spec(self) -> BertSpec:
        return BertSpec(EncoderSpec(3, 12, 8, 2, 4, 7), vocab_size=VOCABULARY, positions=9, classes=3)

    def batch(self) -> Batch:
        types = (torch.arange(7) > 2).long().expand(SAMPLES, -1).clone()
        return {"tokens": tokens(7), "mask": mask(7), "types": types, "labels": torch.tensor([0, 1, 2, 1])}

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        return class_loss(outputs, batch)


class TestDistilBert(TestBert):
    """No token types, positions that start later, another activation."""

    def spec(self) -> BertSpec:
        changes: dict[str, Any] = {"token_types": 0, "position_offset": 2, "pooler_activation": "relu"}
        return replace(super().spec(), activation="gelu_tanh", **changes)

    def batch(self) -> Batch:
        return {key: value for key, value in super().batch().items() if key != "types"}


class TestLlama(FamilyConformance):
    def spec(self) -> LlamaSpec:
        return LLAMA

    def batch(self) -> Batch:
        return {"tokens": tokens(7), "mask": mask(7)}

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        return language_loss(outputs, batch)

    def macs(self, net: Net, batch: Batch) -> int:
        unneeded = (net.spec.prompt_tokens - 1) * net.spec.embed_dim * net.spec.vocab_size
        return super().macs(net, batch) - unneeded


class TestQwen2(TestLlama):
    """Biases on queries, keys and values, and the table of tokens as output."""

    def spec(self) -> LlamaSpec:
        return replace(LLAMA, qkv_bias=True, tied_embeddings=True)


# The kit on a ViT that breaks its promises.


def dropping(net: Vit, batch: Batch) -> dict[str, Tensor]:
    return {"logits": nn.functional.dropout(net(batch["images"]), 0.5)}


def centred(net: Vit, batch: Batch) -> dict[str, Tensor]:
    logits = net(batch["images"])
    return {"logits": logits - logits.mean(dim=0)}


def constant(net: Vit, batch: Batch) -> dict[str, Tensor]:
    return {"logits": net(batch["images"]).detach() * 0 + net.head.bias}


def twice(net: Vit, batch: Batch) -> dict[str, Tensor]:
    net(batch["images"])
    return {"logits": net(batch["images"])}


def changed_stack(**changes: Any) -> Any:
    true = Vit.stacks

    def stacks(net: Vit) -> tuple[Any, ...]:
        return tuple(replace(stack, **changes) for stack in true(net))

    return stacks


def heads_share_a_softmax(attention: Any, x: Tensor) -> Tensor:
    b, s, _ = x.shape
    q, k, v = attention.qkv(x).view(b, s, 3, attention.heads, attention.head_dim).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-1, -2)).softmax(dim=1)  # over the heads
    return attention.proj((weights @ v).transpose(1, 2).reshape(b, s, -1))


def neurons_share_a_softmax(mlp: Any, x: Tensor) -> Tensor:
    return mlp.fc2(mlp.fc1(x).softmax(dim=-1))


def blocks_know_their_number(net: Vit, images: Tensor) -> Tensor:
    x = net.patch_embed(images)
    x = torch.cat([net.cls_token.expand(len(x), 1, -1), x], dim=1) + net.pos_embed
    for number, block in enumerate(net.blocks):
        x = block(x * (1 + number))
    return net.head(net.norm(x[:, 0]))


TRUE_INIT = Vit.__init__


def with_a_buffer(net: Vit, spec: VitSpec) -> None:
    TRUE_INIT(net, spec)
    net.register_buffer("seen", torch.zeros(1), persistent=False)


def with_an_extra_weight(net: Vit, spec: VitSpec) -> None:
    TRUE_INIT(net, spec)
    net.extra = nn.Parameter(torch.zeros(2))


VIT_STEM = dict(Vit(TestVit().spec()).stacks()[0].stem_axes)


@pytest.mark.parametrize(
    ("test", "owner", "attribute", "value"),
    [
        ("test_the_kit_is_given_enough", Vit, "outputs", constant),
        ("test_outputs_are_repeatable", Vit, "outputs", dropping),
        ("test_samples_do_not_see_each_other", Vit, "outputs", centred),
        ("test_fresh_weights_can_be_trained", Vit, "outputs", constant),
        ("test_multiply_accumulates_are_those_that_run", Vit, "outputs", twice),
        ("test_every_tensor_is_described", Vit, "stacks", changed_stack(head_size=3)),
        ("test_every_tensor_is_described", Vit, "stacks", changed_stack(stem_axes={})),
        ("test_every_tensor_is_described", Vit, "stacks", changed_stack(stem_axes={**VIT_STEM, "tail": ("embed",)})),
        ("test_stacks_have_the_spec_s_dimensions", Vit, "stacks", lambda net: ()),
        ("test_weights_are_all_there_is", Vit, "__init__", with_a_buffer),
        ("test_parameters_are_the_closed_form_s", Vit, "__init__", with_an_extra_weight),
        ("test_removing_a_head_is_zeroing_it", vit_module.Attention, "forward", heads_share_a_softmax),
        ("test_removing_a_neuron_is_zeroing_it", vit_module.Mlp, "forward", neurons_share_a_softmax),
        ("test_removing_a_layer_is_skipping_it", Vit, "forward", blocks_know_their_number),
    ],
)
def test_the_kit_finds(monkeypatch: pytest.MonkeyPatch, test: str, owner: Any, attribute: str, value: Any) -> None:
    kit = TestVit()
    getattr(kit, test)()
    monkeypatch.setattr(owner, attribute, value)
    with pytest.raises(AssertionError):
        getattr(kit, test)()


def test_the_kit_finds_counts_that_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    kit, entry = TestVit(), FAMILIES["vit"]
    off = replace(entry, parameters=lambda spec: entry.parameters(spec) + 1)
    monkeypatch.setattr("catransformers.workloads.vit.FAMILY", off)
    for test in (kit.test_parameters_are_the_closed_form_s, kit.test_one_half_of_each_dimension):
        with pytest.raises(AssertionError, match=r"parameters|closed form"):
            test()


def test_the_kit_finds_specs_that_take_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    kit = TestVit()
    monkeypatch.setattr(
        VitSpec, "with_dimensions", lambda spec, values: replace(spec, encoder=replace(spec.encoder, **values))
    )
    with pytest.raises(AssertionError, match="layers=0 was taken"):
        kit.test_dimensions_shrink_and_never_grow()
    entry = FAMILIES["vit"]
    lenient = replace(entry, from_dict=lambda data: kit.spec())
    monkeypatch.setattr("catransformers.workloads.vit.FAMILY", lenient)
    with pytest.raises(AssertionError, match="took it"):
        kit.test_a_spec_of_other_keys_is_refused()
    with pytest.raises(AssertionError, match="came back"):
        kit.test_a_spec_survives_json()


def test_the_kit_finds_pruning_that_rescales(monkeypatch: pytest.MonkeyPatch) -> None:
    true = prune_module._gather

    def rescaled(tensor: Tensor, axes: Any, indices: Any) -> Tensor:
        part = true(tensor, axes, indices)
        return part * 1.001 if part.shape != tensor.shape else part * 1.0

    monkeypatch.setattr(prune_module, "_gather", rescaled)
    kit = TestVit()
    kit.test_the_full_spec_is_the_same_net()
    for test in (kit.test_removing_a_head_is_zeroing_it, kit.test_removing_a_neuron_is_zeroing_it):
        with pytest.raises(AssertionError):
            test()


def test_the_kit_finds_scores_of_the_wrong_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    true = taylor_module.taylor_scores

    def turned(net: Net, *rest: Any) -> Any:
        found = true(net, *rest)
        for parts in found.values():
            parts["heads"] = parts["heads"].roll(1, dims=-1)
        return found

    monkeypatch.setattr("catransformers.models.pruning.importance.taylor_scores", turned)
    with pytest.raises(AssertionError, match="nothing reads it"):
        TestVit().test_dead_heads_and_neurons_come_last()


def test_the_kit_itself_needs_no_pytest() -> None:
    code = "import sys, catransformers.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
