"""A model judged: on its study's task, or on clip-benchmark's data sets; which model, what with, and the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from catransformers.config import ModelSection
from catransformers.errors import InputError, Problem
from catransformers.execution.bases import metric_of, open_base
from catransformers.execution.results import StudyResults
from catransformers.execution.training import MODEL, PoolResult, plan_of_trial

if TYPE_CHECKING:
    from catransformers.accuracy.benchmark import BenchmarkResult, Event
    from catransformers.models.loading import Base

POOLS = ("validation", "test")


@dataclass(frozen=True, slots=True)
class Judged:
    """A model to judge.

    Args:
        label: what it is, for people.
        path: its file; None: the base itself.
        base: the study's section on the model that it was made from, or that it is.
    """

    label: str
    path: Path | None
    base: ModelSection

    @property
    def place(self) -> str:
        """A name for its folder of results."""
        return "base" if self.path is None else self.path.parent.name


def of_trial(results: StudyResults, number: int | None, *, final: bool) -> Judged:
    """A trial's model, after its final training if that is asked for; without a number the study's base.

    Raises:
        InputError: if there is no such trial or training.
    """
    if number is None:
        return Judged(f"base of {results.config.name}", None, results.config.model)
    plan = plan_of_trial(results, number, {})
    if not final:
        return Judged(plan.label, plan.start, plan.model)
    path = results.directory.root / "final" / f"{number:04d}" / MODEL
    if not path.is_file():
        hint = f"`catransformers train {results.directory.root} --trial {number}` makes it"
        raise InputError(Problem("--final", f"trial {number} has no finished training", hint=hint))
    return Judged(f"{plan.label}, trained to the end", path, plan.model)


def on_task(
    results: StudyResults, judged: Judged, changes: dict[str, Any], device: Literal["cpu", "cuda"]
) -> tuple[dict[str, PoolResult], str]:
    """A model and its study's base on the study's task (or the same on other data).

    Args:
        results: the study.
        judged: the model.
        changes: to the study's accuracy section: `task`, `data`, …
        device: what to compute on.

    Returns:
        By pool, with the base as what is compared with; and what accuracy is.

    Raises:
        InputError: for bad data, or a model that cannot do the task.
    """
    from catransformers.accuracy.score import paired_difference  # noqa: PLC0415 - torch
    from catransformers.accuracy.tasks import open_task, task_kind  # noqa: PLC0415
    from catransformers.execution.training import checked  # noqa: PLC0415
    from catransformers.models.storage import load_model  # noqa: PLC0415

    base = open_base(judged.base)
    task = open_task(checked(results.config.accuracy, changes), base)
    net = base.net if judged.path is None else load_model(judged.path)
    found = {}
    for pool in POOLS:
        own = task.evaluate(net.to(device), pool)  # type: ignore[arg-type]
        other = own if judged.path is None else task.evaluate(base.net.to(device), pool)  # type: ignore[arg-type]
        pair = (own.accuracy, own.standard_error)
        found[pool] = PoolResult(
            before=pair,
            after=pair,
            base=(other.accuracy, other.standard_error),
            difference=paired_difference(own, other),
            metrics=dict(own.metrics),
        )
    return found, task_kind(changes["task"]).metric if "task" in changes else metric_of(results.config)


def on_benchmark(
    judged: Judged,
    root: Path,
    out: Path,
    *,
    names: list[str] | None = None,
    device: str = "cpu",
    batch_size: int = 64,
    workers: int = 0,
    listen: Callable[[Event], None] | None = None,
) -> BenchmarkResult:
    """A CLIP on clip-benchmark's data sets in `root`; measured ones are kept in `out` and not measured again.

    Raises:
        InputError: if it is no CLIP that reads any text, or nothing is found.
    """
    from catransformers.accuracy.benchmark import evaluate_benchmark  # noqa: PLC0415 - torch
    from catransformers.models.storage import load_model  # noqa: PLC0415

    base: Base = open_base(judged.base)
    if base.net.spec.family != "clip":
        what = f"{judged.label} is of family {base.net.spec.family!r}"
        raise InputError(Problem("--datasets", what, "a CLIP", "leave --datasets out for the study's own task"))
    if base.preprocess is None:
        raise InputError(Problem("model.base", f"{base.name!r} does not say how it wants its images"))
    net = base.net if judged.path is None else load_model(judged.path)
    return evaluate_benchmark(
        net,
        root,
        out,
        preprocess=base.preprocess,
        tokenize=base.tokenizer(),
        device=device,
        batch_size=batch_size,
        workers=workers,
        names=names,
        listen=listen,
    )
