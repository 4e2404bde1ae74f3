"""`catransformers schedule`: when, and in which region, a job's electricity emits the least."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

import click

from catransformers.cli.output import json_option, print_json
from catransformers.errors import InputError, Problem, Problems, present
from catransformers.execution.cache import cache_folder
from catransformers.files import write_whole
from catransformers.intensity import scheduling
from catransformers.intensity.hourly import IntensityProfile, Profile
from catransformers.intensity.lookup import Forecasts, profiles
from catransformers.intensity.scheduling import Job
from catransformers.intensity.time_zones import time_zone_of, zone_info
from catransformers.reports.schedule import report
from catransformers.reports.terminal.schedule import show_schedule
from catransformers.reports.terminal.screen import console, text

if TYPE_CHECKING:
    from collections.abc import Sequence


PICTURES = (".svg", ".png", ".html")
_UNITS = {"m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_MOST_HOURS = 24 * 366 * 10
_YEARS = range(1970, 2200)


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
    names = [name.strip() for part in regions for name in part.split(",") if name.strip()]
    folder = cache_folder("intensity") if source is not None else None
    forecasts = Forecasts(Path(folder) if folder else None, offline)
    now = datetime.now(UTC)

    problems = Problems()
    job = problems.of(read_job, hours, power)
    slot_s = problems.of(_slot, slot_min, interruptible)
    problems.of(_check_plot, plot)
    found: list[Profile] | None = None
    if source is None:
        found = problems.of(profiles, names, now, now, files=files, time_zone=time_zone, forecasts=forecasts)
        zone: tzinfo | None = found[0].origin.zone_info if found else UTC
    else:
        problems.of(_check_source, source, names, files, forecasts)
        named = time_zone or time_zone_of(names[0] if names else "") or "UTC"
        zone = problems.of(zone_info, named, where="--time-zone")
    earliest = problems.of(read_moment, start, zone or UTC, "--start") if start is not None else _next_minute(now)
    latest = problems.of(read_deadline, deadline, earliest or now, zone or UTC)
    problems.finish()
    earliest, latest = present(earliest), present(latest)
    notes: list[str] = []
    if found is None:
        found = profiles(names, earliest, latest, source=source, time_zone=time_zone, forecasts=forecasts)
        if start is None:
            earliest = _not_before_the_forecast(found, earliest, notes)
    notes += [
        f"No time zone is known for {profile.origin.zone}: its times are UTC (--time-zone names another)."
        for profile in found
        if profile.origin.time_zone == "UTC" and time_zone != "UTC"
    ]
    try:
        result = scheduling.schedule(
            found,
            present(job),
            earliest,
            latest,
            interruptible=interruptible,
            slot_s=slot_s,
            allow_mixed_basis=allow_mixed_basis,
        )
    except InputError as error:
        raise InputError([_with_option(problem) for problem in error.problems]) from error
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


def _with_option(problem: Problem) -> Problem:
    """The way out of comparing different bases is an option here."""
    if "count different things" not in problem.what:
        return problem
    return Problem(problem.where, problem.what, problem.allowed, "--allow-mixed-basis compares them all the same")


def read_job(hours: float, power: str | None) -> Job:
    """The job of `--hours` and `--power-w`; 1 kW where no power is given.

    Raises:
        InputError: for hours or watts that cannot be, and phases that do not add up to the hours.
    """
    problems = []
    if not 1 / 3600 <= hours <= _MOST_HOURS:
        problems.append(Problem("--hours", f"{hours:g} h", f"a second to {_MOST_HOURS:,} h"))
    phases: list[tuple[float, float]] = []
    for part in power.split(",") if power is not None else []:
        watts, colon, span = part.partition(":")
        try:
            phase = (float(span) * 3600 if colon else hours * 3600, float(watts))
        except ValueError:
            phase = (math.nan, math.nan)
        if not (1 <= phase[0] < math.inf and 0 < phase[1] < math.inf) and not problems:
            problems.append(Problem("--power-w", f"{part!r}", "watts > 0, or phases as watts:hours (100:1,300:5)"))
        phases.append(phase)
    total = sum(seconds for seconds, _ in phases) / 3600
    if phases and not problems and not math.isclose(total, hours, rel_tol=1e-6):
        problems.append(Problem("--power-w", f"its phases last {total:g} h, the job {hours:g} h", "the same"))
    if problems:
        raise InputError(problems)
    return Job(tuple(phases)) if phases else Job.constant(hours)


def read_moment(text: str, zone: tzinfo, where: str) -> datetime:
    """A moment in ISO 8601; without an offset it is local time of `zone`.

    Raises:
        InputError: if it is none.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        allowed = "a time such as 2026-11-21T10:00, 2026-11-21T10:00+01:00 or 2026-11-21T09:00Z"
        raise InputError(Problem(where, f"{text!r} is not a time", allowed)) from error
    if moment.year not in _YEARS:
        raise InputError(Problem(where, f"the year {moment.year}", f"{_YEARS.start} to {_YEARS.stop - 1}"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def read_deadline(text: str, earliest: datetime, zone: tzinfo) -> datetime:
    """A deadline as a span after the earliest start (`90min`, `24h`, `3d`) or as a moment.

    Raises:
        InputError: if it is neither, or not after the earliest start.
    """
    span = re.fullmatch(r"(\d{1,7}(?:\.\d{1,6})?)\s*(m|min|h|d)", text.strip())
    if span is None:
        latest = read_moment(text, zone, "--deadline") if re.match(r"\s*\d{4}", text) else None
        if latest is None:
            raise InputError(Problem("--deadline", f"{text!r} is not a deadline", "90min, 24h, 3d, or a time"))
    else:
        seconds = float(span[1]) * _UNITS[span[2]]
        if seconds > _MOST_HOURS * 3600:
            raise InputError(Problem("--deadline", f"{text!r} is too far off", f"at most {_MOST_HOURS:,} h"))
        latest = earliest + timedelta(seconds=seconds)
    if latest <= earliest:
        raise InputError(Problem("--deadline", f"{text} is not after the start, {earliest.isoformat()}"))
    return latest


def _slot(minutes: float | None, interruptible: bool) -> float | None:
    if minutes is None:
        return None
    if not interruptible:
        raise InputError(Problem("--slot-min", "is given without --interruptible"))
    if not 0 < minutes < math.inf:
        raise InputError(Problem("--slot-min", f"{minutes:g} min", "> 0"))
    return minutes * 60


def _check_plot(path: Path | None) -> None:
    if path is not None and path.suffix.lower() not in PICTURES:
        raise InputError(Problem("--plot", f"{path} has no known ending", ", ".join(PICTURES)))


def _check_source(source: str, names: Sequence[str], files: Sequence[Path], forecasts: Forecasts) -> None:
    """Everything that is wrong before the network is asked."""
    problems = Problems()
    if files:
        problems.append(Problem("--profile and --source", "are both given", "one of them"))
    if not names:
        problems.append(Problem("--region", "none given", f"a zone as {source} calls it"))
    problems.of(forecasts.check, source)
    problems.finish()


def _next_minute(now: datetime) -> datetime:
    return (now + timedelta(seconds=59, microseconds=999_999)).replace(second=0, microsecond=0)


def _not_before_the_forecast(found: Sequence[Profile], earliest: datetime, notes: list[str]) -> datetime:
    """Now, or the first moment that the forecasts speak of where that is a little later; then with a note."""
    first = max((profile.start for profile in found if isinstance(profile, IntensityProfile)), default=earliest)
    if not earliest < first <= earliest + timedelta(hours=1):
        return earliest
    notes.append(f"The forecast begins at {first:%H:%M} UTC; now stands for that.")
    return first
