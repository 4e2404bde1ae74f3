"""`catransformers train`: the final training of a study's model, with its base as teacher; or of a base on a task."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from catransformers.cli.inputs import check_device
from catransformers.cli.output import json_option, print_json
from catransformers.cli.wording import options_named
from catransformers.config.sections import AccuracySection, ModelSection
from catransformers.errors import Problem, Problems, present
from catransformers.execution.results import StudyResults
from catransformers.execution.training.plan import RESULT, TrainingPlan, check_plan, checked, trial_model
from catransformers.reports.study.derive import read_results
from catransformers.reports.terminal.screen import console
from catransformers.reports.terminal.training import TrainingProgress, show_training


@click.command()
@click.argument("study", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--trial", type=click.IntRange(0), help="Which trial's model of the study in DIR.")
@click.option("--model", help="Instead of a study: a base model to train on a task (a name, a folder, a file).")
@click.option("--pretrained", help="With --model: which weights, where the name alone does not say.")
@click.option("--classes", type=click.IntRange(2), help="With --model: give it a new classifier of so many classes.")
@click.option("--allow-network", is_flag=True, help="With --model: weights may be downloaded.")
@click.option("--task", help="The task.  [default: the study's]")
@click.option("--data", type=click.Path(path_type=Path), help="Its data.  [default: the study's]")
@click.option(
    "--class-names", type=click.Path(path_type=Path), help="File with a name a class.  [default: the study's]"
)
@click.option("--templates", type=click.Path(path_type=Path), help="File of zero-shot prompts.  [default: the study's]")
@click.option("--steps", type=click.IntRange(1), help="Optimiser steps.  [default: 10 times the study's]")
@click.option("--epochs", type=click.FloatRange(0, min_open=True), help="Instead of steps: passes over the data.")
@click.option("--batch-size", type=click.IntRange(2), help="Samples a step, over all devices.  [default: the study's]")
@click.option("--micro-batch", type=click.IntRange(1), help="Samples at a time on a device; the gradient is the same.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Its peak.  [default: the study's]")
@click.option("--warmup-fraction", type=click.FloatRange(0, 1), help="Of the steps.  [default: the study's]")
@click.option("--distillation", type=click.FloatRange(0), help="Weight of the base as teacher; 0: none.  [default: 1]")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), help="Of the forward pass.")
@click.option("--tokens", type=click.IntRange(2), help="Length of texts.  [default: the study's]")
@click.option("--data-workers", type=click.IntRange(0), help="Processes that read data.  [default: the study's]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of the CPU.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the order of the data.")
@click.option(
    "--checkpoint-minutes", type=click.FloatRange(0), default=10.0, show_default=True, help="Between checkpoints."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: DIR/final/NNNN; runs/MODEL-TASK]")
@json_option
def train(study: Path | None, trial: int | None, out: Path | None, as_json: bool, **options: Any) -> None:
    """Train the model of a trial to the end, with the study's base as its teacher.

    Interrupted or killed, the same command resumes exactly where it stopped. On several GPUs or machines start it with
    torchrun or `accelerate launch`; batches are then shared, and the result is the same, up to rounding.

    \b
    Examples:
      catransformers train runs/demo --trial 21 --steps 1000
      catransformers train runs/clip --trial 42 --data shards/ --epochs 2 --device cuda
      torchrun --standalone --nproc-per-node 8 -m catransformers train runs/clip --trial 42 --device cuda
      catransformers train --model bert-base-uncased --classes 2 --task text-classification --data MRPC --epochs 3
    """
    with options_named(options):
        plan, folder = _planned(study, trial, out, options)
        chief = os.environ.get("RANK", "0") == "0"
        known = (folder / RESULT).is_file()
        from catransformers.execution.training.run import run_training  # noqa: PLC0415 - torch

        with TrainingProgress(quiet=as_json or not chief) as watch:
            result = run_training(plan, folder, watch)
    if result is None:
        return
    if as_json:
        print_json(result.to_dict())
        return
    if known:
        console(stderr=True).print("This training was finished before; nothing was trained now.", highlight=False)
    show_training(result)


def _planned(
    study: Path | None, trial: int | None, out: Path | None, options: dict[str, Any]
) -> tuple[TrainingPlan, Path]:
    """The plan and its folder, checked as far as can be before anything is opened."""
    problems = Problems()
    problems += _conflicts(study, trial, options)
    problems.of(check_device, options["device"])
    results = None if study is None else problems.of(read_results, study)
    if study is not None and options["model"] is None and results is not None:
        start = None if trial is None else problems.of(trial_model, results, trial)
        plan = problems.of(_of_trial, results, trial, start, options)
        folder = out or results.directory.root / "final" / f"{trial or 0:04d}"
    elif study is None and options["model"] is not None:
        plan = problems.of(_of_base, options)
        folder = out or _default_folder(options)
    else:
        plan, folder = None, out or Path()
    if plan is not None:
        problems.of(check_plan, plan, folder)
    problems.finish()
    return present(plan), folder


def _conflicts(study: Path | None, trial: int | None, options: dict[str, Any]) -> list[Problem]:
    """Options that are missing, or cannot be together."""
    problems = []
    if (study is None) == (options["model"] is None):
        problems.append(Problem("train", "what is to be trained?", "DIR with --trial, or --model"))
    elif study is not None:
        if trial is None:
            problems.append(Problem("--trial", "missing", "the number of a finished trial"))
        problems += [
            Problem(f"--{name.replace('_', '-')}", "belongs to --model; a trial's base is that of its study")
            for name in ("pretrained", "classes", "allow_network")
            if options[name]
        ]
    elif trial is not None:
        problems.append(Problem("--trial", "belongs to a study in DIR"))
    if options["model"] is not None and options["task"] is None:
        problems.append(Problem("--task", "missing", "what the model is to learn"))
    if options["model"] is not None and options["distillation"]:
        problems.append(Problem("--distillation", "belongs to a study in DIR: here the base itself is trained"))
    if options["steps"] is not None and options["epochs"] is not None:
        problems.append(Problem("--epochs", "and --steps cannot both be given"))
    if options["model"] is not None and options["steps"] is None and options["epochs"] is None:
        problems.append(Problem("--epochs", "missing: how long?", "--epochs or --steps"))
    return problems


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("epochs", "seed", "device", "threads", "checkpoint_minutes")}


def _changes(options: dict[str, Any]) -> dict[str, Any]:
    """The keys of the accuracy section that the command line gives."""
    names = (
        "task",
        "class_names",
        "templates",
        "steps",
        "batch_size",
        "micro_batch",
        "learning_rate",
        "warmup_fraction",
        "distillation",
        "precision",
        "tokens",
    )
    changes = {name: options[name] for name in names if options[name] is not None}
    for name in ("data", "class_names", "templates"):
        if options[name] is not None:
            changes[name] = str(options[name].expanduser().resolve())
    if options["data_workers"] is not None:
        changes["workers"] = options["data_workers"]
    changes.setdefault("distillation", None)  # the study's is that of the proxy, of another distance
    return changes


def _of_trial(results: StudyResults, trial: int | None, start: Path | None, options: dict[str, Any]) -> TrainingPlan:
    config = results.config
    changes = {"steps": 10 * config.accuracy.steps, **_changes(options)}
    accuracy = checked(config.accuracy, changes)
    label = f"trial {trial} of {config.name}"
    return TrainingPlan(config.model, accuracy, start, label, measure=config.execution.measure, **_settings(options))


def _of_base(options: dict[str, Any]) -> TrainingPlan:
    model = ModelSection(
        base=options["model"],
        pretrained=options["pretrained"],
        classes=options["classes"],
        allow_network=options["allow_network"],
    )
    accuracy = checked(AccuracySection(), _changes(options))
    return TrainingPlan(model, accuracy, None, f"{options['model']} on {accuracy.task}", **_settings(options))


def _default_folder(options: dict[str, Any]) -> Path:
    name = options["model"].rstrip("/").replace("/", "-").strip(".-")
    return Path("runs") / f"{name}-{options['task']}"
