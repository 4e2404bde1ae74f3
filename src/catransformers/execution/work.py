"""Work of a worker process: measure the base model, run a trial (prune, fine-tune, evaluate), or test a model.

All of it depends on the request alone, so that a job done twice gives the same files twice. Trials of a study share
the seed of their fine-tune: they see the same batches in the same order, and differ by their model only.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from catransformers.accuracy.metrics.score import Score, paired_difference
from catransformers.accuracy.tasks import Task, open_task
from catransformers.accuracy.training.distillation import LiveTeacher, Teacher, teacher_of
from catransformers.accuracy.training.losses import error_rate
from catransformers.accuracy.training.proxy import ProxySettings, fine_tune, scaled_steps
from catransformers.errors import IntegrityError
from catransformers.execution.messages import Request, Result
from catransformers.execution.studies.base_model import metadata_of, open_base
from catransformers.files import write_whole
from catransformers.models.loading.base import Base
from catransformers.models.loading.storage import load_model, save_model
from catransformers.models.pruning.importance import Importance, Methods
from catransformers.models.pruning.importance_store import cached_importance
from catransformers.models.pruning.prune import prune
from catransformers.study.directory import StudyDirectory
from catransformers.workloads import families

VALUES = "values.npy"  # (n,) what the base model gets for each thing that is judged, for paired differences
MODEL = "model.safetensors"


def do(request: Request, folder: Path) -> Result:
    """Do a request; its files go to `folder`, which lies in a study's directory.

    Raises:
        CatransformersError: if it cannot be done, in words for the study's records.
    """
    started = time.monotonic()
    torch.set_num_threads(request.threads)
    torch.manual_seed(request.seed)
    job: Mapping[str, Callable[[Request, Path], Result]] = {"base": _base, "trial": _trial, "test": _test}
    result = job[request.job](request, folder)
    metrics = {**result.metrics, "cpu_seconds": time.process_time()}
    return replace(result, metrics=metrics, seconds=time.monotonic() - started)


def _base(request: Request, folder: Path) -> Result:
    """The base model on the validation pool, the importance of its parts, and what it teaches the trials."""
    base, task = _base_and_task(request)
    base.net.to(request.device)
    _importance(base, task, request, folder)
    _teacher(base, task, request, folder, request.accuracy_section.steps)
    score = task.evaluate(base.net, "validation")
    _keep_values(folder, score)
    return _result(request, score, {})


def _trial(request: Request, folder: Path) -> Result:
    """Prune to the request's dimensions, fine-tune, evaluate on the validation pool, keep the checkpoint."""
    study = _study(folder)
    base, task = _base_and_task(request)
    section = request.accuracy_section
    spec = base.net.spec.with_dimensions(request.dimensions)
    scores = _importance(base, task, request, study.base)
    net = prune(base.net, spec, scores, ffn_block=request.model_section.importance.ffn_block).to(request.device)
    count = sum(parameter.numel() for parameter in net.parameters())
    if count != families.parameters(spec):
        raise IntegrityError(f"the pruned model has {count} parameters, its spec {families.parameters(spec)}")
    steps = section.steps
    if section.flop_scaled:
        steps = scaled_steps(steps, families.workload(base.net.spec).macs, families.workload(spec).macs)
    settings = ProxySettings.of(section, steps=steps, seed=request.seed, threads=request.threads)
    tuned = fine_tune(net, task, settings, _teacher(base, task, request, study.base, steps))
    score = task.evaluate(net, "validation")
    difference = paired_difference(score, _base_score(study.base, score))
    facts = {**metadata_of(base, task), "trial": request.subject, "dimensions": dict(request.dimensions)}
    save_model(net, folder / MODEL, facts)
    metrics = {"fine_tune_seconds": tuned.seconds, "steps": float(steps)}
    skipped = len(getattr(task, "faults", ()))  # of tasks on users' data: samples that could not be read
    if skipped:
        metrics["skipped_samples"] = float(skipped)
    if tuned.losses:
        tenth = max(1, len(tuned.losses) // 10)
        metrics |= {
            "first_loss": float(np.mean(tuned.losses[:tenth])),
            "last_loss": float(np.mean(tuned.losses[-tenth:])),
        }
    return _result(request, score, metrics, difference)


def _test(request: Request, folder: Path) -> Result:
    """The base model, or a finished trial's, on the test pool."""
    study = _study(folder)
    base, task = _base_and_task(request)
    if request.subject is None:
        score = task.evaluate(base.net.to(request.device), "test")
        _keep_values(folder, score)
        return _result(request, score, {})
    net = load_model(study.checkpoint(request.subject)).to(request.device)
    score = task.evaluate(net, "test")
    return _result(request, score, {}, paired_difference(score, _base_score(study.test(None), score)))


def _study(folder: Path) -> StudyDirectory:
    return StudyDirectory(folder.resolve().parent.parent)  # of trials/0000 and tests/0000


def _base_and_task(request: Request) -> tuple[Base, Task]:
    """The base on the CPU: its weights are mapped from their file, and what a trial does not keep is never copied."""
    base = open_base(request.model_section)
    return base, open_task(request.accuracy_section, base)


def _importance(base: Base, task: Task, request: Request, folder: Path) -> Importance:
    section = request.model_section.importance
    methods = Methods(heads=section.heads, ffn=section.ffn, embed=section.embed, layers=section.layers)
    device = next(base.net.parameters()).device
    batches = [
        {name: tensor.to(device) for name, tensor in batch.items()}
        for batch in task.calibration_batches(request.accuracy_section.batch_size)
    ]
    return cached_importance(
        base.net,
        batches,
        task.loss,
        folder,
        methods,
        error_fn=getattr(task, "error", error_rate),  # a task that has no labels says what its error is
        seed=request.seed,
        base_sha256=base.sha256,
    )


def _teacher(base: Base, task: Task, request: Request, folder: Path, steps: int) -> Teacher | None:
    """What the base teaches: kept from its measurement where steps are equal and outputs small, else live."""
    section = request.accuracy_section
    if section.distillation == 0 or steps == 0 or section.task == "teacher-similarity":
        return None  # that task's own loss is the distance to the base
    if section.flop_scaled:
        return LiveTeacher(base.net.to(request.device))
    teacher = teacher_of(
        base.net,
        task,
        folder,
        steps=steps,
        batch_size=section.batch_size,
        seed=request.seed,
        base_sha256=base.sha256,
    )
    if isinstance(teacher, LiveTeacher):
        teacher.base.to(request.device)
    return teacher


def _result(
    request: Request, score: Score, metrics: Mapping[str, float], difference: tuple[float, float] | None = None
) -> Result:
    delta, delta_se = difference if difference is not None else (None, None)
    return Result(
        request.sha256,
        accuracy=score.accuracy,
        standard_error=score.standard_error,
        difference=delta,
        difference_se=delta_se,
        metrics={**score.metrics, **metrics},
    )


def _keep_values(folder: Path, score: Score) -> None:
    content = io.BytesIO()
    np.save(content, score.values, allow_pickle=False)
    write_whole(folder / VALUES, content.getvalue())


def _base_score(folder: Path, like: Score) -> Score:
    """What the base model got on the pool that `like` is of.

    Raises:
        IntegrityError: if the file is missing or of another pool.
    """
    path = folder / VALUES
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path}: the base model's values cannot be read: {error}") from error
    if values.dtype != np.float64 or values.shape != like.values.shape:
        raise IntegrityError(f"{path}: {values.shape} values of another pool")
    return replace(like, values=values, accuracy=float(values.mean()))
