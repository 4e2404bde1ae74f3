"""`catransformers schedule`: when, and in which region, a job's electricity emits the least."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from catransformers.cli.output import json_option, print_json
from catransformers.errors import InputError, Problem, Problems
from catransformers.file_cache import cache_folder
from catransformers.files import write_whole
from catransformers.intensity.lookup import Forecasts
from catransformers.intensity.planning import Request, plan
from catransformers.reports.schedule import report
from catransformers.reports.terminal.schedule import show_schedule
from catransformers.reports.terminal.screen import console, text

PICTURES = (".svg", ".png", ".html")


@click.command()
@click.option("--hours", type=float, required=True, metavar="H", help="How long the job runs, e.g. 6 or 1.5.")
@click.option(
    "--deadline",
    default="24h",
    show_default=True,
    metavar="SPAN|TIME",
    help="When it must be done: after a span (90min, 24h, 3d) or at a time (2026-11-22T08:00).",
)
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="NAME[,NAME…]",
    help="Where it may run; the first is where it would run anyway. With --profile: all zones of the files.",
)
@click.option(
    "--profile",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="Hourly intensity from a file: columns time or hour, and g_per_kwh (repeatable).",
)
@click.option(
    "--source",
    metavar="NAME",
    help="Ask a service for its forecast: electricity-maps, watttime, uk, carbon-aware-sdk. Keys from the environment.",
)
@click.option("--start", metavar="TIME", help="The earliest start, e.g. 2026-11-21T10:00 (local time).  [default: now]")
@click.option("--interruptible", is_flag=True, help="The job may pause and go on.")
@click.option("--slot-min", type=float, metavar="MIN", help="With --interruptible: the least time to run or pause.")
@click.option(
    "--power-w",
    "power",
    metavar="W",
    help="What it draws: watts, or phases as watts:hours,… (100:1,300:5). Without it: savings only.",
)
@click.option("--time-zone", metavar="NAME", help="Local time where none is known, e.g. Europe/Paris.")
@click.option("--allow-mixed-basis", is_flag=True, help="Compare regions whose intensities count different things.")
@click.option("--offline", is_flag=True, help="Never ask the network; what a source said before will do.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw it: .svg, .png or .html.")
@json_option
def schedule(
    hours: float,
    deadline: str,
    regions: tuple[str, ...],
    files: tuple[Path, ...],
    source: str | None,
    start: str | None,
    interruptible: bool,
    slot_min: float | None,
    power: str | None,
    time_zone: str | None,
    allow_mixed_basis: bool,
    offline: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    """When, and in which region, a job's electricity emits the least carbon.

    Finds the best start of a job of H hours that must be done by the deadline, against starting now and against the
    worst start; with --interruptible the best hours. The intensity comes from the package (California: a mean day of
    2017 by season, not a forecast), from your file, or from a service's forecast. Nothing is asked on the network
    unless --source says so.

    \b
    Examples:
      catransformers schedule --hours 6 --deadline 24h --region US-CA --power-w 300 --start 2026-11-21T16:00
      catransformers schedule --hours 8 --deadline 2d --region US-CA --interruptible --plot greenest.svg
      catransformers schedule --hours 3 --region GB --source uk
    """
    names = tuple(name.strip() for part in regions for name in part.split(",") if name.strip())
    folder = cache_folder("intensity") if source is not None else None
    now = datetime.now(UTC)
    problems = Problems()
    problems.of(_check_plot, plot)
    result, notes = plan(
        Request(
            hours,
            deadline,
            names,
            start=start,
            power=power,
            files=files,
            source=source,
            time_zone=time_zone,
            interruptible=interruptible,
            slot_min=slot_min,
            allow_mixed_basis=allow_mixed_basis,
        ),
        now,
        Forecasts(Path(folder) if folder else None, offline),
        problems,
    )
    weighed = power is not None
    paragraphs = [*report.sentences(result, now, weighed=weighed), *notes]
    if plot is not None:
        write_whole(plot, report.drawing(result, plot.suffix.lower(), paragraphs, weighed=weighed))
    if as_json:
        print_json(report.schedule_object(result, weighed=weighed, interruptible=interruptible, notes=notes))
        return
    show_schedule(result, paragraphs, weighed=weighed)
    if plot is not None:
        console().print(text(f"\n{plot} is written."))


def _check_plot(path: Path | None) -> None:
    if path is not None and path.suffix.lower() not in PICTURES:
        raise InputError(Problem("--plot", f"{path} has no known ending", ", ".join(PICTURES)))
