"""From a study's names to the base model and the task. Weights, and with them torch, only where they are needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from catransformers.accuracy.tasks import TASKS
from catransformers.config.sections import ModelSection
from catransformers.config.study import StudyConfig
from catransformers.errors import InputError, IntegrityError, Problem
from catransformers.workloads.spec import ModelSpec
from catransformers.workloads.zoo import MODEL_NAMES, named_spec

if TYPE_CHECKING:
    from catransformers.accuracy.tasks import Task
    from catransformers.models.loading.base import Base


def base_spec(section: ModelSection) -> ModelSpec:
    """The spec of a study's base model, used as the study says; its weights are not looked at.

    Raises:
        InputError: for an unknown name, a path that holds no model, another family than the study's, and usage that
            the model does not know.
    """
    if section.base in MODEL_NAMES and section.classes is None and not Path(section.base).expanduser().exists():
        spec = named_spec(section.base)
    else:
        from catransformers.models.loading.base import spec_of_base  # noqa: PLC0415 - imports torch

        spec = spec_of_base(
            section.base, section.pretrained, allow_network=section.allow_network, classes=section.classes
        )
    return _used(spec, section)


def _used(spec: ModelSpec, section: ModelSection) -> ModelSpec:
    """A base's spec with the study's usage."""
    if section.family not in (None, spec.family):
        what = f"{section.base!r} is of family {spec.family!r}, not {section.family!r}"
        raise InputError(Problem("model.family", what, spec.family, "leave it out: it follows from the base"))
    foreign = [name for name in section.usage if name not in spec.usage()]
    if foreign:
        known = ", ".join(spec.usage()) or "nothing: this family's inputs have one length"
        raise InputError([Problem(f"model.usage.{name}", "is not a usage of this model", known) for name in foreign])
    try:
        return spec.with_dimensions(section.usage)
    except InputError as error:
        raise InputError([replace(p, where=f"model.usage.{p.where}") for p in error.problems]) from error


def open_base(section: ModelSection) -> Base:
    """The study's base model with its weights, used as the study says.

    Raises:
        InputError: for an unknown name, missing weights, or weights that do not fit.
    """
    from catransformers.models.loading.base import load_base  # noqa: PLC0415 - imports torch

    try:
        base = load_base(section.base, section.pretrained, allow_network=section.allow_network, classes=section.classes)
    except IntegrityError as error:
        raise InputError(Problem("model.base", str(error))) from error
    base.net.spec = _used(base.net.spec, section)
    return base


def metadata_of(base: Base, task: Task) -> dict[str, object]:
    """What a model made from a base for a task says of itself: how it wants images, and its classes' names.

    Names that the base does not have, because its classifier is new, are those of the data.
    """
    said = base.metadata()
    names = tuple(getattr(getattr(task, "source", None), "class_names", ()))
    if "class_names" not in said and names and len(names) == getattr(base.net.spec, "classes", 0):
        said["class_names"] = list(names)
    return said


def metric_of(config: StudyConfig) -> str:
    """What a study's accuracy is, for example `recall@1`."""
    kind = TASKS.get(config.accuracy.task)
    return kind.metric if kind is not None else "accuracy"
