"""A schedule in a terminal: the greenest time to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catransformers.intensity.scheduling import Schedule
from catransformers.reports.schedule import report
from catransformers.reports.terminal.screen import console, table, text
from catransformers.reports.wording import breakable

if TYPE_CHECKING:
    from collections.abc import Sequence


def show_schedule(result: Schedule, paragraphs: Sequence[str], *, weighed: bool) -> None:
    """The answer in words, the runs as a table, and the intensity over time as a line of blocks."""
    screen = console()
    for number, paragraph in enumerate(paragraphs):
        screen.print(text(breakable(paragraph), style="bold" if number == 0 else ""))
    rows = [[text(cell) for cell in row] for row in report.rows(result, weighed=weighed)]
    screen.print(table("", report.columns(weighed=weighed), rows, left=5))
    for line in report.sparkline(result):
        screen.print(text(line))
