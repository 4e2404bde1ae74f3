"""`catransformers status`: what a study knows so far; works beside a running search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from catransformers.cli.output import console, json_option, print_json, table

if TYPE_CHECKING:
    from catransformers.reports.study.summary import StudySummary


@click.command()
@click.argument("study", metavar="DIR", type=click.Path(path_type=Path))
@json_option
def status(study: Path, as_json: bool) -> None:
    """What the study in DIR knows so far: trials done and left, the best design, the front.

    \b
    Example:
      catransformers status runs/demo
    """
    from catransformers.cli.hardware_study import show_hardware  # noqa: PLC0415
    from catransformers.reports.study.derive import read_results, summarise  # noqa: PLC0415

    if show_hardware(study, as_json=as_json):
        return
    summary = summarise(read_results(study))
    if as_json:
        from catransformers.reports.study.tables import study_object  # noqa: PLC0415

        print_json(study_object(summary))
    else:
        show_study(summary)


def show_study(summary: StudySummary) -> None:
    """The study in a terminal: state, headline, attribution, scenario, front."""
    from rich.text import Text  # noqa: PLC0415

    from catransformers.reports import assumptions  # noqa: PLC0415
    from catransformers.reports.study import narrative  # noqa: PLC0415
    from catransformers.reports.study import search_footprint_words as own_words  # noqa: PLC0415
    from catransformers.reports.study.tables import terminal_front  # noqa: PLC0415
    from catransformers.reports.wording import breakable  # noqa: PLC0415

    screen = console()
    screen.print(Text(f"{summary.name}: {breakable(narrative.state(summary))}"))
    if summary.front:
        titles, rows = terminal_front(summary)
        screen.print(table("", titles, rows, left=3))
        legend = (
            "Model: layers·FFN·width·heads. Accelerator: cores×array, local and global buffer. ± is one standard "
            "error; p5–p95 the range from the carbon factors; * the design of the next lines. `train`, `evaluate` and "
            "`export` want the trial's number."
        )
        screen.print(Text(f"{narrative.shown(summary)} {legend}".strip(), style="dim"))
    screen.print()
    screen.print(Text(breakable(narrative.headline(summary)), style="bold"))
    paragraphs = (
        narrative.base_beyond_limits(summary),
        narrative.attribution_sentence(summary),
        assumptions.sentence(summary.base.estimate.scenario),
        own_words.line(summary.own),
        narrative.unfinished(summary),
    )
    for paragraph in paragraphs:
        if paragraph:
            screen.print(Text(breakable(f"\n{paragraph}")))
