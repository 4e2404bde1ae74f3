"""The vision transformer: its counts, what it says of its tensors, training at any shape, bad specs."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from catransformers.errors import InputError
from catransformers.models.families.net import Stack
from catransformers.models.families.vit import Vit
from catransformers.workloads.dimensions import VisionSpec
from catransformers.workloads.families import workload
from catransformers.workloads.vit import VitSpec, parameters, stem_workload

ENCODER = VisionSpec(layers=2, ffn_dim=20, embed_dim=12, heads=3, head_dim=4, tokens=5, image_size=8, patch_size=4)
CLASS = VitSpec(ENCODER, classes=3)
#: Every pooling, with and without a class token, with and without a classifier.
VARIANTS = [
    replace(CLASS, encoder=replace(ENCODER, tokens=4 + token), classes=classes, class_token=token, pooling=pooling)
    for pooling, token, classes in product(("class", "mean", "normed_mean"), (True, False), (3, 0))
    if token or pooling != "class"
]
#: A width that the heads do not divide, and heads that together are wider than it.
ODD = replace(CLASS, encoder=replace(ENCODER, embed_dim=7, heads=3, head_dim=4))


def randomised(net: Any, seed: int = 0) -> Any:
    """The net with every parameter drawn anew: no bias zero, no norm the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
            if parameter.ndim == 1:
                parameter.add_(0.5)
    return net.eval()


def label(spec: VitSpec) -> str:
    return f"{spec.pooling}-{'token' if spec.class_token else 'none'}-{spec.classes}"


@pytest.mark.parametrize("spec", [*VARIANTS, ODD], ids=label)
def test_parameters_and_stored_values_are_the_closed_form(spec: VitSpec) -> None:
    counted = sum(parameter.numel() for parameter in Vit(spec).parameters())
    assert counted == parameters(spec) == workload(spec).weight_bytes  # one byte each


@pytest.mark.parametrize("spec", [*VARIANTS, ODD], ids=label)
def test_every_tensor_has_named_axes_of_the_spec_s_sizes(spec: VitSpec) -> None:
    net, e = Vit(spec), spec.encoder
    (stack,) = net.stacks()
    a = e.heads * e.head_dim
    sizes = {"embed": e.embed_dim, "ffn": e.ffn_dim, "attention": a, "qkv": 3 * a, "one": 1, "tokens": e.tokens}
    sizes |= {"colours": 3, "rows": e.patch_size, "columns": e.patch_size, "classes": spec.classes}
    expected = dict(stack.stem_axes)
    for number in range(e.layers):
        expected |= {f"blocks.{number}.{name}": axes for name, axes in stack.block_axes.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    assert {name: tuple(sizes[axis] for axis in axes) for name, axes in expected.items()} == shapes


@pytest.mark.parametrize("spec", [*VARIANTS, ODD], ids=label)
def test_the_named_modules_read_what_the_stack_says(spec: VitSpec) -> None:
    net, e = Vit(spec).eval(), spec.encoder
    (stack,) = net.stacks()
    assert isinstance(stack, Stack)
    assert stack.size(spec.dimensions()).embed == e.embed_dim
    assert stack.dimensions(stack.size(spec.dimensions())) == spec.dimensions()
    widths: dict[str, int] = {}

    def remember(name: str) -> Any:
        return lambda _module, inputs: widths.__setitem__(name, inputs[0].shape[-1])

    for number, block in enumerate(net.blocks_of(stack)):
        for name in (stack.context, stack.neurons, *stack.norms):
            block.get_submodule(name).register_forward_pre_hook(remember(f"{number}.{name}"))
    for name in stack.outer_norms:
        module = net.get_submodule(name)
        assert isinstance(module, nn.LayerNorm)
        module.register_forward_pre_hook(remember(name))
    net.outputs({"images": torch.randn(2, 3, 8, 8)})
    assert len(widths) == 4 * e.layers + 1
    for name, width in widths.items():
        if name.endswith(stack.context):
            assert width == e.heads * stack.head_size
        elif name.endswith(stack.neurons):
            assert width == e.ffn_dim
        else:
            assert width == e.embed_dim


@pytest.mark.parametrize("spec", [*VARIANTS, ODD], ids=label)
def test_outputs_train_and_every_parameter_gets_a_gradient(spec: VitSpec) -> None:
    torch.manual_seed(0)
    net = randomised(Vit(spec))
    outputs = net.outputs({"images": torch.randn(4, 3, 8, 8), "labels": torch.zeros(4, dtype=torch.int64)})
    assert {name: tuple(o.shape) for name, o in outputs.items()} == (
        {"logits": (4, 3)} if spec.classes else {"features": (4, spec.encoder.embed_dim)}
    )
    next(iter(outputs.values())).square().sum().backward()
    silent = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent


def test_training_lowers_the_loss_where_heads_do_not_divide_the_width() -> None:
    torch.manual_seed(0)
    net, images, labels = Vit(ODD), torch.randn(12, 3, 8, 8), torch.arange(12) % 3
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = nn.functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 < losses[0]


def test_images_do_not_see_each_other_and_the_order_of_patches_matters() -> None:
    net, images = randomised(Vit(CLASS)), torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        together, alone = net(images), torch.cat([net(image[None]) for image in images])
        turned = net(images.flip(-1))
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
    assert (together - turned).abs().max() > 1e-3


def test_only_the_mean_of_normalised_patches_normalises_more_than_one_row() -> None:
    rows = {}
    for spec in VARIANTS:
        (norm,) = (op for op in stem_workload(spec).operators if op.name == "ln_out")
        rows[spec.pooling] = norm.rows  # type: ignore[union-attr]
    assert rows == {"class": 1, "mean": 1, "normed_mean": 4}


@pytest.mark.parametrize("spec", VARIANTS, ids=label)
def test_specs_come_back_from_plain_data(spec: VitSpec) -> None:
    spec = replace(spec, norm_eps=1e-12, activation="quick_gelu")
    assert VitSpec.from_dict(spec.to_dict()) == spec


def test_a_spec_without_the_later_keys_has_their_defaults() -> None:
    data = CLASS.to_dict()
    del data["norm_eps"], data["activation"]
    assert VitSpec.from_dict(data) == CLASS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm_eps": None}, "norm_eps: None is out of range"),
        ({"norm_eps": float("nan")}, "norm_eps: nan is out of range"),
        ({"norm_eps": 0}, "norm_eps: 0 is out of range"),
        ({"activation": "relu"}, "'relu' is unknown; allowed: gelu, gelu_tanh, quick_gelu"),
        ({"pooling": "normed_mean", "class_token": False}, "5 do not fit image and patches; allowed: 4"),
    ],
)
def test_impossible_keys_are_told(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        VitSpec.from_dict(CLASS.to_dict() | change)
    assert message in str(caught.value)


def test_impossible_specs_are_refused_with_all_their_faults() -> None:
    spec = replace(CLASS, encoder=replace(ENCODER, tokens=9), class_token=False)
    with pytest.raises(InputError) as caught:
        Vit(spec)
    assert "9 do not fit" in str(caught.value)
    assert "no class token" in str(caught.value)
