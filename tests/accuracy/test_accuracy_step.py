"""A step: micro-batches give the gradient of the whole batch, whatever the loss; precision is as asked for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from catransformers.accuracy.training.losses import class_loss, language_loss, pair_loss
from catransformers.accuracy.training.step import Loss, StepSettings, autocast, backward, resolved_precision
from catransformers.errors import InputError
from catransformers.models.families.clip import Clip
from catransformers.models.families.net import Batch, Net, Stack
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec

SPEC = ClipSpec(
    vision=VisionSpec(layers=1, ffn_dim=12, embed_dim=8, heads=2, head_dim=4, tokens=5, image_size=4, patch_size=2),
    text=TextSpec(layers=1, ffn_dim=12, embed_dim=8, heads=2, head_dim=4, tokens=4, vocab_size=11),
    projection_dim=6,
)


class Logits(Net):
    """The least net with logits: of a class from an image, or of the next token from each token."""

    def __init__(self, *, text: bool) -> None:
        super().__init__()
        self.text = text
        self.first = nn.Embedding(11, 8) if text else nn.Linear(48, 8)
        self.last = nn.Linear(8, 11 if text else 5)

    def stacks(self) -> tuple[Stack, ...]:
        return ()

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        x = batch["tokens"] if self.text else batch["images"].flatten(1)
        return {"logits": self.last(torch.tanh(self.first(x)))}


def make(kind: str) -> tuple[Net, Net, Loss]:
    """A net, another as its teacher, and the loss."""
    torch.manual_seed(0)
    if kind == "pairs":
        return Clip(SPEC).double(), Clip(SPEC).double(), pair_loss
    text = kind == "texts"
    return Logits(text=text).double(), Logits(text=text).double(), language_loss if text else class_loss


def make_batch(number: int, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 10, (number, 4), generator=generator)
    tokens[:, -1] = 10
    if number > 2:
        tokens[2] = tokens[0]  # a caption that stands twice
    lengths = torch.randint(2, 5, (number, 1), generator=generator)
    return {
        "images": torch.randn(number, 3, 4, 4, generator=generator).double(),
        "tokens": tokens,
        "mask": torch.arange(4) < lengths,
        "labels": torch.randint(0, 5, (number,), generator=generator),
    }


def gradient(kind: str, number: int, how: StepSettings, *, taught: bool) -> tuple[float, dict[str, Tensor]]:
    net, teacher, loss_fn = make(kind)
    batch = make_batch(number)
    with torch.no_grad():
        target = {name: x for name, x in teacher.outputs(batch).items() if x.dim()} if taught else None
    value = backward(net, loss_fn, batch, target, how)
    return value, {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(["pairs", "classes", "texts"]),
    st.integers(2, 9),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from([None, 0.0, 3.0]),
)
def test_micro_batches_give_the_whole_gradient(
    kind: str, number: int, micro: int, taught: bool, distillation: float | None
) -> None:
    pairwise = kind == "pairs"
    value, whole = gradient(kind, number, StepSettings(distillation, None, pairwise), taught=taught)
    again, parts = gradient(kind, number, StepSettings(distillation, micro, pairwise), taught=taught)
    assert again == pytest.approx(value, abs=1e-9)
    assert set(parts) == set(whole)
    if pairwise:
        assert "logit_scale" in parts
    for name, expected in whole.items():
        torch.testing.assert_close(parts[name], expected, atol=1e-9, rtol=1e-9)


def test_micro_batches_of_single_precision_are_near_enough() -> None:
    net, _, _ = make("pairs")
    net = net.float()
    batch = {name: x.float() if x.is_floating_point() else x for name, x in make_batch(16).items()}
    backward(net, pair_loss, batch, None, StepSettings(pairwise=True))
    whole = {name: p.grad.clone() for name, p in net.named_parameters()}
    net.zero_grad()
    backward(net, pair_loss, batch, None, StepSettings(micro_batch=5, pairwise=True))
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, whole[name], atol=1e-5, rtol=1e-5)


def test_a_pairwise_loss_in_parts_of_its_own_would_be_another() -> None:
    """What gradient caching is for: the sum over parts is not the gradient of the whole batch."""
    _, whole = gradient("pairs", 8, StepSettings(pairwise=True), taught=False)
    _, wrong = gradient("pairs", 8, StepSettings(micro_batch=2, pairwise=False), taught=False)
    assert not torch.allclose(whole["visual.proj"], wrong["visual.proj"], atol=1e-3)


@pytest.mark.parametrize("micro", [None, 3])
def test_gradients_add_up_and_the_scale_scales(micro: int | None) -> None:
    for kind in ("pairs", "classes"):
        net, _, loss_fn = make(kind)
        batch, how = make_batch(7), StepSettings(micro_batch=micro, pairwise=kind == "pairs")
        backward(net, loss_fn, batch, None, how)
        once = {name: p.grad.clone() for name, p in net.named_parameters()}
        value = backward(net, loss_fn, batch, None, how, lambda loss: 4 * loss)
        with torch.no_grad():
            assert value == pytest.approx(float(loss_fn(net.outputs(batch), batch)))  # unscaled
        for name, parameter in net.named_parameters():
            torch.testing.assert_close(parameter.grad, 5 * once[name], atol=1e-9, rtol=1e-9)


def test_the_loss_that_is_told_has_no_distillation_in_it() -> None:
    with_teacher, _ = gradient("classes", 6, StepSettings(distillation=50.0), taught=True)
    without, _ = gradient("classes", 6, StepSettings(), taught=False)
    assert with_teacher == pytest.approx(without)


def test_bfloat16_computes_in_it_and_agrees_roughly() -> None:
    net, _, _ = make("pairs")
    net = net.float()
    batch = {name: x.float() if x.is_floating_point() else x for name, x in make_batch(8).items()}
    seen: list[torch.dtype] = []
    net.visual.transformer.resblocks[0].mlp.c_fc.register_forward_hook(lambda _m, _x, y: seen.append(y.dtype))
    found = {}
    for precision in ("fp32", "bf16"):
        net.zero_grad()
        value = backward(net, pair_loss, batch, None, StepSettings(pairwise=True, precision=precision))  # type: ignore[arg-type]
        found[precision] = (value, torch.cat([p.grad.flatten() for p in net.parameters()]))
    assert seen == [torch.float32, torch.bfloat16]
    assert found["bf16"][1].dtype == torch.float32
    assert found["bf16"][0] == pytest.approx(found["fp32"][0], rel=0.05)
    assert found["bf16"][0] != found["fp32"][0]
    cosine = nn.functional.cosine_similarity(found["fp32"][1], found["bf16"][1], dim=0)
    assert float(cosine) > 0.99


def test_what_a_cpu_computes_in() -> None:
    cpu = torch.device("cpu")
    assert resolved_precision("auto", cpu) == resolved_precision("fp32", cpu) == "fp32"
    assert resolved_precision("bf16", cpu) == "bf16"
    with pytest.raises(InputError, match=r"accuracy\.precision: fp16 needs a GPU; allowed: fp32, bf16"):
        autocast("fp16", cpu)
