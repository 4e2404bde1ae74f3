"""Zero-shot classification: class vectors and scores against a slow reference, names, templates, training batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from user_data import (
    COLOURS,
    check_batches,
    check_learning,
    clip_base,
    clip_spec,
    net_of,
    section,
    take,
    words,
    write_classes,
)

from catransformers.accuracy.data import open_data
from catransformers.accuracy.metrics.zero_shot_classifier import class_vectors, classify, fill
from catransformers.accuracy.tasks import open_task
from catransformers.accuracy.tasks.zero_shot import ZeroShotTask
from catransformers.accuracy.training.losses import contrastive_loss
from catransformers.errors import InputError
from catransformers.models.loading.preprocess import Preprocess

TEMPLATES = ("a photo of a {}.", "the colour {c}, and {c} again", "{}")


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six classes of 20 pictures."""
    return write_classes(tmp_path_factory.mktemp("colours") / "data", classes=6, each=20)


def make_task(path: Path, names: tuple[str, ...] | None = None, **keys: int) -> ZeroShotTask:
    settings = section("zero-shot-classification", path, **keys)
    return ZeroShotTask(open_data(path, "classes"), settings, Preprocess(8), words, names, TEMPLATES)


def test_a_template_has_places() -> None:
    assert [fill(template, "red") for template in TEMPLATES] == [
        "a photo of a red.",
        "the colour red, and red again",
        "red",
    ]
    assert fill("{}", "{c}x") == "{c}x"  # a name is no template


def test_class_vectors_are_the_normalised_means_of_unit_vectors() -> None:
    net = net_of(clip_spec()).train()
    vectors = class_vectors(net, words, COLOURS, TEMPLATES)
    assert net.training
    for vector, colour in zip(vectors, COLOURS, strict=True):
        with torch.no_grad():
            texts = net.outputs({"tokens": words([fill(template, colour) for template in TEMPLATES])})["text"].numpy()
        units = texts / np.linalg.norm(texts, axis=1, keepdims=True)
        mean = units.mean(axis=0)
        np.testing.assert_allclose(vector.numpy(), mean / np.linalg.norm(mean), atol=1e-6)


def test_the_score_is_that_of_a_slow_count(colours: Path) -> None:
    task, net = make_task(colours), net_of(clip_spec(), seed=1)
    score = task.evaluate(net, "validation")
    vectors = class_vectors(net, words, task.names, TEMPLATES).numpy()
    hits, top, by_class = [], [], {}
    for i in task.source.splits["validation"]:
        sample = task.source.read(i)
        assert sample.image is not None
        with torch.no_grad():
            image = net.outputs({"images": Preprocess(8)(sample.image.open())[None]})["image"][0].numpy()
        order = np.argsort(-(vectors @ image))
        hits.append(float(order[0] == sample.label))
        top.append(sample.label in order[:5])
        by_class.setdefault(sample.label, []).append(hits[-1])
    assert score.values.tolist() == hits
    assert score.metrics["top_5"] == pytest.approx(np.mean(top))
    assert score.metrics["mean_per_class_recall"] == pytest.approx(np.mean([np.mean(h) for h in by_class.values()]))
    assert score.standard_error == pytest.approx(np.std(hits, ddof=1) / np.sqrt(len(hits)))


def test_batches_name_the_class_and_other_images_of_it_are_no_negatives(colours: Path) -> None:
    task = make_task(colours)
    check_batches(task, 8)
    batches = take(task.train_batches(16, 0), 6)
    templates = set()
    for batch in batches:
        for tokens, label in zip(batch["tokens"], batch["labels"], strict=True):
            fitting = [
                i for i, t in enumerate(TEMPLATES) if torch.equal(words([fill(t, task.names[label])])[0], tokens)
            ]
            assert fitting
            templates |= set(fitting)
    assert templates == {0, 1, 2}
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    outputs = {"image": logits, "text": torch.eye(3), "logit_scale": torch.tensor(0.0)}
    loss = task.loss(outputs, {"labels": torch.tensor([4, 1, 4]), "tokens": words(["a", "b", "c"])})
    assert float(loss) == pytest.approx(float(contrastive_loss(logits, torch.tensor([[4], [1], [4]]))))
    assert float(loss) < float(contrastive_loss(logits, torch.tensor([[0], [1], [2]])))


def test_a_clip_learns_to_tell_classes_by_their_names(tmp_path: Path, colours: Path) -> None:
    base = clip_base(tmp_path)
    (tmp_path / "templates.txt").write_text("a picture that is {}\n\n{c} picture\n")
    (tmp_path / "names.txt").write_text("\n".join(sorted(COLOURS[:6])) + "\n")
    task = open_task(
        section(
            "zero-shot-classification",
            colours,
            templates=str(tmp_path / "templates.txt"),
            class_names=str(tmp_path / "names.txt"),
        ),
        base,
    )
    assert isinstance(task, ZeroShotTask)
    assert task.templates == ("a picture that is {}", "{c} picture")
    task.check()
    learner = check_learning(task, base.net)
    assert task.evaluate(learner, "test").accuracy > 0.4  # a chance of 1/6


def test_two_classes_of_one_name_are_one_in_training(colours: Path) -> None:
    task = make_task(colours, ("red", "red", "a", "b", "c", "d"))
    labels = torch.cat([batch["labels"] for batch in take(task.train_batches(16, 0), 8)])
    assert set(labels.tolist()) == {0, 2, 3, 4, 5}
    score = task.evaluate(net_of(clip_spec()), "test")
    assert len(score.values) == 12


def test_no_images_are_refused() -> None:
    with pytest.raises(InputError, match="nothing to judge"):
        classify(net_of(clip_spec()), torch.zeros(3, 8), [])


def test_mistakes_in_names_and_templates_are_told_at_once(tmp_path: Path, colours: Path) -> None:
    base = clip_base(tmp_path)
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "bad.txt").write_text("a photo of {}\na photo\nan image of {name}\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "five.txt").write_text("a\nb\nc\nd\ne\n")

    def refused(**keys: str) -> str:
        files = {key: str(tmp_path / name) for key, name in keys.items()}
        with pytest.raises(InputError) as caught:
            open_task(section("zero-shot-classification", colours, **files), base)
        return str(caught.value)

    both = refused(class_names="empty.txt", templates="bad.txt")
    assert "accuracy.class_names" in both
    assert "is empty" in both
    assert "'a photo' has no place for the name; allowed: {} or {c}" in both
    assert "'an image of {name}' has no place" in both
    assert "none.txt cannot be read" in refused(templates="none.txt")
    assert "is not text in UTF-8" in refused(class_names="binary.txt")
    assert "5 names, and the data have 6 classes" in refused(class_names="five.txt")
