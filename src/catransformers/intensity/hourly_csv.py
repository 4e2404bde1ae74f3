"""Hourly intensity from a CSV file, with every mistake told at once and by line; and the profiles that are shipped.

Columns, named in the first line:

- a *series*: `time` (ISO 8601; with its offset from UTC, or local time of `time_zone`) and `g_per_kwh`;
- a *mean day*: `hour` (0 to 23, local time) and `g_per_kwh`, or one column for each season: `DJF`, `MAM`, `JJA`, `SON`;
- both, if you like: `zone`, `time_zone` (IANA), `year`, `scope`, `accounting`, `signal`, `source`, `licence`, the same
  on every line of a zone. Several zones may stand in one file.

Other columns are left alone, unless their name looks like a slip of one of these.
"""

from __future__ import annotations

import csv
import difflib
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import get_args

from catransformers.carbon.grid import MAX_G_PER_KWH, Accounting, Basis, Scope, Signal
from catransformers.errors import InputError, Problem, Problems
from catransformers.facts import rows
from catransformers.intensity.hourly import HOURS_A_DAY, SEASONS, Kind, MeanDay, Point, Profile, Provenance, series
from catransformers.intensity.time_zones import time_zone_of, zone_info
from catransformers.units import G_PER_KG

#: Tables of the package that hold an hourly profile.
SHIPPED = ("grid_hourly_caiso_2017",)

_VALUES = ("time", "hour", "g_per_kwh", *SEASONS)
_ABOUT = ("zone", "time_zone", "year", "scope", "accounting", "signal", "source", "licence")
_WORDS: Mapping[str, tuple[str, ...]] = {
    "scope": get_args(Scope),
    "accounting": get_args(Accounting),
    "signal": get_args(Signal),
}
_YEARS = range(1970, 2200)
_MOST_PROBLEMS = 40

_Line = tuple[int, Mapping[str, str]]


def read_profiles(
    text: str, where: str, *, zone: str | None = None, time_zone: str | None = None
) -> tuple[Profile, ...]:
    """The profiles in the text of a CSV file, one for each zone in it, in the order of the file.

    Args:
        text: the file's content.
        where: what to call it in messages.
        zone: the zone of lines that name none.
        time_zone: of the zones whose lines name none; by default that of the zone, else UTC.

    Raises:
        InputError: with everything that is wrong with it, by line.
    """
    lines, columns, problems = _lines(text, where)
    problems = problems + _check_columns(columns, where)
    if problems:
        raise InputError(_shortened(problems, where))
    return _profiles(lines, where, zone or where, time_zone)


@cache
def shipped_profiles() -> Mapping[str, Profile]:
    """The profiles that come with the package, by zone."""
    found = {}
    for table in SHIPPED:
        for profile in _profiles(tuple(enumerate(rows(table), start=2)), f"{table}.csv", table, None):
            found[profile.origin.zone] = profile
    return found


def _lines(text: str, where: str) -> tuple[list[_Line], list[str], list[Problem]]:
    """The lines as mappings of column to text with their numbers, the columns, and lines of another length."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    lines: list[_Line] = []
    columns: list[str] = []
    problems: list[Problem] = []
    try:
        for row in reader:
            if not any(field.strip() for field in row):
                continue
            if not columns:
                columns = [field.strip() for field in row]
            elif len(row) != len(columns):
                what = f"{len(row)} fields, the first line has {len(columns)}"
                problems.append(Problem(f"{where}, line {reader.line_num}", what))
            else:
                values = (field.strip() for field in row)
                lines.append((reader.line_num, dict(zip(columns, values, strict=True))))
    except csv.Error as error:
        problems.append(Problem(f"{where}, line {reader.line_num}", f"not CSV: {error}"))
    if not lines and not problems:
        problems.append(Problem(where, "holds no lines of values", "columns time or hour, and g_per_kwh"))
    return lines, columns, problems


def _check_columns(columns: Sequence[str], where: str) -> list[Problem]:
    """What is wrong with the first line."""
    place = f"{where}, line 1"
    problems = [Problem(place, f"the column {name!r} stands twice") for name in _twice(columns)]
    for name in columns:
        near = difflib.get_close_matches(name, [*_VALUES, *_ABOUT], n=1, cutoff=0.8)
        if near and name not in near and near[0] not in columns:
            problems.append(Problem(place, f"unknown column {name!r}", hint=f"did you mean {near[0]!r}?"))
    if problems:
        return problems
    times, seasons = {"time", "hour"} & set(columns), set(SEASONS) & set(columns)
    if len(times) != 1:
        given = "both time and hour" if times else "neither time nor hour"
        problems.append(Problem(place, f"has {given}", "time (a series) or hour (a mean day)"))
    if seasons and "time" in times:
        problems.append(Problem(place, "seasons belong to a mean day, not to a series", "time and g_per_kwh"))
    elif seasons and ("g_per_kwh" in columns or len(seasons) < len(SEASONS)):
        allowed = f"either g_per_kwh or all of {', '.join(SEASONS)}"
        problems.append(Problem(place, f"has {', '.join(c for c in columns if c in _VALUES[2:])}", allowed))
    elif not seasons and "g_per_kwh" not in columns:
        problems.append(Problem(place, "has no column g_per_kwh", hint="write the values in grams per kilowatt-hour"))
    return problems


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _profiles(lines: Sequence[_Line], where: str, zone: str, time_zone: str | None) -> tuple[Profile, ...]:
    zones: dict[str, list[_Line]] = {}
    for number, line in lines:
        zones.setdefault(line.get("zone") or zone, []).append((number, line))
    profiles: list[Profile] = []
    problems: list[Problem] = []
    for name, part in zones.items():
        kind: Kind = "mean profile" if "hour" in part[0][1] else "as given"
        origin, wrong = _origin(name, kind, part, where, time_zone)
        problems += wrong
        profile, wrong = (_series if kind == "as given" else _mean_day)(part, origin, where)
        problems += wrong
        if profile is not None:
            profiles.append(profile)
    if problems:
        raise InputError(_shortened(problems, where))
    return tuple(profiles)


def _origin(
    zone: str, kind: Kind, lines: Sequence[_Line], where: str, time_zone: str | None
) -> tuple[Provenance, list[Problem]]:
    """What the lines of a zone say about themselves; it has to be the same on each."""
    about: dict[str, str] = {}
    problems = Problems()
    first = lines[0][0]
    for column in _ABOUT[1:]:
        about[column] = lines[0][1].get(column, "")
        for number, line in lines[1:]:
            if line.get(column, "") != about[column]:
                what = f"{column} is {line[column]!r}, on line {first} it is {about[column]!r}"
                problems.append(Problem(f"{where}, line {number}", what, f"one {column} a zone"))
                break
    words = {}
    for column, options in _WORDS.items():
        words[column] = about[column] or "unstated"
        if words[column] not in options:
            problems.append(
                Problem(f"{where}, line {first}", f"unknown {column} {about[column]!r}", ", ".join(options))
            )
            words[column] = "unstated"
    year = None
    if about["year"]:
        year = int(about["year"]) if about["year"].isascii() and about["year"].isdigit() else 0
        if year not in _YEARS:
            allowed = f"{_YEARS.start} to {_YEARS.stop - 1}"
            problems.append(Problem(f"{where}, line {first}", f"{about['year']!r} is not a year", allowed))
    name = about["time_zone"] or time_zone or time_zone_of(zone) or "UTC"
    if problems.of(zone_info, name, where=f"{where}, line {first}") is None:
        name = "UTC"
    basis = Basis(words["scope"], words["accounting"], words["signal"])  # type: ignore[arg-type]  # checked above
    return Provenance(zone, name, basis, kind, year, about["source"], about["licence"]), problems


def _number(text: str, place: str) -> tuple[float, list[Problem]]:
    """A value in g/kWh, and what is wrong with it."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0 <= value <= MAX_G_PER_KWH:
        return value, []
    what = f"{text!r} is not an intensity" if text else "the intensity is missing"
    return math.nan, [Problem(place, what, "a number of g/kWh, ≥ 0")]


def _mean_day(lines: Sequence[_Line], origin: Provenance, where: str) -> tuple[Profile | None, list[Problem]]:
    columns = SEASONS if SEASONS[0] in lines[0][1] else ("g_per_kwh",)
    found: dict[int, tuple[int, list[float]]] = {}
    problems: list[Problem] = []
    for number, line in lines:
        place, text = f"{where}, line {number}", line["hour"]
        values = []
        for column in columns:
            value, wrong = _number(line[column], place)
            values.append(value)
            problems += wrong
        hour = int(text) if text.isascii() and text.isdigit() else -1
        if not 0 <= hour < HOURS_A_DAY:
            problems.append(Problem(place, f"{text!r} is not an hour", "0 to 23"))
        elif hour in found:
            problems.append(Problem(place, f"hour {hour} stands twice: also on line {found[hour][0]}"))
        else:
            found[hour] = (number, values)
    missing = [str(hour) for hour in range(HOURS_A_DAY) if hour not in found]
    if missing:
        noun = "hour" if len(missing) == 1 else "hours"
        problems.append(Problem(where, f"{noun} {', '.join(missing)} of {origin.zone} missing", "all of 0 to 23"))
    if problems:
        return None, problems
    hours = [found[hour][1] for hour in range(HOURS_A_DAY)]
    days = [tuple(values[min(s, len(columns) - 1)] / G_PER_KG for values in hours) for s in range(len(SEASONS))]
    return MeanDay(origin, tuple(days)), []


def _series(lines: Sequence[_Line], origin: Provenance, where: str) -> tuple[Profile | None, list[Problem]]:
    points: list[Point] = []
    problems: list[Problem] = []
    local: set[datetime] = set()
    for number, line in lines:
        place = f"line {number}"
        value, wrong = _number(line["g_per_kwh"], f"{where}, {place}")
        moment, odd = _time(line["time"], origin, f"{where}, {place}", local)
        problems += [*wrong, *odd]
        if moment is not None:
            points.append(Point(place, moment, 0.0 if wrong else value))
    if not points:
        return None, problems
    profile, more = series(points, origin, where=where)
    return (None, [*problems, *more]) if problems else (profile, more)


def _time(text: str, origin: Provenance, place: str, local: set[datetime]) -> tuple[datetime | None, list[Problem]]:
    """A moment in UTC. Of a local time that comes twice (clocks go back), the second on file is the second in time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None, [
            Problem(place, f"{text!r} is not a time", "ISO 8601: 2026-11-21T10:00+01:00, or without the offset")
        ]
    if moment.year not in _YEARS:
        return None, [Problem(place, f"the year {moment.year}", f"{_YEARS.start} to {_YEARS.stop - 1}")]
    if moment.tzinfo is None:
        naive, zone = moment, origin.zone_info
        moment = naive.replace(tzinfo=zone, fold=int(naive in local))
        local.add(naive)
        if moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != naive:
            what = f"{text} does not exist in {origin.time_zone}: the clocks go forward then"
            return None, [Problem(place, what)]
    return moment.astimezone(UTC), []


def _shortened(problems: Sequence[Problem], where: str) -> list[Problem]:
    """At most `_MOST_PROBLEMS`, and how many there are beside them."""
    if len(problems) <= _MOST_PROBLEMS:
        return list(problems)
    rest = len(problems) - _MOST_PROBLEMS
    return [*problems[:_MOST_PROBLEMS], Problem(where, f"and {rest:,} more problems of this kind")]
