"""`catransformers export`: a trial's or a final training's model in a format that other tools read."""

from __future__ import annotations

from pathlib import Path

import click

from catransformers.cli.output import console, json_option, print_json

FORMATS = ("catransformers", "huggingface", "open_clip", "timm", "onnx")


@click.command()
@click.argument("study", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--trial", type=click.IntRange(0), help="Which trial's model; leave out for the folder of `train`.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default="catransformers",
    show_default=True,
    help="What shall read it. Stock libraries have no classes for some pruned shapes; then the message says why.",
)
@click.option("--final", is_flag=True, help="The trial's model after its final training (`train`).")
@click.option("--out", type=click.Path(path_type=Path), help="Folder.  [default: DIR/exports/NNNN-FORMAT]")
@json_option
def export(study: Path, trial: int | None, format_name: str, final: bool, out: Path | None, as_json: bool) -> None:
    """Write the model of a trial, its tokeniser and a model card for other tools.

    \b
    Examples:
      catransformers export runs/demo --trial 13
      catransformers export runs/demo --trial 13 --format onnx
      catransformers export runs/clip --trial 42 --final --format huggingface --out my-clip
    """
    from catransformers.exports.from_study import export_training, export_trial  # noqa: PLC0415
    from catransformers.reports.derive import read_results  # noqa: PLC0415

    if trial is None:
        folder, files = export_training(study, format_name, out)
    else:
        folder, files = export_trial(read_results(study), trial, format_name, out, final=final)
    if as_json:
        print_json({"format": format_name, "folder": str(folder), "files": [str(path) for path in files]})
        return
    screen = console()
    for path in files:
        screen.print(f"Written: {path}", highlight=False, markup=False, soft_wrap=True)
