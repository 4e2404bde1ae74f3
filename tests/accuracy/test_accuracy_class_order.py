"""Classes of the data in the order of the model's own, where both have names; and texts that stand twice in a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from user_data import bert_base, section, vit_base, write_classes

from catransformers.accuracy.data import in_order_of, open_data
from catransformers.accuracy.data.splits import complete
from catransformers.accuracy.tasks import open_task

MNLI = ("ENTAILMENT", "NEUTRAL", "CONTRADICTION")


def write_pairs(folder: Path) -> Path:
    rows = [f"premise {i},claim {i},{MNLI[i % 3].lower()}" for i in range(120)]
    path = folder / "pairs.csv"
    path.write_text("\n".join(["premise,hypothesis,label", *rows]) + "\n")
    return path


def test_labels_are_those_of_the_models_own_names(tmp_path: Path) -> None:
    base = replace(bert_base(tmp_path, 3), class_names=MNLI)
    task = open_task(section("text-classification", write_pairs(tmp_path)), base)
    plain = open_data(tmp_path / "pairs.csv", "texts")
    assert plain.class_names == ("contradiction", "entailment", "neutral")
    assert task.source.class_names == ("entailment", "neutral", "contradiction")
    for i in range(6):
        sample = task.source.read(i)
        assert sample.label == i % 3
        assert (sample.texts, task.source.name(i)) == (plain.read(i).texts, plain.name(i))
    assert task.source.splits == plain.splits
    batch = next(task.train_batches(8, 0))
    assert set(batch["labels"].tolist()) <= {0, 1, 2}


def test_a_classifier_that_is_right_scores_one_whatever_the_order(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", classes=4, each=20)
    own = open_data(data, "classes").class_names
    base = replace(vit_base(4), class_names=tuple(f"{name.upper()} " for name in reversed(own)))
    task = open_task(section("image-classification", data), base)
    pool = next(task.pool("validation"))
    alphabetical = open_task(section("image-classification", data), replace(base, class_names=None))
    plain = next(alphabetical.pool("validation"))
    assert torch.equal(pool["images"], plain["images"])
    assert torch.equal(pool["labels"], 3 - plain["labels"])


@pytest.mark.parametrize(
    "names",
    [None, ("contradiction", "entailment", "neutral"), ("yes", "no", "perhaps"), ("entailment", "neutral", "neutral")],
)
def test_other_names_leave_the_order_as_it_is(names: tuple[str, ...] | None, tmp_path: Path) -> None:
    source = open_data(write_pairs(tmp_path), "texts")
    assert in_order_of(source, names) is source


def test_what_parts_words_makes_no_difference(tmp_path: Path) -> None:
    rows = [f"text {i},{('not-a cat', 'a_cat')[i % 2]}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    source = open_data(tmp_path / "t.csv", "texts")
    assert source.class_names == ("a_cat", "not-a cat")
    ordered = in_order_of(source, ("Not a Cat", "A cat"))
    assert ordered.class_names == ("not-a cat", "a_cat")
    assert [ordered.read(i).label for i in range(4)] == [0, 1, 0, 1]


@pytest.mark.parametrize("column", ["", ",split"])
def test_a_text_that_stands_twice_is_in_one_split(column: str, tmp_path: Path) -> None:
    """Also where some splits are named: what is cut out of one of them is cut in whole texts."""
    rows = [f"text {i % 97},{i % 2}" + (f",{'test' if i % 97 < 9 else 'train'}" if column else "") for i in range(600)]
    (tmp_path / "t.csv").write_text("\n".join([f"text,label{column}", *rows]) + "\n")
    source = open_data(tmp_path / "t.csv", "texts")
    texts = {split: {source.read(i).texts for i in indices} for split, indices in source.splits.items()}
    assert sum(map(len, texts.values())) == len(set().union(*texts.values())) == 97
    assert sorted(i for indices in source.splits.values() for i in indices) == list(range(600))
    assert 400 < len(source.splits["train"]) < 500


def test_without_repeats_the_splits_are_as_ever(tmp_path: Path) -> None:
    rows = [f"text {i},{i % 2}" for i in range(100)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    source = open_data(tmp_path / "t.csv", "texts", seed=3)
    assert source.splits == complete({}, [source.name(i) for i in range(100)], 3, "here")


def test_of_a_data_set_on_disk_too(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    texts = [f"text {i % 50}" for i in range(300)]
    datasets.Dataset.from_dict({"text": texts, "label": [i % 2 for i in range(300)]}).save_to_disk(tmp_path / "d")
    source = open_data(tmp_path / "d", "texts")
    found = {split: {source.read(i).texts for i in indices} for split, indices in source.splits.items()}
    assert sum(map(len, found.values())) == 50
