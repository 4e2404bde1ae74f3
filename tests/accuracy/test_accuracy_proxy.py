"""The proxy fine-tune: learns, repeats to the bit, says when it fails."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from catransformers.accuracy import distillation
from catransformers.accuracy.distillation import cached_targets, distillation_loss, make_targets
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
        model, Patterns(), ProxySettings(steps=60, batch_size=16), progress=lambda step, loss: seen.append((step, loss))
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
    fine_tune(make_model(), Patterns(), settings, progress=lambda _step, _loss: counts.add(torch.get_num_threads()))
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


def test_targets_pull_the_model_to_its_base() -> None:
    """A damaged copy comes nearer to the base with its targets than without, in as many steps."""
    torch.manual_seed(4)
    base = Clip(SPEC).eval()
    settings = ProxySettings(steps=30, batch_size=16, learning_rate=3e-3)
    targets = make_targets(base, Patterns(), steps=30, batch_size=16, seed=0)
    assert targets.images.shape == targets.texts.shape == (30, 16, 8)
    images, tokens = next(Patterns().train_batches(40, 99))
    distance = {}
    for name, given in (("with", targets), ("without", None)):
        model = make_model()
        fine_tune(model, Patterns(), settings, given)
        with torch.no_grad():
            pairs = (model.encode_image(images), model.encode_text(tokens))
            distance[name] = float(distillation_loss(*pairs, base.encode_image(images), base.encode_text(tokens)))
    assert distance["with"] < 0.5 * distance["without"]


def test_a_base_has_no_distance_to_itself() -> None:
    base = make_model().eval()
    targets = make_targets(base, Patterns(), steps=2, batch_size=4, seed=0)
    images, tokens = next(Patterns().train_batches(4, 0))
    with torch.no_grad():
        own = base.encode_image(images), base.encode_text(tokens)
    assert float(distillation_loss(*own, targets.images[0], targets.texts[0])) == pytest.approx(0, abs=1e-6)
    opposite = -targets.images[0], -targets.texts[0]
    assert float(distillation_loss(*own, *opposite)) == pytest.approx(4, abs=1e-6)


def test_targets_of_another_number_of_steps_are_refused() -> None:
    model = make_model()
    targets = make_targets(model, Patterns(), steps=3, batch_size=4, seed=0)
    with pytest.raises(InputError, match="of 3 steps; allowed: 5 steps"):
        fine_tune(model, Patterns(), ProxySettings(steps=5, batch_size=4), targets)


def test_targets_are_kept_and_made_again_for_other_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_model()
    numbers = {"steps": 3, "batch_size": 4, "seed": 0}
    first = cached_targets(base, Patterns(), tmp_path, **numbers)
    assert torch.equal(first.images, make_targets(base, Patterns(), **numbers).images)
    for other in ({"steps": 4}, {"batch_size": 5}, {"seed": 1}):
        cached_targets(base, Patterns(), tmp_path, **(numbers | other))
    cached_targets(base, Patterns(noise=0.1), tmp_path, **numbers)
    with torch.no_grad():
        base.text_projection += 0.1
    cached_targets(base, Patterns(), tmp_path, **numbers)
    assert len(list(tmp_path.iterdir())) == 6
    monkeypatch.setattr(distillation, "make_targets", lambda *_a, **_k: pytest.fail("made although kept"))
    again = cached_targets(make_model(), Patterns(), tmp_path, **numbers)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.texts, again.texts)


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
