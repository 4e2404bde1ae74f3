"""`catransformers evaluate`: a study's model on its task, or on clip-benchmark's data sets where they are present."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from catransformers.cli.output import console, json_option, print_json, table

if TYPE_CHECKING:
    from catransformers.accuracy.benchmark import BenchmarkResult, Event
    from catransformers.execution.evaluation import Judged
    from catransformers.execution.results import StudyResults


@click.command()
@click.argument("study", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--trial", type=click.IntRange(0), help="Which trial's model.  [default: the study's base]")
@click.option("--final", is_flag=True, help="The trial's model after its final training (`train`).")
@click.option("--model", help="Instead of a study: a CLIP by name, folder or file; needs --datasets.")
@click.option("--pretrained", help="With --model: which weights, where the name alone does not say.")
@click.option("--datasets", type=click.Path(path_type=Path), help="A folder of clip-benchmark's data sets.")
@click.option("--only", multiple=True, help="Of these data sets, this one; may be given several times.")
@click.option("--task", help="Another task than the study's.")
@click.option("--data", type=click.Path(path_type=Path), help="Other data than the study's.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True, help="Images at a time.")
@click.option("--data-workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that read data.")
@click.option("--out", type=click.Path(path_type=Path), help="Where results are kept.  [default: DIR/evaluations/…]")
@json_option
def evaluate(study: Path | None, trial: int | None, as_json: bool, **options: Any) -> None:
    """Judge a model: on its study's task beside its base, or zero-shot on clip-benchmark's data sets.

    With --datasets every data set that is found is evaluated, and one table ends with the averages by group. What was
    measured is kept, so that the same command goes on after an interruption.

    \b
    Examples:
      catransformers evaluate runs/demo --trial 13
      catransformers evaluate runs/clip --trial 42 --final --datasets datasets/
      catransformers evaluate --model ViT-B-16 --pretrained datacomp_xl_s13b_b90k --datasets datasets/
    """
    from catransformers.cli.inputs import check_device  # noqa: PLC0415

    results, judged = _judged(study, trial, options)
    check_device(options["device"])
    if options["datasets"] is None:
        assert results is not None  # noqa: S101 - for the type checker; `_judged` asks for --datasets otherwise
        _show_task(results, judged, options, as_json=as_json)
        return
    root = Path("runs") if results is None else results.directory.root
    out = options["out"] or root / "evaluations" / (judged.place if results is not None else _name(options["model"]))
    _show_benchmark(judged, out, options, as_json=as_json)


def _judged(study: Path | None, trial: int | None, options: dict[str, Any]) -> tuple[StudyResults | None, Judged]:
    from catransformers.config import ModelSection  # noqa: PLC0415
    from catransformers.errors import InputError, Problem  # noqa: PLC0415
    from catransformers.execution.evaluation import Judged, of_trial  # noqa: PLC0415
    from catransformers.reports.derive import read_results  # noqa: PLC0415

    problems = []
    if (study is None) == (options["model"] is None):
        problems.append(Problem("evaluate", "what is to be judged?", "DIR, or --model"))
    if study is None:
        problems += [
            Problem(name, "belongs to a study in DIR")
            for name, given in (("--trial", trial is not None), ("--final", options["final"]))
            if given
        ]
        if options["datasets"] is None:
            problems.append(Problem("--datasets", "missing: --model has no task of its own"))
    elif options["pretrained"] is not None:
        problems.append(Problem("--pretrained", "belongs to --model"))
    if options["final"] and trial is None and study is not None:
        problems.append(Problem("--trial", "missing: whose final training?"))
    if options["only"] and options["datasets"] is None:
        problems.append(Problem("--only", "belongs to --datasets"))
    for name in ("task", "data"):
        if options[name] is not None and options["datasets"] is not None:
            problems.append(Problem(f"--{name}", "and --datasets cannot both be given"))
    if problems:
        raise InputError(problems)
    if study is None:
        section = ModelSection(base=options["model"], pretrained=options["pretrained"])
        return None, Judged(options["model"], None, section)
    results = read_results(study)
    return results, of_trial(results, trial, final=options["final"])


def _name(model: str) -> str:
    return model.rstrip("/").replace("/", "-").strip(".-") or "model"


def _show_task(results: StudyResults, judged: Judged, options: dict[str, Any], *, as_json: bool) -> None:
    from catransformers.execution.evaluation import on_task  # noqa: PLC0415
    from catransformers.reports.wording import score  # noqa: PLC0415

    changes: dict[str, Any] = {"workers": options["data_workers"]}
    if options["task"] is not None:
        changes |= {"task": options["task"], "data": None}
    if options["data"] is not None:
        changes["data"] = str(options["data"].expanduser().resolve())
    pools, metric = on_task(results, judged, changes, options["device"])
    if as_json:
        rows = {
            name: {
                "accuracy": pool.after[0],
                "standard_error": pool.after[1],
                "base": None if pool.base is None else {"accuracy": pool.base[0], "standard_error": pool.base[1]},
                "difference": pool.difference[0],
                "difference_se": pool.difference[1],
                "metrics": pool.metrics,
            }
            for name, pool in pools.items()
        }
        print_json({"model": judged.label, "metric": metric, "pools": rows})
        return
    screen = console()
    screen.print(f"{judged.label}: {metric} in %")
    others = sorted({name for pool in pools.values() for name in pool.metrics})
    columns = ["pool", "model", "base", "difference", *others]
    rows_shown = [
        [
            name,
            score(*pool.after),
            "–" if pool.base is None else score(*pool.base),
            f"{100 * pool.difference[0]:+.2f} ± {100 * pool.difference[1]:.2f}",
            *(f"{pool.metrics[other]:.4g}" if other in pool.metrics else "–" for other in others),
        ]
        for name, pool in pools.items()
    ]
    screen.print(table("", columns, rows_shown))


def _show_benchmark(judged: Judged, out: Path, options: dict[str, Any], *, as_json: bool) -> None:
    from catransformers.accuracy.benchmark import COLUMNS  # noqa: PLC0415
    from catransformers.execution.evaluation import on_benchmark  # noqa: PLC0415

    with _Watch(quiet=as_json) as watch:
        result: BenchmarkResult = on_benchmark(
            judged,
            options["datasets"],
            out,
            names=list(options["only"]) or None,
            device=options["device"],
            batch_size=options["batch_size"],
            workers=options["data_workers"],
            listen=watch,
        )
    if as_json:
        print_json({"model": judged.label, **result.to_dict()})
        return
    screen = console()
    screen.print(f"{judged.label}, zero-shot, in %")
    screen.print(table("", COLUMNS, result.rows(), left=3))
    for failure in result.failures:
        for problem in failure.problems:
            screen.print(f"Not evaluated: {failure.name}: {problem}", highlight=False, markup=False)
    if result.missing:
        names = ", ".join(result.missing)
        screen.print(f"Not there: {names}", highlight=False, markup=False, style="dim")
    screen.print(f"Kept in {out}", highlight=False, markup=False, soft_wrap=True)


class _Watch:
    """A progress bar on a terminal, a line a data set elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        self._screen = console(stderr=True)
        self._quiet = quiet
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            console=self._screen,
            disable=quiet or not self._screen.is_terminal,
        )
        self._line = self._bar.add_task("data sets", total=None)

    def __enter__(self) -> _Watch:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        what = f"{event.number} of {event.count}: {event.name}"
        self._bar.update(self._line, description=what, completed=event.done, total=event.of or None)
        if event.kind in ("done", "kept", "failed") and not self._quiet:
            word = {"done": "done", "kept": "was measured before", "failed": "cannot be evaluated"}[event.kind]
            self._bar.console.print(f"{what}: {word}", highlight=False, markup=False)
