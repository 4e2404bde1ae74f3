"""A study's model, as its trial left it or after its final training, written for other tools with its model card."""

from __future__ import annotations

from pathlib import Path

from catransformers.config.sections import ModelSection
from catransformers.errors import InputError, IntegrityError, Problem
from catransformers.execution.results import StudyResults
from catransformers.execution.studies.base_model import base_spec, metric_of
from catransformers.execution.training.plan import FACTS, MODEL, trial_model
from catransformers.execution.training.result import TrainingResult, read_facts, read_result
from catransformers.exports.card import Facts, card
from catransformers.exports.formats import Model, check_format, write_model
from catransformers.models.loading.base import load_base
from catransformers.models.loading.named import find_source
from catransformers.models.loading.storage import read_description
from catransformers.registry import EXPORT_FORMATS
from catransformers.workloads.families import parameters, spec_from_dict
from catransformers.workloads.spec import ModelSpec


def export_trial(
    results: StudyResults, number: int, format_name: str, out: Path | None = None, *, final: bool = False
) -> tuple[Path, list[Path]]:
    """Write a trial's model.

    Args:
        results: the study.
        number: of the trial.
        format_name: of `EXPORT_FORMATS`.
        out: the folder; by default `exports/NNNN-FORMAT` in the study's.
        final: the model after its final training (in `final/NNNN` of the study's folder).

    Returns:
        The folder and the files in it.

    Raises:
        InputError: if there is no such trial, training or format, or the format cannot hold the model.
        IntegrityError: if the model's file is damaged.
    """
    path, trained = trial_model(results, number), None
    if final:
        folder = results.directory.root / "final" / f"{number:04d}"
        if not (folder / MODEL).is_file():
            hint = f"`catransformers train {results.directory.root} --trial {number}` makes it"
            raise InputError(Problem("--final", f"trial {number} has no finished training", hint=hint))
        trained, path = read_result(folder), folder / MODEL
    place = out or results.directory.root / "exports" / f"{number:04d}{'-final' if final else ''}-{format_name}"
    return place, _write(path, results.config.model, _facts(results, number, trained), format_name, place)


def export_training(folder: Path, format_name: str, out: Path | None = None) -> tuple[Path, list[Path]]:
    """Write the model of a finished training, by its folder.

    Raises:
        InputError: if there is none in the folder, for an unknown format, or one that cannot hold the model.
        IntegrityError: if a file is damaged.
    """
    trained = read_result(folder)
    try:
        section = ModelSection.read(read_facts(folder)["model"], "model.")
    except InputError as error:
        raise IntegrityError(f"{folder / FACTS}: damaged: {error}") from error
    spec = _spec(folder / MODEL)
    facts = Facts(trained.label, section.base, spec, parameters(spec), trained.metric, training=trained)
    place = out or folder / "exports" / format_name
    return place, _write(folder / MODEL, section, facts, format_name, place)


def _spec(path: Path) -> ModelSpec:

    spec = read_description(path)["spec"]
    return spec_from_dict(spec)  # type: ignore[arg-type] # checked there


def _facts(results: StudyResults, number: int, trained: TrainingResult | None) -> Facts:
    trial = next(trial for trial in results.trials if trial.number == number)
    costs = results.costs
    index = costs.space.index(trial.dimensions)
    return Facts(
        title=f"{results.config.name}, trial {number}",
        base=results.config.model.base,
        spec=costs.space.spec(index),
        parameters=trial.parameters,
        metric=metric_of(results.config),
        base_spec=base_spec(results.config.model),
        accuracy=results.config.accuracy,
        trial=trial,
        evaluations={
            pool: (results.evaluation(number, pool), results.evaluation(None, pool)) for pool in ("validation", "test")
        },
        design=costs.best(index),
        scenario=costs.scenario,
        training=trained,
    )


def _write(path: Path, section: ModelSection, facts: Facts, format_name: str, place: Path) -> list[Path]:

    found = load_base(str(path))
    check_format(format_name, found.net.spec.family)
    tokenizer = found.tokenizer_path
    if tokenizer is None:  # trials' folders hold the weights alone
        source = find_source(section.base, section.pretrained, allow_network=section.allow_network)
        tokenizer = source.tokenizer
    model = Model(
        net=found.net,
        metadata={**found.metadata(), "made_from": section.base},
        tokenizer=tokenizer,
        card=card(facts, EXPORT_FORMATS[format_name].text),
    )
    return write_model(model, format_name, place)
