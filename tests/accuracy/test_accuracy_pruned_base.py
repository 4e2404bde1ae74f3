"""The shipped model under pruning: importance beats chance, and a trial's fine-tune brings accuracy back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from catransformers.accuracy.metrics.retrieval import RetrievalPool, recall_at_1
from catransformers.accuracy.tasks.scenes import ScenesTask
from catransformers.accuracy.training.distillation import KeptTeacher, make_targets
from catransformers.accuracy.training.losses import pair_loss
from catransformers.accuracy.training.proxy import ProxySettings, fine_tune
from catransformers.models.families.clip import Clip
from catransformers.models.loading.storage import embedded_model
from catransformers.models.pruning.importance import Importance, Methods, importance
from catransformers.models.pruning.magnitude import random_scores
from catransformers.models.pruning.prune import prune
from catransformers.workloads.spec import ClipSpec


@pytest.fixture(scope="module")
def base() -> Clip:
    return embedded_model().eval()


@pytest.fixture(scope="module")
def scores(base: Clip) -> Importance:
    return importance(base, ScenesTask().calibration_batches(64), pair_loss)


@pytest.fixture(scope="module")
def pool() -> RetrievalPool:
    return ScenesTask().pool("validation")


SEEDS = 5


def by_chance(base: Clip, scores: Importance, seed: int) -> Importance:
    """The same layers, with chance as the only judge of heads, neurons and channels."""
    stacks = {
        name: replace(scores.stacks[name], heads=parts["heads"], ffn=parts["ffn"], embed=parts["embed"])
        for name, parts in random_scores(base, seed).items()
    }
    return replace(scores, stacks=stacks)


def part_of(base: Clip, fraction: float, *kinds: str) -> ClipSpec:
    """The base's spec with a fraction of some kinds of dimensions."""
    dimensions = base.spec.dimensions()
    return base.spec.with_dimensions(
        {name: round(n * fraction) for name, n in dimensions.items() if name.endswith(kinds)}
    )


@pytest.mark.parametrize(
    ("kinds", "fraction", "margin"),
    [
        (("ffn_dim", "heads"), 0.5, 0.15),  # seen: 0.78 against 0.47
        (("ffn_dim",), 0.5, 0.15),  # 0.97 against 0.71
        (("heads",), 0.5, 0.02),  # 0.90 against 0.85
        (("embed_dim",), 0.875, 0.05),  # 0.79 against 0.63
    ],
)
def test_importance_beats_chance_before_any_fine_tune(
    kinds: tuple[str, ...], fraction: float, margin: float, base: Clip, scores: Importance, pool: RetrievalPool
) -> None:
    spec = part_of(base, fraction, *kinds)
    chosen = recall_at_1(prune(base, spec, scores), pool).accuracy
    chance = [recall_at_1(prune(base, spec, by_chance(base, scores, s)), pool).accuracy for s in range(SEEDS)]
    assert chosen > sum(chance) / SEEDS + margin


def test_importance_beats_chance_after_a_short_fine_tune(base: Clip, scores: Importance, pool: RetrievalPool) -> None:
    """Where so many channels go that nothing works at first: seen 0.61 against 0.49."""
    task, spec, steps = ScenesTask(), part_of(base, 0.75, "embed_dim"), 10
    teacher = KeptTeacher(make_targets(base, task, steps=steps, batch_size=64, seed=0))

    def tuned(judge: Importance) -> float:
        net = prune(base, spec, judge)
        fine_tune(net, task, ProxySettings(steps=steps), teacher)
        return recall_at_1(net, pool).accuracy

    chance = [tuned(by_chance(base, scores, seed)) for seed in range(SEEDS)]
    assert tuned(scores) > sum(chance) / SEEDS + 0.05


def test_other_methods_beat_chance_too(base: Clip, pool: RetrievalPool) -> None:
    """Half of the heads and neurons by the size of weights or of activations (seen: 0.81 and 0.64, chance 0.47)."""
    spec = part_of(base, 0.5, "ffn_dim", "heads")
    batches = ScenesTask().calibration_batches(64)
    plain = importance(base, batches[:2], pair_loss, Methods("random", "random", "random"))
    chance = [recall_at_1(prune(base, spec, by_chance(base, plain, s)), pool).accuracy for s in range(SEEDS)]
    for method in ("magnitude", "activation"):
        judged = importance(base, batches, pair_loss, Methods(method, method, method))
        assert recall_at_1(prune(base, spec, judged), pool).accuracy > sum(chance) / SEEDS + 0.05, method


def test_the_layers_that_matter_most_are_the_ones_to_keep(base: Clip, scores: Importance) -> None:
    """Of a third of the layers, the most important ones lose less than the least important ones, on other data."""
    spec = base.spec.with_dimensions({"vision.layers": 2, "text.layers": 2})
    turned = {name: replace(stack, layers=-stack.layers) for name, stack in scores.stacks.items()}
    upside_down = replace(scores, stacks=turned)
    batch = next(ScenesTask().train_batches(200, seed=7))
    with torch.no_grad():
        kept, lost = (float(pair_loss(prune(base, spec, s).outputs(batch), batch)) for s in (scores, upside_down))
    assert kept < 0.9 * lost


def test_a_trial_brings_accuracy_back_and_targets_bring_more(
    base: Clip, scores: Importance, pool: RetrievalPool
) -> None:
    task = ScenesTask()
    spec = base.spec.with_dimensions({name: round(n * 0.75) for name, n in base.spec.dimensions().items()})
    settings = ProxySettings(steps=20)
    targets = KeptTeacher(make_targets(base, task, steps=20, batch_size=settings.batch_size, seed=settings.seed))
    before, plain, guided = (prune(base, spec, scores) for _ in range(3))
    fine_tune(plain, task, settings)
    fine_tune(guided, task, settings, targets)
    zero, alone, told = (recall_at_1(model, pool).accuracy for model in (before, plain, guided))
    assert alone > zero + 0.1
    assert told > alone + 0.02
