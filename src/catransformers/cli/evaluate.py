"""`catransformers evaluate`: a study's model on its task, or on clip-benchmark's data sets where they are present."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from catransformers.cli.inputs import check_device
from catransformers.cli.output import json_option, print_json
from catransformers.cli.wording import options_named
from catransformers.config.sections import AccuracySection, ModelSection
from catransformers.errors import Problem, Problems, present
from catransformers.execution.training.evaluation import Judged, check_benchmark, of_trial
from catransformers.execution.training.plan import check_task, checked, folder_problems
from catransformers.execution.training.result import plain
from catransformers.reports.study.derive import read_results
from catransformers.reports.terminal.evaluation import EvaluationProgress, show_benchmark, show_pools

SCHEMA = 1
BATCH_SIZE = 64


@click.command()
@click.argument("study", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--trial", type=click.IntRange(0), help="Which trial's model.  [default: the study's base]")
@click.option("--final", is_flag=True, help="The trial's model after its final training (`train`).")
@click.option("--model", help="Instead of a study: a model by name, folder or file; needs --datasets or --task.")
@click.option("--pretrained", help="With --model: which weights, where the name alone does not say.")
@click.option("--allow-network", is_flag=True, help="With --model: weights may be downloaded.")
@click.option("--datasets", type=click.Path(path_type=Path), help="A folder of clip-benchmark's data sets.")
@click.option("--only", multiple=True, help="Of these data sets, this one; may be given several times.")
@click.option("--task", help="Another task than the study's.")
@click.option("--data", type=click.Path(path_type=Path), help="Other data than the study's.")
@click.option(
    "--class-names", type=click.Path(path_type=Path), help="File with a name a class.  [default: the study's]"
)
@click.option("--templates", type=click.Path(path_type=Path), help="File of zero-shot prompts.  [default: the study's]")
@click.option("--samples", type=click.IntRange(2), help="The most samples of a pool.  [default: the study's, or 1000]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--batch-size", type=click.IntRange(1), help=f"With --datasets: images at a time.  [default: {BATCH_SIZE}]"
)
@click.option("--data-workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that read data.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="With --datasets: where results are kept.  [default: DIR/evaluations/…]",
)
@json_option
def evaluate(study: Path | None, trial: int | None, as_json: bool, **options: Any) -> None:
    """Evaluate a model: on its study's task beside its base, or zero-shot on clip-benchmark's data sets.

    With --datasets every data set that is found is evaluated, and one table ends with the averages by group. What was
    measured is kept, so that the same command resumes after an interruption.

    \b
    Examples:
      catransformers evaluate runs/demo --trial 21
      catransformers evaluate runs/clip --trial 42 --final --datasets datasets/
      catransformers evaluate --model data/bert-base-mrpc --task text-classification --data data/MRPC
      catransformers evaluate --model ViT-B-16 --pretrained datacomp_xl_s13b_b90k --datasets datasets/
    """
    with options_named(options):
        judged, section, out = _judged(study, trial, options)
        if section is None:
            done = _show_benchmark(judged, out, options, as_json=as_json)
        else:
            done = _show_task(judged, section, options, as_json=as_json)
    if not done:
        click.get_current_context().exit(1)


def _judged(
    study: Path | None, trial: int | None, options: dict[str, Any]
) -> tuple[Judged, AccuracySection | None, Path]:
    """What is judged; on which task, or None for data sets; the folder of the data sets' results."""
    problems = Problems()
    problems += _conflicts(study, trial, options)
    problems.of(check_device, options["device"])
    judged, section, root = None, AccuracySection(), Path("runs")
    if study is not None and options["model"] is None:
        results = problems.of(read_results, study)
        if results is not None:
            judged = problems.of(of_trial, results, trial, final=options["final"] and trial is not None)
            model, section, root = results.config.model, results.config.accuracy, results.directory.root
    elif study is None and options["model"] is not None:
        model = ModelSection(
            base=options["model"], pretrained=options["pretrained"], allow_network=options["allow_network"]
        )
        results, judged = None, Judged(options["model"], None, model, _name(options["model"]))
    else:
        results = None
    out = options["out"] or root / "evaluations" / ("none" if judged is None else judged.place)
    if judged is not None or results is not None:
        if options["datasets"] is not None:
            problems.of(check_benchmark, model, options["datasets"])
            problems += folder_problems(out)
        elif options["task"] is not None or results is not None:
            changed = problems.of(checked, section, _changes(options))
            if changed is not None:
                problems.of(check_task, model, changed)
                section = changed
    problems.finish()
    return present(judged), None if options["datasets"] is not None else section, out


def _conflicts(study: Path | None, trial: int | None, options: dict[str, Any]) -> list[Problem]:
    """Options that are missing, or cannot be together."""
    problems = []
    if (study is None) == (options["model"] is None):
        problems.append(Problem("evaluate", "what is to be judged?", "DIR, or --model"))
    if study is None:
        problems += [
            Problem(name, "belongs to a study in DIR")
            for name, given in (("--trial", trial is not None), ("--final", options["final"]))
            if given
        ]
        if options["model"] is not None and options["datasets"] is None and options["task"] is None:
            problems.append(Problem("--task", "missing: --model has no task of its own", "--task or --datasets"))
    elif options["model"] is None:
        problems += [
            Problem(f"--{name.replace('_', '-')}", "belongs to --model")
            for name in ("pretrained", "allow_network")
            if options[name]
        ]
        if options["final"] and trial is None:
            problems.append(Problem("--trial", "missing: whose final training?"))
    own, other = ("only", "batch_size", "out"), ("task", "data", "class_names", "templates", "samples")
    if options["datasets"] is None:
        wrong = [Problem(f"--{name.replace('_', '-')}", "belongs to --datasets") for name in own if options[name]]
    else:
        wrong = [
            Problem(f"--{name.replace('_', '-')}", "and --datasets cannot both be given")
            for name in other
            if options[name] is not None
        ]
    return problems + wrong


def _changes(options: dict[str, Any]) -> dict[str, Any]:
    """The keys of the accuracy section that the command line gives."""
    changes: dict[str, Any] = {"workers": options["data_workers"]}
    if options["task"] is not None:
        changes["task"] = options["task"]
    if options["samples"] is not None:
        changes["pool_samples"] = options["samples"]
    for name in ("data", "class_names", "templates"):
        if options[name] is not None:
            changes[name] = str(options[name].expanduser().resolve())
    return changes


def _name(model: str) -> str:
    return model.rstrip("/").replace("/", "-").strip(".-") or "model"


def _show_task(judged: Judged, section: AccuracySection, options: dict[str, Any], *, as_json: bool) -> bool:
    from catransformers.execution.training import judging  # noqa: PLC0415 - torch

    pools, metric = judging.on_task(judged, section, options["device"])
    if as_json:
        rows = {}
        for name, pool in pools.items():
            entry = pool.to_dict()
            compared = {key: None if pool.base is None else entry[key] for key in ("base", "difference")}
            rows[name] = {"accuracy": plain(pool.after), **compared, "metrics": entry["metrics"]}
        print_json({"schema": SCHEMA, "model": judged.label, "task": section.task, "metric": metric, "pools": rows})
        return True
    show_pools(f"{judged.label}: {metric} in %", pools)
    return True


def _show_benchmark(judged: Judged, out: Path, options: dict[str, Any], *, as_json: bool) -> bool:
    """Evaluate and show; whether anything could be evaluated."""
    from catransformers.execution.training import judging  # noqa: PLC0415 - torch

    with EvaluationProgress(quiet=as_json) as watch:
        result = judging.on_benchmark(
            judged,
            options["datasets"],
            out,
            names=list(options["only"]) or None,
            device=options["device"],
            batch_size=options["batch_size"] or BATCH_SIZE,
            workers=options["data_workers"],
            listen=watch,
        )
    if as_json:
        print_json({"schema": SCHEMA, "model": judged.label, "results": str(out), **result.to_dict()})
    else:
        show_benchmark(judged.label, result, out)
    return bool(result.scores)
