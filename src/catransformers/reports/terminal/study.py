"""A study in a terminal: state, headline, attribution, scenario, front; where its report lies."""

from __future__ import annotations

from catransformers.reports import assumptions
from catransformers.reports.study import narrative, search_footprint_text
from catransformers.reports.study.summary import StudySummary
from catransformers.reports.study.tables import terminal_front
from catransformers.reports.study.write import WrittenReport
from catransformers.reports.terminal.screen import console, table, text
from catransformers.reports.wording import breakable


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
        search_footprint_text.line(summary.search_footprint),
        narrative.unfinished(summary),
    )
    for paragraph in paragraphs:
        if paragraph:
            screen.print(text(breakable(f"\n{paragraph}")))


def show_report(written: WrittenReport) -> None:
    """The study in a terminal, and where its report lies."""
    show_study(written.summary)
    console().print(f"\nReport: {written.page}", highlight=False, markup=False, soft_wrap=True)
