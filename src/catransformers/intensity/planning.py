"""Schedule requests as a person asks: spans and moments in words, regions by name; then `scheduling` in their terms.

Messages name the options of `catransformers schedule`, which are the arguments here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

from catransformers.errors import InputError, Problem, Problems, present
from catransformers.intensity.hourly import IntensityProfile, Profile
from catransformers.intensity.lookup import Forecasts, profiles
from catransformers.intensity.scheduling import Job, Schedule, schedule
from catransformers.intensity.time_zones import time_zone_of, zone_info

_UNITS = {"m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_MOST_HOURS = 24 * 366 * 10
_YEARS = range(1970, 2200)


@dataclass(frozen=True, slots=True)
class Request:
    """A job and the window that it may run in, as text.

    Args:
        hours: how long it runs.
        deadline: when it must be done: a span after the start (`90min`, `24h`, `3d`) or a moment in ISO 8601.
        regions: where it may run, by name; the first is where it would run anyway.
        start: the earliest start, a moment in ISO 8601; None for the next full minute.
        power: watts, or phases as `watts:hours,…`; None for 1 kW, of which only the savings mean something.
        files: hourly intensity as CSV, see `hourly_csv`.
        source: a service that forecasts; without it the network is not asked.
        time_zone: local time where none is known.
        interruptible: whether the job may pause.
        slot_min: the least time to run or pause, minutes.
        allow_mixed_basis: compare regions whose intensities count different things.
    """

    hours: float
    deadline: str = "24h"
    regions: tuple[str, ...] = ()
    start: str | None = None
    power: str | None = None
    files: tuple[Path, ...] = ()
    source: str | None = None
    time_zone: str | None = None
    interruptible: bool = False
    slot_min: float | None = None
    allow_mixed_basis: bool = False


def plan(request: Request, now: datetime, forecasts: Forecasts, problems: Problems) -> tuple[Schedule, list[str]]:
    """The schedule that a request asks for, and notes on what was assumed.

    Args:
        request: what is asked.
        now: with its time zone.
        forecasts: asks the source, if there is one.
        problems: found before; those of the request are told with them.

    Raises:
        InputError: with everything that is wrong with the request.
        InfeasibleError: if the job is longer than the window.
        SourceError: if a source gives no usable answer.
    """
    job = problems.of(read_job, request.hours, request.power)
    slot_s = problems.of(_slot, request.slot_min, request.interruptible)
    names, zone_name, source = request.regions, request.time_zone, request.source
    found: list[Profile] | None = None
    if source is None:
        found = problems.of(profiles, names, now, now, files=request.files, time_zone=zone_name, forecasts=forecasts)
        zone: tzinfo | None = found[0].origin.zone_info if found else UTC
    else:
        problems.of(_check_source, source, names, request.files, forecasts)
        named = zone_name or time_zone_of(names[0] if names else "") or "UTC"
        zone = problems.of(zone_info, named, where="--time-zone")
    asked = request.start
    earliest = _next_minute(now) if asked is None else problems.of(read_moment, asked, zone or UTC, "--start")
    latest = problems.of(read_deadline, request.deadline, earliest or now, zone or UTC)
    problems.finish()
    earliest, latest = present(earliest), present(latest)
    notes: list[str] = []
    if found is None:
        found = profiles(names, earliest, latest, source=source, time_zone=zone_name, forecasts=forecasts)
        if asked is None:
            earliest = _not_before_the_forecast(found, earliest, notes)
    notes += [
        f"No time zone is known for {profile.origin.zone}: its times are UTC (--time-zone names another)."
        for profile in found
        if profile.origin.time_zone == "UTC" and zone_name != "UTC"
    ]
    try:
        result = schedule(
            found,
            present(job),
            earliest,
            latest,
            interruptible=request.interruptible,
            slot_s=slot_s,
            allow_mixed_basis=request.allow_mixed_basis,
        )
    except InputError as error:
        raise InputError([_with_option(problem) for problem in error.problems]) from error
    return result, notes


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
    problems = Problems()
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
    problems.finish()
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
