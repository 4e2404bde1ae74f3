"""Tasks by name: what a base cannot do and data that should or should not be there are told at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from catransformers.accuracy.tasks import TASKS, data_problems, open_task, task_kind, unknown_pool
from catransformers.accuracy.tasks.scenes import ScenesTask
from catransformers.config.sections import AccuracySection
from catransformers.config.study import StudyConfig
from catransformers.errors import InputError
from catransformers.execution.studies.base_model import metric_of
from catransformers.registry import FAMILIES
from catransformers.workloads.zoo import embedded_spec


def base(name: str = "embedded", spec: Any = None) -> Any:
    """What opening a task asks of a base before it looks at data."""
    return cast(Any, SimpleNamespace(name=name, net=SimpleNamespace(spec=spec or embedded_spec())))


def test_every_task_names_families_that_there_are_and_a_metric() -> None:
    for name, kind in TASKS.items():
        assert kind.families, name
        assert set(kind.families) <= set(FAMILIES), name
        assert kind.metric, name


def test_the_embedded_task_opens() -> None:
    task = open_task(AccuracySection(), base())
    assert isinstance(task, ScenesTask)
    assert task.name == "scenes"
    assert task.pairwise
    task.check()


def test_an_unknown_task_is_told_with_the_nearest() -> None:
    for ask in (lambda: task_kind("retrival"), lambda: open_task(AccuracySection(task="retrival"), base())):
        with pytest.raises(InputError, match=r"accuracy\.task.*did you mean 'retrieval'"):
            ask()


def test_a_base_that_cannot_do_the_task_and_data_too_many_are_told_at_once() -> None:
    other = base("ViT-B-16")
    with pytest.raises(InputError) as caught:
        open_task(AccuracySection(data="pairs.csv"), other)
    wrong_base, wrong_data = caught.value.problems
    assert wrong_base.where == "accuracy.task"
    assert "'scenes' is made for embedded; 'ViT-B-16' cannot do it" in wrong_base.what
    assert "retrieval" in str(wrong_base.allowed)
    assert "scenes" not in str(wrong_base.allowed)
    assert wrong_data.where == "accuracy.data"
    assert "leave it out" in str(wrong_data)


def test_a_base_of_another_family_is_told_what_it_can_do() -> None:
    llama = base("llama", SimpleNamespace(family="llama"))
    with pytest.raises(InputError) as caught:
        open_task(AccuracySection(task="retrieval", data="pairs.csv"), llama)
    (problem,) = caught.value.problems
    assert "made for clip" in problem.what
    assert "retrieval" not in str(problem.allowed)


def test_data_that_a_task_needs_are_asked_for() -> None:
    (problem,) = data_problems(AccuracySection(task="retrieval"))
    assert problem.where == "accuracy.data"
    assert problem.allowed == TASKS["retrieval"].data
    assert data_problems(AccuracySection(task="retrieval", data="x.csv")) == []
    assert data_problems(AccuracySection()) == []


def test_pools_by_name() -> None:
    assert "did you mean 'validation'" in str(unknown_pool("validaton"))


def test_the_metric_of_a_study() -> None:
    assert metric_of(StudyConfig(name="a")) == "recall@1"
    for name, kind in TASKS.items():
        assert metric_of(StudyConfig(name="a", accuracy=AccuracySection(task=name))) == kind.metric
    assert metric_of(StudyConfig(name="a", accuracy=AccuracySection(task="no such"))) == "accuracy"
