"""The proxy fine-tune: learns, repeats to the bit, says when it fails."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from catransformers.accuracy.metrics.score import Score
from catransformers.accuracy.training import distillation
from catransformers.accuracy.training.distillation import (
    KeptTeacher,
    LiveTeacher,
    default_weight,
    distance,
    make_targets,
    teacher_of,
)
from catransformers.accuracy.training.losses import pair_loss
from catransformers.accuracy.training.proxy import (
    ProxySettings,
    TrialFailure,
    fine_tune,
    parameter_groups,
    rate,
    scaled_steps,
)
from catransformers.errors import InputError
from catransformers.models.families.clip import MAXIMAL_LOGIT_SCALE, Clip
from catransformers.models.families.net import Batch, Net, Outputs
from catransformers.workloads.spec import ClipSpec, TextSpec, VisionSpec

SPEC = ClipSpec(
    vision=VisionSpec(layers=2, ffn_dim=32, embed_dim=16, heads=2, head_dim=8, tokens=5, image_size=4, patch_size=2),
    text=TextSpec(layers=2, ffn_dim=32, embed_dim=16, heads=2, head_dim=8, tokens=3, vocab_size=12),
    projection_dim=8,
)


class Patterns:
    """Ten words, each with its own noisy picture."""

    name = "patterns"
    pairwise = True

    def __init__(self, noise: float = 0.3) -> None:
        self.pictures = torch.randn(10, 3, 4, 4, generator=torch.Generator().manual_seed(1))
        self.noise = noise

    def train_batches(self, batch_size: int, seed: int, start: int = 0) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            words = torch.randint(0, 10, (batch_size,), generator=generator)
            noise = torch.randn(batch_size, 3, 4, 4, generator=generator)
            begin, end = torch.full_like(words, 10), torch.full_like(words, 11)
            yield {
                "images": self.pictures[words] + self.noise * noise,
                "tokens": torch.stack([begin, words, end], dim=1),
            }

    def calibration_batches(self, batch_size: int) -> list[Batch]:
        return [next(self.train_batches(batch_size, -1))]

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        return pair_loss(outputs, batch)

    def evaluate(self, net: Net, pool: str) -> Score:
        raise NotImplementedError(pool)

    def check(self, progress: object = None) -> None:
        raise NotImplementedError


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
        def train_batches(self, batch_size: int, seed: int, start: int = 0) -> Iterator[Batch]:
            for step, batch in enumerate(super().train_batches(batch_size, seed)):
                yield {**batch, "images": batch["images"] * sick} if step == 2 else batch

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
    assert targets["image"].shape == targets["text"].shape == (30, 16, 8)
    batch = next(Patterns().train_batches(40, 99))
    found = {}
    for name, given in (("with", KeptTeacher(targets)), ("without", None)):
        model = make_model()
        fine_tune(model, Patterns(), settings, given)
        with torch.no_grad():
            found[name] = float(distance(model.outputs(batch), base.outputs(batch), batch))
    assert found["with"] < 0.5 * found["without"]


def test_a_base_has_no_distance_to_itself() -> None:
    base = make_model().eval()
    teacher = KeptTeacher(make_targets(base, Patterns(), steps=2, batch_size=4, seed=0))
    batch = next(Patterns().train_batches(4, 0))
    with torch.no_grad():
        own = base.outputs(batch)
    assert float(distance(own, teacher(0, batch), batch)) == pytest.approx(0, abs=1e-6)
    assert float(distance(own, teacher(1, batch), batch)) > 0.01
    opposite = {name: -target for name, target in teacher(0, batch).items()}
    assert float(distance(own, opposite, batch)) == pytest.approx(4, abs=1e-6)


def test_the_distance_of_logits_is_the_divergence_of_the_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    own, target = (torch.randn(2, 4, 5, generator=generator) for _ in range(2))
    p, q = target.softmax(dim=-1), own.softmax(dim=-1)
    divergence = (p * (p / q).log()).sum(dim=-1)  # (2, 4)
    classes = distance({"logits": own[:, 0]}, {"logits": target[:, 0]}, {})
    torch.testing.assert_close(classes, divergence[:, 0].mean())
    torch.testing.assert_close(distance({"logits": own}, {"logits": target}, {}), divergence[:, :-1].mean())
    # Texts of 4 and of 2 tokens: the last token predicts nothing that is known, padding neither.
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    expected = (divergence[0, :3].mean() + divergence[1, 0]) / 2
    torch.testing.assert_close(distance({"logits": own}, {"logits": target}, {"mask": mask}), expected)
    assert float(distance({"logits": own}, {"logits": own + 3}, {})) == pytest.approx(0, abs=1e-6)


def test_vectors_and_logits_have_weights_of_their_own() -> None:
    assert default_weight({"image": torch.ones(1), "logit_scale": torch.ones(())}) == 20
    assert default_weight({"logits": torch.ones(1, 2)}) == 1


def trained(teacher: Callable[[Clip], object] | None, **changes: object) -> tuple[tuple[float, ...], Clip]:
    torch.manual_seed(4)
    base, model = Clip(SPEC).eval(), make_model()
    settings = ProxySettings(steps=6, batch_size=8, learning_rate=3e-3, **changes)
    given = None if teacher is None else teacher(base)
    return fine_tune(model, Patterns(), settings, given).losses, model


def kept(base: Clip) -> KeptTeacher:
    return KeptTeacher(make_targets(base, Patterns(), steps=6, batch_size=8, seed=0))


def test_a_kept_and_a_live_teacher_teach_the_same() -> None:
    (first, one), (second, other), (alone, _) = trained(kept), trained(LiveTeacher), trained(None)
    assert first == second != alone
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_the_usual_weight_of_the_distance_can_be_changed() -> None:
    usual, _ = trained(kept)
    assert usual == trained(kept, distillation=20.0)[0]
    assert usual != trained(kept, distillation=5.0)[0]
    assert trained(None)[0] == trained(kept, distillation=0.0)[0]


def test_micro_batches_train_the_same_model() -> None:
    (whole, one), (parts, other) = trained(kept), trained(kept, micro_batch=3)
    assert parts == pytest.approx(whole, abs=1e-5)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=0)


def test_targets_of_another_number_of_steps_are_refused() -> None:
    model = make_model()
    targets = KeptTeacher(make_targets(model, Patterns(), steps=3, batch_size=4, seed=0))
    with pytest.raises(InputError, match="of 3 steps; allowed: 5 steps"):
        fine_tune(model, Patterns(), ProxySettings(steps=5, batch_size=4), targets)


def test_targets_are_kept_and_made_again_for_other_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_model()
    numbers = {"steps": 3, "batch_size": 4, "seed": 0}
    first = teacher_of(base, Patterns(), tmp_path, **numbers)
    assert isinstance(first, KeptTeacher)
    assert torch.equal(first.targets["image"], make_targets(base, Patterns(), **numbers)["image"])
    for other in ({"steps": 4}, {"batch_size": 5}, {"seed": 1}):
        teacher_of(base, Patterns(), tmp_path, **(numbers | other))
    teacher_of(base, Patterns(noise=0.1), tmp_path, **numbers)
    with torch.no_grad():
        base.text_projection += 0.1
    teacher_of(base, Patterns(), tmp_path, **numbers)
    assert len(list(tmp_path.iterdir())) == 6
    monkeypatch.setattr(distillation, "make_targets", lambda *_a, **_k: pytest.fail("made although kept"))
    again = teacher_of(make_model(), Patterns(), tmp_path, **numbers)
    assert isinstance(again, KeptTeacher)
    assert all(torch.equal(target, again.targets[name]) for name, target in first.targets.items())


def test_a_digest_of_the_base_that_is_known_is_taken(tmp_path: Path) -> None:
    numbers = {"steps": 1, "batch_size": 4, "seed": 0}
    for sha256 in ("0" * 64, "1" * 64, "0" * 64):
        teacher_of(make_model(), Patterns(), tmp_path, **numbers, base_sha256=sha256)
    assert len(list(tmp_path.iterdir())) == 2


def test_targets_that_would_be_too_large_are_not_kept(tmp_path: Path) -> None:
    base = make_model()
    size = 3 * 4 * 2 * 8 * 4  # steps, samples, images and texts, channels, bytes
    given = {"steps": 3, "batch_size": 4, "seed": 0}
    live = teacher_of(base, Patterns(), tmp_path, **given, most=size - 1)
    assert isinstance(live, LiveTeacher)
    assert list(tmp_path.iterdir()) == []
    assert isinstance(teacher_of(base, Patterns(), tmp_path, **given, most=size), KeptTeacher)
    batch = next(Patterns().train_batches(4, 0))
    outputs = live(0, batch)
    assert not outputs["image"].requires_grad
    assert torch.equal(outputs["image"], base.encode_image(batch["images"]))


def test_smaller_models_get_more_steps_within_reason() -> None:
    assert scaled_steps(100, 1000, 1000) == 100
    assert scaled_steps(100, 1000, 500) == 200
    assert scaled_steps(100, 1000, 10) == 400
    assert scaled_steps(100, 1000, 10, most=8.0) == 800
    assert scaled_steps(100, 1000, 2000) == 100  # never fewer
    assert scaled_steps(0, 1000, 1) == 0


def test_half_precision_trains_on_a_cpu_or_is_refused() -> None:
    (whole, one), (half, other) = trained(kept), trained(kept, precision="bf16")
    assert whole != half
    assert half == pytest.approx(whole, rel=0.05)
    assert {p.dtype for p in other.parameters()} == {torch.float32}
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=0.05, rtol=0)
    assert trained(kept, precision="auto")[0] == whole
    with pytest.raises(InputError, match="fp16 needs a GPU"):
        trained(kept, precision="fp16")


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
        ProxySettings(
            steps=-1, learning_rate=0.0, batch_size=1, warmup_fraction=1.5, distillation=-1.0, micro_batch=0, threads=0
        )
    names = [problem.where.removeprefix("accuracy.") for problem in caught.value.problems]
    expected = ["steps", "learning_rate", "batch_size", "warmup_fraction", "distillation", "micro_batch", "threads"]
    assert names == expected
