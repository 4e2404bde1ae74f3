"""`catransformers status`: what a study knows so far; works beside a running search."""

from __future__ import annotations

from pathlib import Path

import click

from catransformers.cli.hardware_study import show_hardware
from catransformers.cli.output import json_option, print_json
from catransformers.reports.study.derive import read_results, summarise
from catransformers.reports.study.tables import study_object
from catransformers.reports.terminal.study import show_study


@click.command()
@click.argument("study", metavar="DIR", type=click.Path(path_type=Path))
@json_option
def status(study: Path, as_json: bool) -> None:
    """What the study in DIR knows so far: trials done and left, the best design, the front.

    \b
    Example:
      catransformers status runs/demo
    """
    if show_hardware(study, as_json=as_json):
        return
    summary = summarise(read_results(study))
    if as_json:
        print_json(study_object(summary))
    else:
        show_study(summary)
