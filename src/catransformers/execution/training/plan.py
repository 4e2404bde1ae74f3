"""Plan of a training: which model, on what data, for how long; and all that can be wrong with that.

What can be told without the model's weights is told first, all at once and before anything is written: a base may take
minutes to load.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from catransformers.accuracy.tasks import OWN_KEYS, TASKS, data_problems, task_kind
from catransformers.config.sections import AccuracySection, ModelSection
from catransformers.errors import InputError, Problem, Problems
from catransformers.execution.results import StudyResults
from catransformers.execution.studies.base_model import base_spec

FACTS, RESULT, MODEL = "training.json", "result.json", "model.safetensors"


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What is to be trained.

    Args:
        model: the base: teacher of a trial's model, or, without a trial, what is trained.
        accuracy: task, data, batch size, rate and so on; `steps` is that of the training.
        start: file of the model that training begins with; None: the base.
        label: what is trained, for people.
        epochs: instead of `accuracy.steps`: how often the training data are seen.
        seed: of the order of the data.
        device: `cpu` or `cuda`.
        threads: torch threads on the CPU.
        measure: how energy is metered, as in `[execution]`.
        checkpoint_minutes: between two checkpoints.
    """

    model: ModelSection
    accuracy: AccuracySection
    start: Path | None
    label: str
    epochs: float | None = None
    seed: int = 0
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = 1
    measure: str = "auto"
    checkpoint_minutes: float = 10.0


def trial_model(results: StudyResults, number: int) -> Path:
    """The file of a trial's model.

    Raises:
        InputError: if there is no such trial, it failed, or the file is gone; finished ones are named.
    """
    finished = [trial.number for trial in results.trials if trial.accuracy is not None]
    if number not in finished:
        front = ", ".join(str(member.trial.number) for member in results.front)
        failed = [trial.error for trial in results.trials if trial.number == number]
        what = f"trial {number} failed: {failed[0]}" if failed else f"there is no finished trial {number}"
        raise InputError(Problem("--trial", what, f"{_ranges(finished)}; on the front: {front or 'none'}"))
    path = results.directory.checkpoint(number)
    if not path.is_file():
        raise InputError(Problem("--trial", f"the model of trial {number} is gone: there is no {path}"))
    return path


def checked(section: AccuracySection, changes: dict[str, Any]) -> AccuracySection:
    """A section with some keys changed. What belongs to its former task goes with it, if the task is another.

    Raises:
        InputError: for values out of range, all at once.
    """
    kept = section.to_dict()
    if changes.get("task", section.task) != section.task:
        kept |= dict.fromkeys(("data", *OWN_KEYS))
    return AccuracySection.read({**kept, **changes}, "accuracy.")


def check_task(model: ModelSection, accuracy: AccuracySection) -> None:
    """That there is such a task, the model is of a family that can do it, and it has the keys that it needs.

    Raises:
        InputError: with everything that is wrong.
    """
    task_kind(accuracy.task)
    problems = Problems(data_problems(accuracy))
    try:
        family = base_spec(model).family
    except InputError as error:
        raise InputError([*error.problems, *problems]) from error
    if family not in TASKS[accuracy.task].families:
        able = [name for name, kind in TASKS.items() if family in kind.families and kind.base in ("", model.base)]
        what = f"{accuracy.task!r} is made for {', '.join(TASKS[accuracy.task].families)}, {model.base!r} is a {family}"
        problems.insert(0, Problem("accuracy.task", what, ", ".join(able)))
    problems.finish()


def check_plan(plan: TrainingPlan, folder: Path) -> None:
    """Everything that can be told of a plan before weights and data are opened.

    Args:
        plan: what is to be trained.
        folder: where.

    Raises:
        InputError: with everything that is wrong.
    """
    section = plan.accuracy
    problems = Problems()
    if plan.epochs is not None and not 0 < plan.epochs < math.inf:
        problems.append(Problem("--epochs", f"{plan.epochs} is out of range", "> 0"))
    if plan.epochs is None and section.steps < 1:
        problems.append(Problem("--steps", "missing: the study's proxy takes none", "--steps or --epochs"))
    if not 0 <= plan.checkpoint_minutes < math.inf:
        problems.append(Problem("--checkpoint-minutes", f"{plan.checkpoint_minutes} is out of range", "≥ 0"))
    if section.precision == "fp16" and plan.device != "cuda":
        problems.append(Problem("accuracy.precision", "fp16 needs a GPU", "fp32, bf16"))
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if section.batch_size % processes:
        what = f"{section.batch_size} samples cannot be shared by {processes} processes"
        problems.append(Problem("accuracy.batch_size", what, f"a multiple of {processes}"))
    if folder.is_dir() and not (folder / FACTS).is_file():
        if any(p for p in folder.iterdir() if not p.name.startswith(".")):
            problems.append(Problem(str(folder), "holds other files", "a new folder", "use another folder (--out)"))
    elif not folder.is_dir():
        problems += folder_problems(folder)
    problems.of(check_task, plan.model, section)
    problems.finish()


def folder_problems(folder: Path) -> list[Problem]:
    """What keeps a folder from being made or written: a file in its place or on its way."""
    for place in (folder, *folder.parents):
        if place.is_dir():
            return []
        if place.exists() or place.is_symlink():
            return [Problem(str(folder), f"{place} is a file", "a folder", "use another one (--out)")]
    return []


def steps_of(plan: TrainingPlan, task: Any) -> int:
    """Optimiser steps: those of the plan, or its epochs of the task's training data.

    Raises:
        InputError: for epochs of a task whose data have no end.
    """
    if plan.epochs is None:
        return plan.accuracy.steps
    source = getattr(task, "source", None)
    if source is None:
        what = f"the data of {task.name!r} have no end, so there are no epochs"
        raise InputError(Problem("--epochs", what, hint="give --steps"))
    size = len(source.splits["train"])
    return max(1, round(plan.epochs * max(1, size // plan.accuracy.batch_size)))


def _ranges(numbers: list[int]) -> str:
    """`0–4, 7`."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in found) or "none yet"
