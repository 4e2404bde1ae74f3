"""`catransformers train`: the final training of a study's model, with its base as teacher; or of a base on a task."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from catransformers.cli.output import console, json_option, print_json, table

if TYPE_CHECKING:
    from catransformers.execution.training import TrainingPlan, TrainingResult


@click.command()
@click.argument("study", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--trial", type=click.IntRange(0), help="Which trial's model of the study in DIR.")
@click.option("--model", help="Instead of a study: a base model to train on a task (a name, a folder, a file).")
@click.option("--pretrained", help="With --model: which weights, where the name alone does not say.")
@click.option("--classes", type=click.IntRange(2), help="With --model: give it a new classifier of so many classes.")
@click.option("--allow-network", is_flag=True, help="With --model: weights may be downloaded.")
@click.option("--task", help="The task.  [default: the study's]")
@click.option("--data", type=click.Path(path_type=Path), help="Its data.  [default: the study's]")
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

    Interrupted or killed, the same command goes on exactly where it was. On several GPUs or machines start it with
    torchrun or `accelerate launch`; batches are then shared, and the result is the same.

    \b
    Examples:
      catransformers train runs/demo --trial 13 --steps 1000
      catransformers train runs/clip --trial 42 --data shards/ --epochs 2 --device cuda
      torchrun --nproc-per-node 8 -m catransformers train runs/clip --trial 42 --device cuda
      catransformers train --model bert-base-uncased --classes 2 --task text-classification --data MRPC --epochs 3
    """
    from catransformers.execution.training import run_training  # noqa: PLC0415

    plan, folder = _planned(study, trial, out, options)
    chief = os.environ.get("RANK", "0") == "0"
    watch = _Watch(quiet=as_json or not chief)
    with watch:
        result = run_training(plan, folder, watch)
    if result is None:
        return
    if as_json:
        print_json(result.to_dict())
    else:
        show_training(result)


def _planned(
    study: Path | None, trial: int | None, out: Path | None, options: dict[str, Any]
) -> tuple[TrainingPlan, Path]:
    from catransformers.errors import InputError, Problem  # noqa: PLC0415
    from catransformers.execution.training import plan_of_trial  # noqa: PLC0415
    from catransformers.reports.derive import read_results  # noqa: PLC0415

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
    if options["steps"] is not None and options["epochs"] is not None:
        problems.append(Problem("--epochs", "and --steps cannot both be given"))
    if options["model"] is not None and options["steps"] is None and options["epochs"] is None:
        problems.append(Problem("--epochs", "missing: how long?", "--epochs or --steps"))
    if problems:
        raise InputError(problems)
    settings = {name: options[name] for name in ("epochs", "seed", "device", "threads", "checkpoint_minutes")}
    changes = _changes(options)
    if study is not None:
        assert trial is not None  # noqa: S101 - for the type checker; asked above
        results = read_results(study)
        changes.setdefault("steps", 10 * results.config.accuracy.steps)
        plan = plan_of_trial(results, trial, changes, measure=results.config.execution.measure, **settings)
        return plan, out or results.directory.root / "final" / f"{trial:04d}"
    return _of_base(options, changes, settings, out)


def _changes(options: dict[str, Any]) -> dict[str, Any]:
    """The keys of the accuracy section that the command line gives."""
    names = (
        "task",
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
    if options["data"] is not None:
        changes["data"] = str(options["data"].expanduser().resolve())
    elif options["task"] is not None:
        changes["data"] = None
    if options["data_workers"] is not None:
        changes["workers"] = options["data_workers"]
    changes.setdefault("distillation", None)  # the study's is that of the proxy, of another distance
    return changes


def _of_base(
    options: dict[str, Any], changes: dict[str, Any], settings: dict[str, Any], out: Path | None
) -> tuple[TrainingPlan, Path]:
    from catransformers.config import AccuracySection, ModelSection  # noqa: PLC0415
    from catransformers.execution.training import TrainingPlan, checked  # noqa: PLC0415

    model = ModelSection(
        base=options["model"],
        pretrained=options["pretrained"],
        classes=options["classes"],
        allow_network=options["allow_network"],
    )
    accuracy = checked(AccuracySection(), changes)
    name = options["model"].rstrip("/").replace("/", "-").strip(".-")
    plan = TrainingPlan(model, accuracy, None, f"{options['model']} on {accuracy.task}", **settings)
    return plan, out or Path("runs") / f"{name}-{accuracy.task}"


class _Watch:
    """A progress bar on a terminal, a line every tenth of the way elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        self._screen = console(stderr=True)
        self._quiet = quiet
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._screen,
            disable=quiet or not self._screen.is_terminal,
        )
        self._line = self._bar.add_task("training", total=None)

    def __enter__(self) -> _Watch:
        if not self._quiet:
            self._screen.print("Opening model and data …", highlight=False)
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, step: int, steps: int, loss: float) -> None:
        self._bar.update(self._line, completed=step, total=steps, description=f"loss {loss:.3f}")
        tenth = max(1, steps // 10)
        if not self._quiet and not self._screen.is_terminal and (step % tenth == 0 or step == steps):
            self._screen.print(f"step {step} of {steps}: loss {loss:.4f}", highlight=False)


def show_training(result: TrainingResult) -> None:
    """A finished training in a terminal."""
    from catransformers.reports.wording import score  # noqa: PLC0415

    screen = console()
    based = any(pool.base is not None for pool in result.pools.values())
    other = "base" if based else "before"
    columns = ["pool", "before", "after", *(["base"] if based else []), f"after − {other}"]
    rows = []
    for name, pool in result.pools.items():
        cells = [score(*pool.before), score(*pool.after), *([score(*pool.base)] if pool.base is not None else [])]
        low, high = pool.difference
        rows.append([name, *cells, f"{100 * low:+.2f} ± {100 * high:.2f}"])
    screen.print(f"{result.label}: {result.steps} steps, {result.seconds:.0f} s, {result.metric} in %")
    screen.print(table("", columns, rows))
    energy = sum(record.energy_j for record in result.energy)
    if energy:
        quality = "measured" if all(r.quality == "measured" for r in result.energy) else "estimated"
        screen.print(f"Energy of the training: {energy / 1e3:.3g} kJ, {quality}.")
    screen.print(f"Model: {result.folder / 'model.safetensors'}", soft_wrap=True)
