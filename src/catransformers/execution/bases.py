"""From a study's names to the base model and the task. Weights, and with them torch, only where they are needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from catransformers.config import AccuracySection, ModelSection
from catransformers.errors import InputError, IntegrityError, Problem, unknown_name
from catransformers.workloads.spec import ClipSpec
from catransformers.workloads.zoo import MODEL_NAMES, named_spec

if TYPE_CHECKING:
    from catransformers.accuracy.tasks import Task
    from catransformers.models.loading import Base

CSV_TASK = "csv-retrieval"


def base_spec(section: ModelSection) -> ClipSpec:
    """The spec of a study's base model; its weights are not looked at.

    Raises:
        InputError: for an unknown name, or a path that holds no model.
    """
    path = Path(section.base).expanduser()
    if path.exists() and section.base not in MODEL_NAMES:
        return _spec_on_disk(path)
    if section.base in MODEL_NAMES:
        spec = named_spec(section.base)
        if isinstance(spec, ClipSpec):
            return spec
        what = f"{section.base!r} is of family {spec.family!r}, and a study searches CLIP models"
        known = ", ".join(name for name in MODEL_NAMES if isinstance(named_spec(name), ClipSpec))
        hint = "`estimate` and `sweep` know the other families"
        raise InputError(Problem("model.base", what, allowed=known, hint=hint))
    from catransformers.models.open_clip_base import open_clip_spec  # noqa: PLC0415 - imports torch

    return open_clip_spec(section.base)


def _spec_on_disk(path: Path) -> ClipSpec:
    from catransformers.models.loading import (  # noqa: PLC0415 - imports torch
        OPEN_CLIP_CONFIGURATION,
        OWN_FILE,
    )
    from catransformers.models.open_clip_base import spec_from_configuration  # noqa: PLC0415

    description = path.with_suffix(".json") if path.is_file() else path / Path(OWN_FILE).with_suffix(".json")
    foreign = path / OPEN_CLIP_CONFIGURATION
    try:
        if path.is_dir() and foreign.is_file():
            content = json.loads(foreign.read_text(encoding="utf-8"))
            return spec_from_configuration(content.get("model_cfg", content), str(path))
        return ClipSpec.from_dict(json.loads(description.read_text(encoding="utf-8"))["spec"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(Problem("model.base", f"{path} holds no model: {error}")) from error


def open_base(section: ModelSection) -> Base:
    """The study's base model with its weights.

    Raises:
        InputError: for an unknown name, missing weights, or weights that do not fit.
    """
    from catransformers.models.loading import load_base  # noqa: PLC0415 - imports torch

    try:
        return load_base(section.base, section.pretrained, allow_network=section.allow_network)
    except IntegrityError as error:
        raise InputError(Problem("model.base", str(error))) from error


def open_task(section: AccuracySection, base: Base) -> Task:
    """The study's task, for this base model's images and vocabulary.

    Raises:
        InputError: for an unknown task, missing or broken data, or a base model that cannot do the task.
    """
    from catransformers.accuracy.tasks import TASKS, named_task  # noqa: PLC0415 - imports torch

    if section.task == CSV_TASK:
        from catransformers.accuracy.tasks.csv_retrieval import CsvRetrievalTask  # noqa: PLC0415

        if section.data is None:
            raise InputError(Problem("accuracy.data", "missing", "a CSV file with the columns image and caption"))
        return CsvRetrievalTask(Path(section.data).expanduser(), base.preprocess, base.tokenizer())
    if section.task not in TASKS:
        raise InputError(unknown_name("accuracy.task", "task", section.task, [*TASKS, CSV_TASK]))
    if section.data is not None:
        raise InputError(
            Problem("accuracy.data", f"the task {section.task!r} brings its own data", hint="leave it out")
        )
    if base.reads_any_text:
        what = f"{section.task!r} is made for the embedded model; {base.name!r} cannot do it"
        raise InputError(Problem("accuracy.task", what, CSV_TASK))
    return named_task(section.task)
