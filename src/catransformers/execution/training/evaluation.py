"""Which model is evaluated, and what can be told before its weights are read; `judging` evaluates it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from catransformers.config.sections import ModelSection
from catransformers.errors import InputError, Problem, Problems
from catransformers.execution.results import StudyResults
from catransformers.execution.studies.base_model import base_spec
from catransformers.execution.training.plan import MODEL, trial_model
from catransformers.workloads.families import family_of


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


def check_benchmark(section: ModelSection, root: Path) -> None:
    """What can be told of a benchmark before the model's weights are read.

    Raises:
        InputError: if the model is no CLIP, or there is no such folder; both at once.
    """
    problems = Problems()
    with problems.collect():
        spec = base_spec(section)
        if not family_of(spec).pairs:
            what = f"{section.base!r} is of family {spec.family!r}"
            problems.append(Problem("--datasets", what, "a CLIP", "leave --datasets out for a task of its own"))
    if not root.is_dir():
        problems.append(Problem("--datasets", f"there is no folder {root}"))
    problems.finish()
