"""`catransformers status`: what a study knows so far; works beside a running search."""

from __future__ import annotations

from pathlib import Path

import click

from catransformers.cli.hardware_study import show_hardware
from catransformers.cli.output import json_option, print_json
from catransformers.reports import assumptions
from catransformers.reports.study import narrative
from catransformers.reports.study import search_footprint_words as own_words
from catransformers.reports.study.derive import read_results, summarise
from catransformers.reports.study.summary import StudySummary
from catransformers.reports.study.tables import study_object, terminal_front
from catransformers.reports.terminal.screen import console, table, text
from catransformers.reports.wording import breakable


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


def show_study(summary: StudySummary) -> None:
    """The study in a terminal: state, headline, attribution, scenario, front."""
    screen = console()
    screen.print(text(f"{summary.name}: {breakable(narrative.state(summary))}"))
    if summary.front:
        titles, rows = terminal_front(summary)
        screen.print(table("", titles, rows, left=3))
        legend = (
            "Model: layers·FFN·width·heads. Accelerator: cores×array, local and global buffer. ± is one standard "
            "error; p5–p95 the range from the carbon factors; * the design of the next lines. `train`, `evaluate` and "
            "`export` want the trial's number."
        )
        screen.print(text(f"{narrative.shown(summary)} {legend}".strip(), style="dim"))
    screen.print()
    screen.print(text(breakable(narrative.headline(summary)), style="bold"))
    paragraphs = (
        narrative.base_beyond_limits(summary),
        narrative.attribution_sentence(summary),
        assumptions.sentence(summary.base.estimate.scenario),
        own_words.line(summary.own),
        narrative.unfinished(summary),
    )
    for paragraph in paragraphs:
        if paragraph:
            screen.print(text(breakable(f"\n{paragraph}")))
