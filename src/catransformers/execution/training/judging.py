"""A model judged on a task or on clip-benchmark's data sets: its accuracies beside its base's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from catransformers.accuracy.benchmark import BenchmarkResult, Event, evaluate_benchmark
from catransformers.accuracy.metrics.score import paired_difference
from catransformers.accuracy.tasks import open_task, task_kind
from catransformers.config.sections import AccuracySection
from catransformers.errors import InputError, Problem
from catransformers.execution.studies.base_model import open_base
from catransformers.execution.training.evaluation import Judged
from catransformers.execution.training.result import PoolResult
from catransformers.models.loading.base import Base
from catransformers.models.loading.storage import load_model

POOLS = ("validation", "test")


def on_task(
    judged: Judged, section: AccuracySection, device: Literal["cpu", "cuda"]
) -> tuple[dict[str, PoolResult], str]:
    """A model on a task, and the base that it was made from.

    Args:
        judged: the model.
        section: the task and its data.
        device: what to compute on.

    Returns:
        By pool, with the base as what is compared with (None where it is the model itself); and what accuracy is.

    Raises:
        InputError: for bad data, or a model that cannot do the task.
        IntegrityError: if the model's file is damaged.
    """

    base = open_base(judged.base)
    task = open_task(section, base)
    net = base.net if judged.path is None else load_model(judged.path)
    found = {}
    for pool in POOLS:
        own = task.evaluate(net.to(device), pool)  # type: ignore[arg-type]
        other = None if judged.path is None else task.evaluate(base.net.to(device), pool)  # type: ignore[arg-type]
        pair = (own.accuracy, own.standard_error)
        found[pool] = PoolResult(
            before=pair,
            after=pair,
            base=None if other is None else (other.accuracy, other.standard_error),
            difference=(0.0, 0.0) if other is None else paired_difference(own, other),
            metrics=dict(own.metrics) | _skipped(task),
        )
    return found, task_kind(section.task).metric


def _skipped(task: Any) -> dict[str, float]:
    """How many samples could not be read, if any; the task has said which."""
    number = len(getattr(task, "faults", ()))
    return {"skipped_samples": float(number)} if number else {}


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
        IntegrityError: if the model's file or the kept results are damaged.
    """

    base: Base = open_base(judged.base)
    tokenize = base.tokenizer()
    if base.preprocess is None:
        raise InputError(Problem("model.base", f"{base.name!r} does not say how it wants its images"))
    net = base.net if judged.path is None else load_model(judged.path)
    return evaluate_benchmark(
        net,
        root,
        out,
        preprocess=base.preprocess,
        tokenize=tokenize,
        device=device,
        batch_size=batch_size,
        workers=workers,
        names=names,
        listen=listen,
    )
