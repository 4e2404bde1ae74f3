"""The shipped model under pruning: importance beats chance, and a trial's fine-tune brings accuracy back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from catransformers.accuracy.distillation import make_targets
from catransformers.accuracy.losses import contrastive_loss
from catransformers.accuracy.proxy import ProxySettings, fine_tune
from catransformers.accuracy.retrieval import RetrievalPool, recall_at_1
from catransformers.accuracy.tasks.scenes import ScenesTask
from catransformers.models.clip import Clip
from catransformers.models.importance import EncoderImportance, Importance, importance
from catransformers.models.prune import prune
from catransformers.models.storage import embedded_model


@pytest.fixture(scope="module")
def base() -> Clip:
    return embedded_model().eval()


@pytest.fixture(scope="module")
def scores(base: Clip) -> Importance:
    return importance(base, ScenesTask().calibration_batches(64), contrastive_loss)


@pytest.fixture(scope="module")
def pool() -> RetrievalPool:
    return ScenesTask().pool("validation")


def shuffled(scores: EncoderImportance, generator: torch.Generator) -> EncoderImportance:
    """The same shapes, with chance as the only judge of heads, neurons and channels."""
    heads, ffn, embed = (torch.rand(t.shape, generator=generator) for t in (scores.heads, scores.ffn, scores.embed))
    return replace(scores, heads=heads, ffn=ffn, embed=embed)


@pytest.mark.parametrize(
    ("dimension", "fraction", "margin"), [("ffn_dim", 0.5, 0.1), ("heads", 0.5, 0.02), ("embed_dim", 0.875, 0.05)]
)
def test_importance_beats_chance_before_any_fine_tune(
    dimension: str, fraction: float, margin: float, base: Clip, scores: Importance, pool: RetrievalPool
) -> None:
    spec = base.spec.with_dimensions(
        {name: round(n * fraction) for name, n in base.spec.dimensions().items() if name.endswith(dimension)}
    )
    chosen = recall_at_1(prune(base, spec, scores), pool).accuracy
    generator = torch.Generator().manual_seed(0)
    by_chance = []
    for _ in range(5):
        random = replace(scores, vision=shuffled(scores.vision, generator), text=shuffled(scores.text, generator))
        by_chance.append(recall_at_1(prune(base, spec, random), pool).accuracy)
    assert chosen > sum(by_chance) / 5 + margin


def test_the_layers_that_matter_most_are_the_ones_to_keep(base: Clip, scores: Importance) -> None:
    """Of a third of the layers, the most important ones lose less than the least important ones, on other data."""
    spec = base.spec.with_dimensions({"vision.layers": 2, "text.layers": 2})
    upside_down = replace(
        scores,
        vision=replace(scores.vision, layers=-scores.vision.layers),
        text=replace(scores.text, layers=-scores.text.layers),
    )
    images, tokens = next(ScenesTask().train_batches(200, seed=7))
    with torch.no_grad():
        kept, lost = (
            float(contrastive_loss(prune(base, spec, s)(images, tokens), tokens)) for s in (scores, upside_down)
        )
    assert kept < 0.9 * lost


def test_a_trial_brings_accuracy_back_and_targets_bring_more(
    base: Clip, scores: Importance, pool: RetrievalPool
) -> None:
    task = ScenesTask()
    spec = base.spec.with_dimensions({name: round(n * 0.75) for name, n in base.spec.dimensions().items()})
    settings = ProxySettings(steps=20)
    targets = make_targets(base, task, steps=20, batch_size=settings.batch_size, seed=settings.seed)
    before, plain, guided = (prune(base, spec, scores) for _ in range(3))
    fine_tune(plain, task, settings)
    fine_tune(guided, task, settings, targets)
    zero, alone, told = (recall_at_1(model, pool).accuracy for model in (before, plain, guided))
    assert alone > zero + 0.1
    assert told > alone + 0.02
