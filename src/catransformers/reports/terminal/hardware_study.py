"""A study of accelerators for one fixed model, in a terminal."""

from __future__ import annotations

from pathlib import Path

from catransformers.execution.studies.hardware_study import HardwareStudy
from catransformers.reports.study import hardware as hardware_report
from catransformers.reports.sweep.page import summary
from catransformers.reports.terminal.screen import console, text
from catransformers.reports.terminal.sweep import show_front
from catransformers.reports.wording import breakable


def show_hardware_study(study: HardwareStudy, folder: Path | None = None) -> None:
    """The study in a terminal: what it is, its front, where its report lies."""
    screen, sweep = console(), study.sweep
    screen.print(text(hardware_report.title(study), style="bold"))
    screen.print(text(f"under {sweep.scenario.describe()}\n\n{hardware_report.WHAT_IT_IS}\n\n{summary(sweep)}\n"))
    show_front(sweep, "front.csv of the report has all")
    screen.print(text(f"\n{breakable(hardware_report.headline(study))}", style="bold"))
    if folder is not None:
        screen.print(f"\nReport: {folder / 'report.html'}", highlight=False, markup=False, soft_wrap=True)
