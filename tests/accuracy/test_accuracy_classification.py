"""Classes: the measures against scikit-learn's, and image classification on files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, matthews_corrcoef, top_k_accuracy_score
from user_data import check_batches, check_learning, net_of, section, vit_base, write_classes

from catransformers.accuracy.data.digits import digits
from catransformers.accuracy.metrics.classification import class_score, matthews, ranks
from catransformers.accuracy.tasks import open_task
from catransformers.accuracy.tasks.image_classes import ImageClassesTask
from catransformers.errors import InputError
from catransformers.models.loading.preprocess import Preprocess
from catransformers.workloads.spec import VitSpec


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_measures_are_scikit_learns(classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    labels = torch.arange(200) % classes
    scores = torch.randn(200, classes, generator=generator)
    scores[torch.arange(200), labels] += 1
    score = class_score(scores, labels, ("top_5", "mean_per_class_recall", "f1", "matthews"))
    truth, chosen = labels.numpy(), scores.argmax(dim=1).numpy()
    assert score.accuracy == accuracy_score(truth, chosen)
    assert score.standard_error == pytest.approx(score.values.std(ddof=1) / np.sqrt(200))
    assert score.metrics["mean_per_class_recall"] == pytest.approx(balanced_accuracy_score(truth, chosen))
    assert score.metrics["matthews"] == pytest.approx(matthews_corrcoef(truth, chosen))
    assert set(score.metrics) == {"mean_per_class_recall", "matthews"} | (
        {"f1"} if classes == 2 else {"top_5"} if classes > 5 else set()
    )
    if classes == 2:
        assert score.metrics["f1"] == pytest.approx(f1_score(truth, chosen))
    if classes > 5:
        assert score.metrics["top_5"] == pytest.approx(top_k_accuracy_score(truth, scores.numpy(), k=5))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30))
def test_matthews_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    chosen, truth = np.array(pairs).T
    assert matthews(chosen, truth) == pytest.approx(matthews_corrcoef(truth, chosen), abs=1e-12)


def test_the_first_of_equals_is_chosen_and_what_is_no_number_is_a_miss() -> None:
    scores = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [torch.nan, 0.0, 0.0], [0.0, torch.nan, 9.0]])
    assert ranks(scores, torch.tensor([0, 1, 0, 2])).tolist() == [0, 1, 3, 3]
    score = class_score(scores, torch.tensor([0, 1, 0, 2]), ("mean_per_class_recall", "matthews"))
    assert score.values.tolist() == [1, 0, 0, 0]
    assert score.metrics["mean_per_class_recall"] == pytest.approx((0.5 + 0 + 0) / 3)
    assert np.isfinite(score.metrics["matthews"])
    with pytest.raises(InputError, match="nothing to judge"):
        class_score(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))


def test_images_of_classes_are_learnt_and_judged(tmp_path: Path) -> None:
    path = write_classes(tmp_path / "data", classes=4, each=20)
    base = vit_base(4)
    task = open_task(section("image-classification", path, pool_samples=6), base)
    assert isinstance(task, ImageClassesTask)
    task.check()
    check_batches(task, 8)
    learner = check_learning(task, base.net)
    score = task.evaluate(learner, "test")
    pool = [task.source.read(i) for i in task.source.splits["test"]]
    assert len(pool) == 8
    assert len(score.values) == 6
    everything = ImageClassesTask(task.source, section("image-classification", path), Preprocess(8))
    hits = []
    with torch.no_grad():
        for sample in pool:
            assert sample.image is not None
            logits = learner.outputs({"images": Preprocess(8)(sample.image.open())[None]})["logits"][0].numpy()
            hits.append(float(np.argmax(logits) == sample.label))
    assert everything.evaluate(learner, "test").values.tolist() == hits
    assert np.mean(hits) > 0.5  # a chance of 0.25


def test_a_pool_of_sorted_classes_shows_all_of_them(tmp_path: Path) -> None:
    path = write_classes(tmp_path / "data", classes=4, each=40)
    task = open_task(section("image-classification", path, pool_samples=8), vit_base(4))
    assert isinstance(task, ImageClassesTask)
    labels = torch.cat([batch["labels"] for batch in task.pool("validation")])
    assert len(labels) == 8
    assert len(labels.unique()) > 2
    again = torch.cat([batch["labels"] for batch in task.pool("validation")])
    assert torch.equal(labels, again)


@pytest.mark.parametrize(("classes", "message"), [(5, "tells 5 apart"), (0, "has no classifier")])
def test_another_number_of_classes_is_refused(tmp_path: Path, classes: int, message: str) -> None:
    path = write_classes(tmp_path / "data", classes=4, each=10)
    with pytest.raises(InputError, match=rf"4 classes, and 'tiny-vit' {message} \(with model\.classes = 4"):
        open_task(section("image-classification", path), vit_base(classes))


def test_digits_are_learnt_from_the_source_alone() -> None:
    task = ImageClassesTask(digits(), section("image-classification", pool_samples=50), Preprocess(8))
    net = net_of(VitSpec(vit_base(1).net.spec.encoder, classes=10))
    before = task.evaluate(net, "validation")
    after = task.evaluate(check_learning(task, net, rate=2e-2, share=0.95), "validation")
    assert after.accuracy > before.accuracy
