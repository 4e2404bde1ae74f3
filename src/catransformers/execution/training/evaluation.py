"""A model judged: on its study's task, or on clip-benchmark's data sets; which model, what with, and the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from catransformers.config.sections import AccuracySection, ModelSection
from catransformers.errors import InputError, Problem, Problems
from catransformers.execution.results import StudyResults
from catransformers.execution.studies.base_model import base_spec, open_base
from catransformers.execution.training.plan import MODEL, trial_model
from catransformers.execution.training.result import PoolResult

if TYPE_CHECKING:
    from catransformers.accuracy.benchmark import BenchmarkResult, Event
    from catransformers.models.loading.base import Base

POOLS = ("validation", "test")


@dataclass(frozen=True, slots=True)
class Judged:
    """A model to judge.

    Args:
        label: what it is, for people.
        path: its file; None: the base itself.
        base: the section on the model that it was made from, or that it is.
        place: a name for its folder of results.
    """

    label: str
    path: Path | None
    base: ModelSection
    place: str


def of_trial(results: StudyResults, number: int | None, *, final: bool) -> Judged:
    """A trial's model, after its final training if that is asked for; without a number the study's base.

    Raises:
        InputError: if there is no such trial or training.
    """
    name = results.config.name
    if number is None:
        return Judged(f"base of {name}", None, results.config.model, "base")
    path = trial_model(results, number)
    if not final:
        return Judged(f"trial {number} of {name}", path, results.config.model, f"{number:04d}")
    path = results.directory.root / "final" / f"{number:04d}" / MODEL
    if not path.is_file():
        hint = f"`catransformers train {results.directory.root} --trial {number}` makes it"
        raise InputError(Problem("--final", f"trial {number} has no finished training", hint=hint))
    return Judged(f"trial {number} of {name}, trained to the end", path, results.config.model, f"{number:04d}-final")


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
    from catransformers.accuracy.metrics.score import paired_difference  # noqa: PLC0415 - torch
    from catransformers.accuracy.tasks import open_task, task_kind  # noqa: PLC0415
    from catransformers.models.loading.storage import load_model  # noqa: PLC0415

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


def check_benchmark(section: ModelSection, root: Path) -> None:
    """What can be told of a benchmark before the model's weights are read.

    Raises:
        InputError: if the model is no CLIP, or there is no such folder; both at once.
    """
    problems = Problems()
    with problems.collect():
        family = base_spec(section).family
        if family != "clip":
            what = f"{section.base!r} is of family {family!r}"
            problems.append(Problem("--datasets", what, "a CLIP", "leave --datasets out for a task of its own"))
    if not root.is_dir():
        problems.append(Problem("--datasets", f"there is no folder {root}"))
    problems.finish()


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
    from catransformers.accuracy.benchmark import evaluate_benchmark  # noqa: PLC0415 - torch
    from catransformers.models.loading.storage import load_model  # noqa: PLC0415

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
