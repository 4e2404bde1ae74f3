"""The proxy fine-tune: learns, repeats to the bit, says when it fails."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from catransformers.accuracy.proxy import ProxySettings, TrialFailure, fine_tune, parameter_groups, rate
from catransformers.accuracy.retrieval import RetrievalPool
from catransformers.errors import InputError
from catransformers.models.clip import MAXIMAL_LOGIT_SCALE, Clip
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec

SPEC = ClipSpec(
    vision=VisionSpec(layers=2, ffn_dim=32, embed_dim=16, heads=2, head_dim=8, tokens=5, image_size=4, patch_size=2),
    text=TextSpec(layers=2, ffn_dim=32, embed_dim=16, heads=2, head_dim=8, tokens=3, vocab_size=12),
    projection_dim=8,
)


class Patterns:
    """Ten words, each with its own noisy picture."""

    name = "patterns"

    def __init__(self, noise: float = 0.3) -> None:
        self.pictures = torch.randn(10, 3, 4, 4, generator=torch.Generator().manual_seed(1))
        self.noise = noise

    def train_batches(self, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            words = torch.randint(0, 10, (batch_size,), generator=generator)
            noise = torch.randn(batch_size, 3, 4, 4, generator=generator)
            start, end = torch.full_like(words, 10), torch.full_like(words, 11)
            yield self.pictures[words] + self.noise * noise, torch.stack([start, words, end], dim=1)

    def calibration_batches(self, batch_size: int) -> list[tuple[Tensor, Tensor]]:
        return [next(self.train_batches(batch_size, -1))]

    def pool(self, name: str) -> RetrievalPool:
        raise NotImplementedError(name)


def make_model() -> Clip:
    torch.manual_seed(0)
    return Clip(SPEC)


def test_it_learns() -> None:
    model = make_model()
    seen: list[tuple[int, float]] = []
    result = fine_tune(
        model, Patterns(), ProxySettings(steps=60, batch_size=16), lambda step, loss: seen.append((step, loss))
    )
    assert len(result.losses) == 60
    assert sum(result.losses[-10:]) < 0.6 * sum(result.losses[:10])
    assert seen == list(enumerate(result.losses, start=1))
    assert result.seconds > 0
    assert not model.training


def test_one_seed_one_thread_one_result() -> None:
    settings = ProxySettings(steps=12, batch_size=16, seed=5)
    models = [make_model() for _ in range(3)]
    first = fine_tune(models[0], Patterns(), settings)
    torch.rand(7)  # the global generator has no say
    second = fine_tune(models[1], Patterns(), settings)
    other = fine_tune(models[2], Patterns(), ProxySettings(steps=12, batch_size=16, seed=6))
    assert first.losses == second.losses != other.losses
    pairs = zip(models[0].parameters(), models[1].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_no_steps_leave_the_model_as_it_is() -> None:
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    assert fine_tune(model, Patterns(), ProxySettings(steps=0)).losses == ()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    counts: set[int] = set()
    settings = ProxySettings(steps=2, batch_size=4, threads=before + 1)
    fine_tune(make_model(), Patterns(), settings, lambda _step, _loss: counts.add(torch.get_num_threads()))
    assert counts == {before + 1}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("sick", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_fails_the_trial_and_says_where(sick: float) -> None:
    model = make_model()
    weights = copy.deepcopy(model.state_dict())

    class Sick(Patterns):
        def train_batches(self, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
            for step, (images, tokens) in enumerate(super().train_batches(batch_size, seed)):
                yield (images * sick if step == 2 else images), tokens

    with pytest.raises(TrialFailure, match="step 3 of 9"):
        fine_tune(model, Sick(), ProxySettings(steps=9, batch_size=4))
    state = model.state_dict()
    assert all(bool(tensor.isfinite().all()) for tensor in state.values())
    assert not torch.equal(state["logit_scale"], weights["logit_scale"])


def test_the_temperature_stays_in_range() -> None:
    for start, end in ((MAXIMAL_LOGIT_SCALE + 1, MAXIMAL_LOGIT_SCALE), (-1.0, 0.0)):
        model = make_model()
        with torch.no_grad():
            model.logit_scale.fill_(start)
        fine_tune(model, Patterns(), ProxySettings(steps=1, batch_size=8, learning_rate=1e-6))
        assert model.logit_scale.item() == pytest.approx(end)


def test_the_rate_warms_up_and_ends_near_zero() -> None:
    settings = ProxySettings(steps=100, learning_rate=1.0, warmup_fraction=0.1)
    rates = [rate(step, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert all(a >= b for a, b in itertools.pairwise(rates[9:]))
    assert 0 < rates[-1] < 1e-3
    assert rate(50, ProxySettings(steps=100, learning_rate=1.0, warmup_fraction=0.0)) == pytest.approx(0.5)
    assert rate(99, ProxySettings(steps=100, learning_rate=1.0, warmup_fraction=1.0)) == 1.0


def test_gains_and_biases_do_not_decay() -> None:
    model = make_model()
    decayed, free = parameter_groups(model, 0.1)
    names = {id(p): name for name, p in model.named_parameters()}
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert len(decayed["params"]) + len(free["params"]) == len(names)
    assert all(not names[id(p)].endswith("bias") and "ln_" not in names[id(p)] for p in decayed["params"])
    assert "logit_scale" in {names[id(p)] for p in free["params"]}


def test_all_bad_settings_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        ProxySettings(steps=-1, learning_rate=0.0, batch_size=1, warmup_fraction=1.5, threads=0)
    names = [problem.where.removeprefix("accuracy.") for problem in caught.value.problems]
    assert names == ["steps", "learning_rate", "batch_size", "warmup_fraction", "threads"]
