"""What holds for nets of all families: made without memory, scored by every method, in any precision, and pruned."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from catransformers.accuracy.training.losses import class_loss, language_loss, pair_loss
from catransformers.accuracy.training.step import Loss, StepSettings, backward
from catransformers.models.families.nets import make_net
from catransformers.models.pruning.importance import Importance, Methods, importance
from catransformers.models.pruning.part_scores import PARTS
from catransformers.models.pruning.prune import prune, sliced, sorted_net, top
from catransformers.registry import FAMILIES
from catransformers.workloads import families
from catransformers.workloads.dimensions import EncoderSpec, TextSpec, VisionSpec
from catransformers.workloads.spec import BertSpec, ClipSpec, LlamaSpec, ModelSpec, VitSpec

VISION = VisionSpec(2, 40, 16, 2, 8, tokens=5, image_size=8, patch_size=4)
SPECS: dict[str, tuple[ModelSpec, Loss]] = {
    "clip": (ClipSpec(VISION, TextSpec(2, 40, 16, 2, 8, tokens=6, vocab_size=20), projection_dim=8), pair_loss),
    "vit": (VitSpec(VISION, classes=3), class_loss),
    "bert": (BertSpec(EncoderSpec(2, 40, 16, 2, 8, tokens=6), vocab_size=20, positions=8, classes=3), class_loss),
    "llama": (
        LlamaSpec(2, 40, 16, 4, 2, 4, 20, tied_embeddings=True, max_tokens=8, prompt_tokens=4, new_tokens=1),
        language_loss,
    ),
}


def net_of(family: str) -> torch.nn.Module:
    torch.manual_seed(0)
    net = make_net(SPECS[family][0]).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return net


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "images": torch.randn(6, 3, 8, 8, generator=generator),
        "tokens": torch.randint(0, 20, (6, 6), generator=generator),
        "mask": torch.arange(6) < torch.tensor([[3], [6], [4], [5], [6], [2]]),
        "labels": torch.randint(0, 3, (6,), generator=generator),
    }


@pytest.fixture(scope="module", params=list(FAMILIES))
def scored(request: pytest.FixtureRequest) -> tuple[str, Importance]:
    family = request.param
    return family, importance(net_of(family), [batch()], SPECS[family][1])


def test_a_net_without_memory_has_the_same_tensors(scored: tuple[str, Importance]) -> None:
    family, _ = scored
    empty, whole = make_net(SPECS[family][0], empty=True), net_of(family)
    assert all(p.is_meta for p in empty.parameters())
    shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in whole.state_dict().items()}
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in empty.state_dict().items()} == shapes


def test_making_a_net_without_memory_does_not_wake_the_compiler() -> None:
    """Initialising on torch's meta device imports some 800 modules: a second and 70 MB in every worker."""
    code = (
        "import sys; from catransformers.models.families.nets import make_net;"
        "import catransformers.models.families.clip;"
        "from catransformers.workloads.zoo import embedded_spec; before = set(sys.modules);"
        "make_net(embedded_spec(), empty=True); print(len(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) < 100


@pytest.mark.parametrize("method", ["taylor", "leave-one-out", "magnitude", "activation", "random"])
def test_every_method_scores_every_part(method: str, scored: tuple[str, Importance]) -> None:
    family, usual = scored
    found = importance(net_of(family), [batch()], SPECS[family][1], Methods(method, method, method))
    assert found.loss == usual.loss
    for name, stack in usual.stacks.items():
        for part in PARTS:
            own = getattr(found.stacks[name], part)
            assert own.shape == getattr(stack, part).shape
            assert float(own.std()) > 0, (name, part)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_a_base_in_half_precision_can_be_scored_and_pruned(kind: torch.dtype, scored: tuple[str, Importance]) -> None:
    family, usual = scored
    spec, loss_fn = SPECS[family]
    base = net_of(family).to(kind)
    for method in ("taylor", "leave-one-out", "activation"):
        found = importance(base, [batch()], loss_fn, Methods(method, method, method))
        assert found.loss == pytest.approx(usual.loss, abs=0.05)
    half = spec.with_dimensions({name: size // 2 for name, size in spec.dimensions().items()})
    net = prune(base, half, found).train()
    assert sum(p.numel() for p in net.parameters()) == families.parameters(half)
    value = backward(net, loss_fn, batch(), None, StepSettings(micro_batch=4, pairwise=family == "clip"))
    assert value > 0
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in net.parameters())


def test_a_slice_of_the_sorted_net_is_the_pruned_net(scored: tuple[str, Importance]) -> None:
    family, found = scored
    spec, _ = SPECS[family]
    base = net_of(family)
    half = spec.with_dimensions({name: size // 2 for name, size in spec.dimensions().items()})
    arranged = sorted_net(base, found)
    layers = {stack.name: top(found.stacks[stack.name].layers, 1) for stack in base.stacks()}
    with torch.no_grad():
        for one, other in (
            (base, arranged),
            (prune(base, half, found), sliced(arranged, half, layers)),
        ):
            left, right = one.outputs(batch()), other.outputs(batch())
            for name, output in left.items():
                torch.testing.assert_close(output, right[name], atol=1e-5, rtol=1e-5)
