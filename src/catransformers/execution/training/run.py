"""The final training of a trial's model, or the training of a base: what, on what data, for how long, and the result.

A training lives in a folder of its own: `training.json` says what it is, `checkpoints/` how far, `model.safetensors`
is the trained model and `result.json`, written last, how good it is beside what it came from. The same call goes on
where it was, and a finished one is only read.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from catransformers.accuracy.metrics.score import Score, paired_difference
from catransformers.accuracy.tasks import open_task, task_kind
from catransformers.accuracy.training.distributed import world
from catransformers.accuracy.training.final import CHECKPOINTS, train
from catransformers.accuracy.training.proxy import ProxySettings, torch_threads
from catransformers.errors import InputError, Problem
from catransformers.execution.metering import recorded, records
from catransformers.execution.studies.base_model import metadata_of, open_base
from catransformers.execution.studies.open_study import data_of
from catransformers.execution.training.plan import FACTS, MODEL, RESULT, TrainingPlan, check_plan, steps_of
from catransformers.execution.training.result import PoolResult, TrainingResult, read_facts, read_result
from catransformers.file_cache import content_key
from catransformers.files import write_whole
from catransformers.models.families.net import Net, float_copy
from catransformers.models.loading.base import Base, load_base
from catransformers.models.loading.storage import save_model
from catransformers.study.directory import exclusive
from catransformers.study.records import EnergyRecord

#: (step from 1, of how many, loss).
Listener = Callable[[int, int, float], None]


def run_training(plan: TrainingPlan, folder: Path, listen: Listener | None = None) -> TrainingResult | None:
    """Train, or go on, or read what is finished.

    Args:
        plan: what to train.
        folder: its folder; made if need be.
        listen: told every step.

    Returns:
        The result; None on all processes but the first of several.

    Raises:
        InputError: for a bad plan, bad data, or a folder that holds another training; nothing is written then.
        IntegrityError: if the folder's files are damaged.
        StudyBusyError: if another process trains in the folder.
        TrialFailure: if the loss is not finite.
        KeyboardInterrupt: on Ctrl-C, after a checkpoint was written; the same call goes on.
    """

    check_plan(plan, folder)
    torch.manual_seed(plan.seed)
    base = open_base(plan.model)
    start = base if plan.start is None else load_base(str(plan.start))
    task = open_task(plan.accuracy, base)
    plan = replace(plan, accuracy=replace(plan.accuracy, steps=steps_of(plan, task)))
    facts = _facts(plan, base, start)
    with world(plan.device) as here, _claimed(folder, facts) if here.chief else nullcontext():
        here.meet()
        if (folder / RESULT).is_file():
            return read_result(folder) if here.chief else None
        if here.chief and not (folder / CHECKPOINTS).is_dir():
            task.check()
        here.meet()
        return _Training(plan, folder, base, start, task, facts).run(here, listen)


def _facts(plan: TrainingPlan, base: Base, start: Base) -> dict[str, Any]:
    """What a training is: what may not change when it goes on."""
    kept = plan.accuracy.to_dict("workers", "micro_batch", "pool_samples")
    return {
        "label": plan.label,
        "model": plan.model.to_dict("space", "importance"),
        "base_sha256": base.sha256,
        "start_sha256": start.sha256,
        "seed": plan.seed,
        **data_of(plan.accuracy),
        **kept,
    }


@contextmanager
def _claimed(folder: Path, facts: dict[str, Any]) -> Iterator[None]:
    """Make the folder this training's, or see that it is, and be the only one in it.

    Raises:
        InputError: if it holds another training, with all that differs.
        IntegrityError: if what it holds cannot be read.
        StudyBusyError: if another process trains in it.
    """
    _compare(folder, facts)
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / ".lock", folder, "this training"):
        _compare(folder, facts)
        if not (folder / FACTS).is_file():
            write_whole(folder / FACTS, json.dumps(facts, indent=1, allow_nan=False) + "\n")
        yield


def _compare(folder: Path, facts: dict[str, Any]) -> None:
    """That the training in a folder, if there is one, is this one."""
    path = folder / FACTS
    if not path.is_file():
        return
    before = read_facts(folder)
    hint = "use another folder (--out), or remove this one"
    changed = [key for key in sorted({*before, *facts}) if before.get(key) != facts.get(key)]
    if changed:
        was = [f"was {before.get(key)!r} when the training began, is {facts.get(key)!r} now" for key in changed]
        raise InputError([Problem(f"{path}: {key}", what, hint=hint) for key, what in zip(changed, was, strict=True)])


class _Training:
    """One attempt at a training."""

    def __init__(
        self, plan: TrainingPlan, folder: Path, base: Base, start: Base, task: Any, facts: dict[str, Any]
    ) -> None:
        self.plan, self.folder, self.base, self.start, self.task, self.facts = plan, folder, base, start, task, facts

    def run(self, here: Any, listen: Listener | None) -> TrainingResult | None:
        """Train and judge."""
        section = self.plan.accuracy
        settings = ProxySettings.of(section, steps=section.steps, seed=self.plan.seed, threads=self.plan.threads)
        net = float_copy(self.start.net).to(here.device)
        teacher = None
        if self.plan.start is not None:
            teacher = self.base.net.to(here.device)
        with self._metered(here), torch_threads(self.plan.threads):
            before = self._judge(net, here)
            done = train(
                net,
                self.task,
                settings,
                self.folder,
                here,
                base=teacher,
                identity=content_key(self.facts),
                checkpoint_minutes=self.plan.checkpoint_minutes,
                progress=None if listen is None or not here.chief else lambda n, x: listen(n, section.steps, x),
            )
            after, of_base = self._judge(net, here), None if teacher is None else self._judge(teacher, here)
        if not here.chief:
            return None
        return self._finish(net, _pools(before, after, of_base), done, records(self.folder))

    def _judge(self, net: Net, here: Any) -> dict[str, Score]:
        """Accuracies by pool, on the first of several processes."""
        return {pool: self.task.evaluate(net, pool) for pool in ("validation", "test")} if here.chief else {}

    def _metered(self, here: Any) -> AbstractContextManager[None]:
        """A meter of this attempt, on the first of several processes."""
        if not here.chief:
            return nullcontext()
        note = f"the first of {here.size} processes only; " if here.size > 1 else ""
        return recorded(self.folder, "train", None, measure=self.plan.measure, device=self.plan.device, note=note)

    def _finish(
        self, net: Net, pools: dict[str, PoolResult], done: Any, energy: tuple[EnergyRecord, ...]
    ) -> TrainingResult:
        """Write the model, then the result, then remove the checkpoints."""

        self.base.save_files(self.folder)
        sha256 = save_model(net, self.folder / MODEL, {**metadata_of(self.base, self.task), "training": self.facts})
        tenth = max(1, len(done.losses) // 10)
        result = TrainingResult(
            folder=self.folder,
            label=self.plan.label,
            steps=done.steps,
            seconds=done.seconds,
            losses=(sum(done.losses[:tenth]) / tenth, sum(done.losses[-tenth:]) / tenth),
            pools=pools,
            metric=task_kind(self.plan.accuracy.task).metric,
            energy=energy,
            sha256=sha256,
        )
        write_whole(self.folder / RESULT, json.dumps(result.to_dict(), indent=1, allow_nan=False) + "\n")
        shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)
        return result


def _pools(
    before: dict[str, Score], after: dict[str, Score], of_base: dict[str, Score] | None
) -> dict[str, PoolResult]:

    pools = {}
    for pool, own in after.items():
        first, base = before[pool], None if of_base is None else of_base[pool]
        pools[pool] = PoolResult(
            before=(first.accuracy, first.standard_error),
            after=(own.accuracy, own.standard_error),
            base=None if base is None else (base.accuracy, base.standard_error),
            difference=paired_difference(own, first if base is None else base),
            metrics=dict(own.metrics),
        )
    return pools
