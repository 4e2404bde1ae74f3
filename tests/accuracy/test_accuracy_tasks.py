"""The registry of tasks: who may do what, and which keys of a study mean something."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from user_data import (
    bert_base,
    clip_base,
    llama_base,
    section,
    sentences,
    vit_base,
    words,
    write_classes,
    write_csv,
    write_images,
)

from catransformers.accuracy.metrics.evaluation import judge
from catransformers.accuracy.tasks import OWN_KEYS, TASKS, data_problems, open_task, task_kind
from catransformers.accuracy.tasks.image_text import RetrievalTask
from catransformers.accuracy.tasks.on_data import DataTask, image_reader
from catransformers.errors import InputError
from catransformers.models.loading.base import Base


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Base]:
    folders = [tmp_path_factory.mktemp(name) for name in ("clip", "bert", "llama")]
    return {
        "clip": clip_base(folders[0]),
        "vit": vit_base(3),
        "bert": bert_base(folders[1], 2),
        "llama": llama_base(folders[2], "\n".join(sentences(50))),
    }


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("family", ["clip", "vit", "bert", "llama"])
def test_families_that_cannot_do_a_task_are_refused_with_words(name: str, family: str, bases: dict[str, Base]) -> None:
    kind = TASKS[name]
    able = family in kind.families and not kind.base
    if able and not kind.data:
        return  # it would open
    with pytest.raises(InputError) as caught:
        open_task(section(name, "nowhere" if kind.data else None), bases[family])
    text = str(caught.value)
    if able:
        assert "does not exist" in text
    else:
        assert f"{bases[family].name!r} cannot do it" in text
        assert "teacher-similarity" in text


@pytest.mark.parametrize("name", [name for name, kind in TASKS.items() if kind.data])
def test_missing_data_and_keys_of_other_tasks_are_told_at_once(name: str) -> None:
    kind = task_kind(name)
    given = {"class_names": "a.txt", "templates": "b.txt", "tokens": 8}
    problems = {problem.where for problem in data_problems(section(name, **given))}
    assert problems == {"accuracy.data"} | {f"accuracy.{key}" for key in OWN_KEYS if key not in kind.keys}
    assert not data_problems(section(name, "x", **{key: given[key] for key in kind.keys}))


def test_a_task_that_brings_its_data_wants_none(tmp_path: Path) -> None:
    assert [p.where for p in data_problems(section("scenes", tmp_path))] == ["accuracy.data"]
    with pytest.raises(InputError, match="did you mean 'retrieval'"):
        task_kind("retreival")


def test_judging_leaves_the_mode_and_computes_in_float32() -> None:
    net = vit_base(3).net.train()
    batches = [{"images": torch.randn(n, 3, 8, 8)} for n in (2, 1)]
    with torch.autocast("cpu", torch.bfloat16):
        found = judge(
            net, batches, lambda outputs, _: {"logits": outputs["logits"], "modes": torch.tensor([net.training])}
        )
    assert found["modes"].tolist() == [False, False]
    assert found["logits"].dtype == torch.float32
    assert torch.equal(found["logits"][2:], net.outputs(batches[1])["logits"])
    assert net.training

    def fail(_outputs: object, _batch: object) -> dict[str, torch.Tensor]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        judge(net, batches, fail)
    assert net.training


@pytest.mark.parametrize("task", ["retrieval", "image-classification", "text-classification", "language-modelling"])
def test_workers_that_are_started_afresh_can_make_samples(task: str, tmp_path: Path, bases: dict[str, Base]) -> None:
    """How samples are made can be sent to another process, and makes the same there."""
    if task == "retrieval":
        names = write_images(tmp_path, 24)
        path, base = write_csv(tmp_path, [(name, "a red picture") for name in names]), bases["clip"]
    elif task == "image-classification":
        path, base = write_classes(tmp_path / "data", classes=3, each=8), bases["vit"]
    else:
        kind = "table.csv" if task == "text-classification" else "book.txt"
        path, base = tmp_path / kind, bases["bert" if task == "text-classification" else "llama"]
        path.write_text("\n".join(["text,label", *(f"{text},{i % 2}" for i, text in enumerate(sentences(200)))]) + "\n")
    opened = open_task(section(task, path), base)
    assert isinstance(opened, DataTask)
    if task == "retrieval":  # a CLIP's tokeniser is a function of the moment
        opened = RetrievalTask(opened.source, section(task, path), image_reader(base), words)
    index = opened.source.splits["train"][0]
    source, make = pickle.loads(pickle.dumps((opened.source, opened.make(training=True))))
    ours, theirs = (
        m(s.read(index), np.random.default_rng(0))
        for s, m in ((opened.source, opened.make(training=True)), (source, make))
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
