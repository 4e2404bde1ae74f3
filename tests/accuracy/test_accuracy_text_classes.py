"""Classification of sentences and pairs, from files to a score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, matthews_corrcoef
from user_data import bert_base, check_batches, check_learning, section, sentences, take, text_tokenizer

from catransformers.accuracy.tasks import open_task
from catransformers.accuracy.tasks.text_classes import TextClassesTask
from catransformers.errors import InputError


def write_sentences(folder: Path, number: int = 200) -> Path:
    """Sentences about fruit (0) and metal (1)."""
    rows = [f"{text},{i % 2}" for i, text in enumerate(sentences(number))]
    path = folder / "sentences.csv"
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return path


def write_pairs(folder: Path, number: int = 200) -> Path:
    """Pairs of sentences, about the same (1) or not (0)."""
    texts = sentences(2 * number)
    rows = []
    for i in range(number):
        alike = i % 2
        rows.append(f"{texts[2 * i]},{texts[2 * (number - i) - 2 + (1 - alike)]},{alike}")
    path = folder / "pairs.csv"
    path.write_text("\n".join(["sentence1,sentence2,label", *rows]) + "\n")
    return path


@pytest.mark.parametrize("write", [write_sentences, write_pairs])
def test_batches_have_tokens_masks_and_types(tmp_path: Path, write: object) -> None:
    assert callable(write)
    path = write(tmp_path)
    base = bert_base(tmp_path, 2)
    task = open_task(section("text-classification", path), base)
    check_batches(task, 8)
    task.check()
    pairs = write is write_pairs
    for batch in take(task.train_batches(8, 0), 3):
        assert batch["tokens"].shape == batch["mask"].shape == batch["types"].shape
        assert batch["tokens"].shape[1] <= 16
        assert bool(batch["mask"].any(dim=0).all())  # no column of padding alone
        assert bool((batch["types"].amax(dim=1) == int(pairs)).all())
        assert set(batch["labels"].tolist()) <= {0, 1}
    cut = open_task(section("text-classification", path, tokens=5), base)
    assert next(cut.train_batches(8, 0))["tokens"].shape == (8, 5)


def test_sentences_are_learnt_and_judged_as_scikit_learn_does(tmp_path: Path) -> None:
    path, base = write_sentences(tmp_path), bert_base(tmp_path, 2)
    task = open_task(section("text-classification", path, pool_samples=500), base)
    assert isinstance(task, TextClassesTask)
    learner = check_learning(task, base.net)
    for net in (base.net.train(), learner):
        score = task.evaluate(net, "validation")
        chosen, truth = [], []
        for i in task.source.splits["validation"]:
            sample = task.source.read(i)
            batch = text_tokenizer(base).encode(list(sample.texts), 16)
            with torch.no_grad():
                chosen.append(int(net.outputs(batch)["logits"].argmax()))
            truth.append(sample.label)
        assert score.values.tolist() == (np.array(chosen) == np.array(truth)).astype(float).tolist()
        assert score.metrics["f1"] == pytest.approx(f1_score(truth, chosen))
        assert score.metrics["matthews"] == pytest.approx(matthews_corrcoef(truth, chosen))
    assert base.net.training
    assert score.accuracy > 0.9


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = write_sentences(tmp_path)
    base = bert_base(tmp_path, 2)
    with pytest.raises(InputError, match=r"accuracy\.tokens: 33 are more than 'tiny-bert' admits; allowed: 2 to 32"):
        open_task(section("text-classification", path, tokens=33), base)
    with pytest.raises(InputError, match=r"2 classes, and 'tiny-bert' tells 3 apart"):
        open_task(section("text-classification", path), bert_base(tmp_path, 3))
    bare = type(base)("bare", base.net, "0")
    with pytest.raises(InputError, match="no tokeniser"):
        open_task(section("text-classification", path), bare)
    (tmp_path / "other.csv").write_text("words,class\na,b\n")
    with pytest.raises(InputError, match="column"):
        open_task(section("text-classification", tmp_path / "other.csv"), base)


def test_a_length_without_room_for_text_is_told(tmp_path: Path) -> None:
    task = open_task(section("text-classification", write_pairs(tmp_path), tokens=3), bert_base(tmp_path, 2))
    with pytest.raises(InputError, match="leave no room"):
        next(task.train_batches(4, 0))
