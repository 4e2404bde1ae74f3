"""The final training of a trial's model, or the training of a base: what, on what data, for how long, and the result.

A training lives in a folder of its own: `training.json` says what it is, `checkpoints/` how far, `model.safetensors`
is the trained model and `result.json`, written last, how good it is beside what it came from. The same call goes on
where it was, and a finished one is only read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from catransformers.config import AccuracySection, ModelSection
from catransformers.errors import InputError, IntegrityError, Problem
from catransformers.execution.bases import open_base
from catransformers.execution.metering import Recorder, begin, record_of
from catransformers.execution.results import StudyResults
from catransformers.files import write_whole
from catransformers.study.records import EnergyRecord

if TYPE_CHECKING:
    from catransformers.accuracy.score import Score
    from catransformers.models.loading import Base
    from catransformers.models.net import Net

@dataclass(frozen=True, slots=True)
class PoolResult:
    """A model on a pool, before and after its training, and its base; each an accuracy and its standard error.

    Args:
        before: of what the training began with.
        after: of what came out.
        base: of the base; None where the base is what is trained.
        difference: after less base (less before, without one), pair by pair.
        metrics: further numbers of what came out.
    """

    before: tuple[float, float]
    after: tuple[float, float]
    base: tuple[float, float] | None
    difference: tuple[float, float]
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What came of a training.

    Args:
        folder: where it lies.
        label: what was trained.
        steps: optimiser steps.
        seconds: of training.
        losses: mean loss of the first and of the last tenth of the steps, nats.
        pools: `validation` and `test`.
        metric: what accuracy is.
        energy: what each attempt took; empty where it is not metered.
        sha256: of the trained weights' file.
    """

    folder: Path
    label: str
    steps: int
    seconds: float
    losses: tuple[float, float]
    pools: dict[str, PoolResult]
    metric: str
    energy: tuple[EnergyRecord, ...]
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data, the `--json` object."""
        return {**asdict(self), "folder": str(self.folder), "model": str(self.folder / MODEL)}


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
        InputError: for bad data, or a folder that holds another training.
        TrialFailure: if the loss is not finite.
        KeyboardInterrupt: on Ctrl-C, after a checkpoint was written; the same call goes on.
    """
    import torch  # noqa: PLC0415 - heavy

    from catransformers.accuracy.parallel import world  # noqa: PLC0415
    from catransformers.accuracy.tasks import open_task  # noqa: PLC0415
    from catransformers.models.loading import load_base  # noqa: PLC0415

    torch.set_num_threads(plan.threads)
    torch.manual_seed(plan.seed)
    base = open_base(plan.model)
    start = base if plan.start is None else load_base(str(plan.start))
    task = open_task(plan.accuracy, base)
    plan = replace(plan, accuracy=plan.accuracy.model_copy(update={"steps": steps_of(plan, task)}))
    facts = _facts(plan, base, start)
    with world(plan.device) as here:
        if here.chief:
            _claim(folder, facts)
        here.meet()
        if (folder / RESULT).is_file():
            return read_result(folder) if here.chief else None
        return _Training(plan, folder, base, start, task, facts).run(here, listen)


def read_result(folder: Path) -> TrainingResult:
    """The result of a finished training.

    Raises:
        InputError: if there is none in the folder.
        IntegrityError: if it is damaged.
    """
    path = folder / RESULT
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        what = "there is no finished training in this folder"
        raise InputError(Problem(str(folder), what, "a folder that `train` made")) from error
    except ValueError as error:
        raise IntegrityError(f"{path}: damaged, not JSON: {error}") from error
    try:
        pools = {name: _pool(value) for name, value in data["pools"].items()}
        return TrainingResult(
            folder=folder,
            label=data["label"],
            steps=data["steps"],
            seconds=data["seconds"],
            losses=(data["losses"][0], data["losses"][1]),
            pools=pools,
            metric=data["metric"],
            energy=tuple(EnergyRecord(**record) for record in data["energy"]),
            sha256=data["sha256"],
        )
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise IntegrityError(f"{path}: damaged: {error!r}") from error


def _pool(value: dict[str, Any]) -> PoolResult:
    pairs = {name: None if value[name] is None else tuple(value[name]) for name in ("before", "after", "base")}
    return PoolResult(**pairs, difference=tuple(value["difference"]), metrics=value["metrics"])  # type: ignore[arg-type]


def _facts(plan: TrainingPlan, base: Base, start: Base) -> dict[str, Any]:
    """What a training is: what may not change when it goes on."""
    kept = plan.accuracy.model_dump(mode="json", exclude={"workers", "micro_batch", "pool_samples"})
    return {
        "label": plan.label,
        "model": plan.model.model_dump(mode="json", exclude={"space", "importance"}),
        "base_sha256": base.sha256,
        "start_sha256": start.sha256,
        "seed": plan.seed,
        **kept,
    }


def read_facts(folder: Path) -> dict[str, Any]:
    """What the training in a folder is.

    Raises:
        IntegrityError: if that cannot be read.
    """
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path}: damaged: {error}") from error
    if not isinstance(facts, dict) or "model" not in facts:
        raise IntegrityError(f"{path}: damaged: not a training's")
    return facts


def _claim(folder: Path, facts: dict[str, Any]) -> None:
    """Make the folder this training's, or see that it is.

    Raises:
        InputError: if it holds another training, with all that differs, or other files.
    """
    path = folder / FACTS
    if path.is_file():
        before = read_facts(folder)
        changed = [
            Problem(f"{path}: {key}", f"was {before.get(key)!r} when the training began, is {facts.get(key)!r} now")
            for key in sorted({*before, *facts})
            if before.get(key) != facts.get(key)
        ]
        if changed:
            raise InputError([replace(problem, hint="use another folder (--out)") for problem in changed])
        return
    if folder.is_dir() and any(p for p in folder.iterdir() if not p.name.startswith(".")):
        raise InputError(Problem(str(folder), "holds other files", "a new folder", "use another folder (--out)"))
    write_whole(path, json.dumps(facts, indent=1, allow_nan=False) + "\n")


class _Training:
    """One attempt at a training."""

    def __init__(
        self, plan: TrainingPlan, folder: Path, base: Base, start: Base, task: Any, facts: dict[str, Any]
    ) -> None:
        self.plan, self.folder, self.base, self.start, self.task, self.facts = plan, folder, base, start, task, facts

    def run(self, here: Any, listen: Listener | None) -> TrainingResult | None:
        """Train and judge."""
        from catransformers.accuracy.final import train  # noqa: PLC0415
        from catransformers.accuracy.proxy import ProxySettings, torch_threads  # noqa: PLC0415
        from catransformers.models.net import float_copy  # noqa: PLC0415
        from catransformers.models.tensor_cache import content_key  # noqa: PLC0415

        section = self.plan.accuracy
        settings = ProxySettings(
            steps=section.steps,
            learning_rate=section.learning_rate,
            batch_size=section.batch_size,
            warmup_fraction=section.warmup_fraction,
            distillation=section.distillation,
            micro_batch=section.micro_batch,
            precision=section.precision,
            seed=self.plan.seed,
            threads=self.plan.threads,
        )
        net = float_copy(self.start.net).to(here.device)
        teacher = None
        if self.plan.start is not None:
            teacher = self.base.net.to(here.device)
        recorder, records = self._meter(here)
        before = {pool: self.task.evaluate(net, pool) for pool in ("validation", "test")} if here.chief else {}
        try:
            with torch_threads(self.plan.threads):
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
        finally:
            if recorder is not None:
                recorder.stop()
        if not here.chief:
            return None
        return self._finish(net, teacher, before, done, tuple(records()))

    def _meter(self, here: Any) -> tuple[Recorder | None, Callable[[], list[EnergyRecord]]]:
        """A meter of this attempt, and the records of all attempts so far."""
        import uuid  # noqa: PLC0415

        attempt = uuid.uuid4().hex
        meter, note = begin(self.plan.measure, self.plan.device) if here.chief else (None, "")

        def keep(reading: Any, ended: bool) -> None:
            noted = replace(reading, detail=note + reading.detail)
            record = record_of(attempt, "train", None, noted, ended=ended)
            path = self.folder / f"energy-{attempt[:12]}.json"
            write_whole(path, json.dumps(asdict(record), allow_nan=False) + "\n")

        def records() -> list[EnergyRecord]:
            files = sorted(self.folder.glob("energy-*.json"))
            return [EnergyRecord(**json.loads(path.read_text(encoding="utf-8"))) for path in files]

        return (None if meter is None else Recorder(meter, keep)), records

    def _finish(
        self, net: Net, teacher: Net | None, before: dict[str, Score], done: Any, energy: tuple[EnergyRecord, ...]
    ) -> TrainingResult:
        import shutil  # noqa: PLC0415

        from catransformers.accuracy.final import CHECKPOINTS  # noqa: PLC0415
        from catransformers.accuracy.score import paired_difference  # noqa: PLC0415
        from catransformers.accuracy.tasks import task_kind  # noqa: PLC0415
        from catransformers.models.storage import save_model  # noqa: PLC0415

        pools = {}
        for pool, first in before.items():
            after = self.task.evaluate(net, pool)
            base = None if teacher is None else self.task.evaluate(teacher, pool)
            pools[pool] = PoolResult(
                before=(first.accuracy, first.standard_error),
                after=(after.accuracy, after.standard_error),
                base=None if base is None else (base.accuracy, base.standard_error),
                difference=paired_difference(after, first if base is None else base),
                metrics=dict(after.metrics),
            )
        self.base.save_files(self.folder)
        sha256 = save_model(net, self.folder / MODEL, {**self.base.metadata(), "training": self.facts})
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
