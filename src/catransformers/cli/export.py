"""`catransformers export`: a trial's or a final training's model in a format that other tools read."""

from __future__ import annotations

from pathlib import Path

import click

from catransformers.cli.output import json_option, print_json
from catransformers.errors import Problem, Problems
from catransformers.execution.training.plan import folder_problems, trial_model
from catransformers.registry import EXPORT_FORMATS
from catransformers.reports.study.derive import read_results
from catransformers.reports.terminal.screen import console
from catransformers.study.directory import StudyDirectory

SCHEMA = 1


@click.command()
@click.argument("study", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--trial", type=click.IntRange(0), help="Which trial's model; leave out for the folder of `train`.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(tuple(EXPORT_FORMATS)),
    default="catransformers",
    show_default=True,
    help="What shall read it. Stock libraries have no classes for some pruned shapes; then the message says why.",
)
@click.option("--final", is_flag=True, help="The trial's model after its final training (`train`).")
@click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: in DIR/exports]")
@json_option
def export(study: Path, trial: int | None, format_name: str, final: bool, out: Path | None, as_json: bool) -> None:
    """Write the model of a trial, its tokeniser and a model card for other tools.

    DIR is a study and --trial says whose model; or DIR is the folder of a training (`train`), without --trial.

    \b
    Examples:
      catransformers export runs/demo --trial 21
      catransformers export runs/demo --trial 21 --format onnx
      catransformers export runs/clip --trial 42 --final --format huggingface --out my-clip
      catransformers export data/bert-base-mrpc --format onnx
    """
    from catransformers.exports import formats, from_study  # noqa: PLC0415 - torch

    problems = Problems()
    if out is not None:
        problems += folder_problems(out)
    if trial is None and (final or StudyDirectory(study).config.is_file()):
        what = "the number of a finished trial; or leave --final out, for a folder that `train` made"
        problems.append(Problem("--trial", "missing", what))
    results = None if trial is None else problems.of(read_results, study)
    if results is not None and trial is not None:
        problems.of(trial_model, results, trial)
        problems.of(formats.check_format, format_name, results.costs.space.base.family)
    problems.finish()
    if results is None or trial is None:
        folder, files = from_study.export_training(study, format_name, out)
    else:
        folder, files = from_study.export_trial(results, trial, format_name, out, final=final)
    if as_json:
        print_json(
            {"schema": SCHEMA, "format": format_name, "folder": str(folder), "files": [str(path) for path in files]}
        )
        return
    screen = console()
    for path in files:
        screen.print(f"Written: {path}", highlight=False, markup=False, soft_wrap=True)
