"""What a worker does: measure the base model, run a trial (prune, fine-tune, evaluate), or evaluate on the test pool.

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

from catransformers.accuracy.distillation import Targets, cached_targets
from catransformers.accuracy.losses import contrastive_loss
from catransformers.accuracy.proxy import ProxySettings, fine_tune
from catransformers.accuracy.retrieval import RetrievalScore, paired_difference, recall_at_1
from catransformers.accuracy.tasks import Task
from catransformers.errors import IntegrityError
from catransformers.execution.bases import open_base, open_task
from catransformers.execution.messages import Request, Result
from catransformers.files import write_whole
from catransformers.models.clip import Clip
from catransformers.models.importance import Importance
from catransformers.models.importance_store import cached_importance
from catransformers.models.prune import prune
from catransformers.models.storage import load_model, save_model
from catransformers.study.directory import StudyDirectory
from catransformers.workloads import clip

HITS = "hits.npy"  # (n, 2) bool: which pairs the base model retrieves, for paired differences
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
    model, task = _base_and_task(request)
    _importance(model, task, request, folder)
    _targets(model, task, request, folder)
    score = recall_at_1(model, task.pool("validation"))
    _keep_hits(folder, score)
    return _result(request, score, {})


def _trial(request: Request, folder: Path) -> Result:
    """Prune to the request's dimensions, fine-tune, evaluate on the validation pool, keep the checkpoint."""
    study = _study(folder)
    base, task = _base_and_task(request)
    spec = base.spec.with_dimensions(request.dimensions)
    model = prune(base, spec, _importance(base, task, request, study.base))
    count = sum(parameter.numel() for parameter in model.parameters())
    if count != clip.parameters(spec):
        raise IntegrityError(f"the pruned model has {count} parameters, its spec {clip.parameters(spec)}")
    section = request.accuracy_section
    settings = ProxySettings(
        steps=section.steps,
        learning_rate=section.learning_rate,
        batch_size=section.batch_size,
        warmup_fraction=section.warmup_fraction,
        distillation=section.distillation,
        seed=request.seed,
        threads=request.threads,
    )
    tuned = fine_tune(model, task, settings, _targets(base, task, request, study.base))
    score = recall_at_1(model, task.pool("validation"))
    difference = paired_difference(score, _base_score(study.base, score))
    save_model(model, folder / MODEL, {"trial": request.subject, "dimensions": dict(request.dimensions)})
    metrics = {"fine_tune_seconds": tuned.seconds}
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
        score = recall_at_1(base, task.pool("test"))
        _keep_hits(folder, score)
        return _result(request, score, {})
    model = load_model(study.checkpoint(request.subject)).to(request.device)
    score = recall_at_1(model, task.pool("test"))
    return _result(request, score, {}, paired_difference(score, _base_score(study.test(None), score)))


def _study(folder: Path) -> StudyDirectory:
    return StudyDirectory(folder.resolve().parent.parent)  # of trials/0000 and tests/0000


def _base_and_task(request: Request) -> tuple[Clip, Task]:
    base = open_base(request.model_section)
    return base.model.to(request.device), open_task(request.accuracy_section, base)


def _importance(model: Clip, task: Task, request: Request, folder: Path) -> Importance:
    batches = [
        (images.to(request.device), tokens.to(request.device))
        for images, tokens in task.calibration_batches(request.accuracy_section.batch_size)
    ]
    return cached_importance(model, batches, contrastive_loss, folder)


def _targets(base: Clip, task: Task, request: Request, folder: Path) -> Targets | None:
    section = request.accuracy_section
    if section.distillation == 0 or section.steps == 0:
        return None
    return cached_targets(base, task, folder, steps=section.steps, batch_size=section.batch_size, seed=request.seed)


def _result(
    request: Request, score: RetrievalScore, metrics: Mapping[str, float], difference: tuple[float, float] | None = None
) -> Result:
    delta, delta_se = difference if difference is not None else (None, None)
    return Result(
        request.sha256,
        accuracy=score.accuracy,
        standard_error=score.standard_error,
        difference=delta,
        difference_se=delta_se,
        metrics={"image_to_text": score.image_to_text, "text_to_image": score.text_to_image, **metrics},
    )


def _keep_hits(folder: Path, score: RetrievalScore) -> None:
    content = io.BytesIO()
    np.save(content, score.hits, allow_pickle=False)
    write_whole(folder / HITS, content.getvalue())


def _base_score(folder: Path, like: RetrievalScore) -> RetrievalScore:
    """What the base model retrieved from the pool that `like` is of.

    Raises:
        IntegrityError: if the file is missing or of another pool.
    """
    path = folder / HITS
    try:
        hits = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path}: the base model's hits cannot be read: {error}") from error
    if hits.dtype != np.bool_ or hits.shape != like.hits.shape:
        raise IntegrityError(f"{path}: {hits.shape} hits of another pool")
    return replace(like, hits=hits)
