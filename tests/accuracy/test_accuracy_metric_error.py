"""The error rate by which parts are scored fits what every task's batches hold, also those without labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from user_data import bert_base, clip_base, llama_base, section, sentences, vit_base, write_classes

from catransformers.accuracy.tasks import open_task
from catransformers.accuracy.tasks.teacher_similarity import SimilarityTask
from catransformers.accuracy.training.losses import error_rate
from catransformers.errors import CatransformersWarning
from catransformers.models.loading.base import Base
from catransformers.models.pruning.importance import Methods, importance
from catransformers.models.pruning.magnitude import magnitude_scores

METRIC = Methods(layers="metric")


def test_zero_shot_batches_have_labels_and_no_logits(tmp_path: Path) -> None:
    base = clip_base(tmp_path)
    task = open_task(section("zero-shot-classification", write_classes(tmp_path / "data", classes=4, each=20)), base)
    batch = task.calibration_batches(8)[0]
    assert {"labels", "tokens"} <= set(batch)
    rate = float(error_rate(base.net.outputs(batch), batch))
    assert 0 < rate <= 1
    found = importance(base.net, [batch], task.loss, METRIC, error_fn=error_rate)
    assert all(torch.isfinite(scores.layers).all() for scores in found.stacks.values())


@pytest.mark.filterwarnings("ignore:the calibration data have nothing")
@pytest.mark.parametrize("family", ["clip", "vit", "bert", "llama"])
def test_similarity_needs_no_labels_to_be_wrong_about(family: str, tmp_path: Path) -> None:
    bases: dict[str, Callable[[], Base]] = {
        "clip": lambda: clip_base(tmp_path),
        "vit": lambda: vit_base(4),
        "bert": lambda: bert_base(tmp_path, 2),
        "llama": lambda: llama_base(tmp_path, " ".join(sentences(200))),
    }
    base = bases[family]()
    with torch.no_grad():  # no layer of a fresh net does much
        for parameter in base.net.parameters():
            parameter.add_(
                0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
            )
    data = tmp_path / "texts.csv"
    if family in ("clip", "vit"):
        data = write_classes(tmp_path / "data", classes=4, each=20)
    else:
        data.write_text("\n".join(["text,label", *(f"{t},{i % 2}" for i, t in enumerate(sentences(200)))]) + "\n")
    task = open_task(section("teacher-similarity", data), base)
    assert isinstance(task, SimilarityTask)
    batch = task.calibration_batches(8)[0]
    assert float(task.error(base.net.outputs(batch), batch)) == pytest.approx(0, abs=1e-6)
    found = importance(base.net, [batch], task.loss, METRIC, error_fn=task.error)
    assert max(float(scores.layers.max()) for scores in found.stacks.values()) > 1e-4


def test_images_alone_say_nothing_of_the_text_encoder(tmp_path: Path) -> None:
    """It is scored by magnitude then, with a warning; the vision encoder is scored as ever."""
    base = clip_base(tmp_path)
    task = open_task(section("teacher-similarity", write_classes(tmp_path / "data", classes=4, each=20)), base)
    batches = task.calibration_batches(8)[:2]
    with pytest.warns(CatransformersWarning, match="'text' reads: it is scored by magnitude"):
        found = importance(base.net, batches, task.loss)
    expected = magnitude_scores(base.net)["text"]
    assert torch.equal(found.stacks["text"].heads, expected["heads"].float())
    assert torch.equal(found.stacks["text"].layers, expected["layers"].float())
    assert float(found.stacks["vision"].heads.min()) > 0
    assert not torch.equal(found.stacks["vision"].heads, magnitude_scores(base.net)["vision"]["heads"].float())
