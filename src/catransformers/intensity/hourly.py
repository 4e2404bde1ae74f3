"""Grid intensity by the hour: a step function of time, with what it counts, where, and whose number it is.

Two kinds. A *series* (`IntensityProfile`) is dated: a forecast, or a record of the past. A *mean day* (`MeanDay`) is 24
hours of local time by season; laid over any days it gives a series, which is a typical pattern and no forecast, and
says so. Both answer `between(start, end)` with a series, so that whoever schedules knows one kind only.

A value holds from its time until the next one. Times are kept in UTC; the zone's local time is for people and for mean
days, whose 24 hours are those of the clock on the wall, summer time included.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from catransformers.carbon.grid import MAX_G_PER_KWH, Basis
from catransformers.errors import InputError, Problem, Problems
from catransformers.intensity.time_zones import zone_info
from catransformers.units import G_PER_KG

UNSTATED = Basis()
Kind = Literal["forecast", "measured", "mean profile", "as given"]

HOUR_S = 3600
HOURS_A_DAY = 24
#: Season of each month, January first: winter, spring, summer, autumn by the initials of their months.
SEASONS = ("DJF", "MAM", "JJA", "SON")
SEASON_OF_MONTH = tuple(SEASONS[month % 12 // 3] for month in range(1, 13))
_MOST_VALUES = 2_000_000  # three centuries of hours, 19 years of five minutes


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a profile holds and whose numbers it has.

    Args:
        zone: the grid, as its source calls it.
        time_zone: IANA name of the zone's local time.
        basis: what the intensity counts.
        kind: `forecast`, `measured`, `mean profile` (a typical day), or `as given` by the user.
        year: that the numbers are from; None where it goes without saying (a forecast).
        source, licence: as the source has them.
        fetched: when a source on the network gave it; None for files and tables.
    """

    zone: str
    time_zone: str = "UTC"
    basis: Basis = UNSTATED
    kind: Kind = "as given"
    year: int | None = None
    source: str = ""
    licence: str = ""
    fetched: datetime | None = None

    @property
    def zone_info(self) -> ZoneInfo:
        """The zone's local time."""
        return zone_info(self.time_zone)

    def describe(self) -> str:
        """What kind of number it is, in words: `2017 mean profile, not a forecast (lifecycle, average)`."""
        year = f"{self.year} " if self.year is not None else ""
        kind = f"{year}mean profile, not a forecast" if self.kind == "mean profile" else f"{year}{self.kind}"
        return f"{kind} (basis: {self.basis})"

    def to_dict(self) -> dict[str, object]:
        """Plain values with stable keys, for JSON."""
        return {
            "zone": self.zone,
            "time_zone": self.time_zone,
            "kind": self.kind,
            "year": self.year,
            "basis": str(self.basis),
            "source": self.source,
            "licence": self.licence,
            "fetched": self.fetched.isoformat() if self.fetched else None,
        }


@dataclass(frozen=True, slots=True)
class IntensityProfile:
    """A grid's carbon intensity over a stretch of time, in equal steps without gaps.

    Args:
        origin: where and whose.
        start: when the first value begins; with a time zone, kept in UTC.
        step_s: seconds that each value holds; a divisor of an hour.
        intensity_kg_per_kwh: the values, (n,), finite and ≥ 0.

    Raises:
        InputError: for anything else.
    """

    origin: Provenance
    start: datetime
    step_s: int
    intensity_kg_per_kwh: tuple[float, ...]

    def __post_init__(self) -> None:
        zone, values = self.origin.zone, self.intensity_kg_per_kwh
        problems = Problems()
        if self.start.tzinfo is None:
            problems.append(Problem(zone, f"the time {self.start.isoformat()} has no time zone"))
        else:
            object.__setattr__(self, "start", self.start.astimezone(UTC))
        if not 0 < self.step_s <= HOUR_S or HOUR_S % self.step_s:
            problems.append(Problem(zone, f"steps of {self.step_s} s", "an hour or a whole fraction of it"))
        if not 0 < len(values) <= _MOST_VALUES:
            problems.append(Problem(zone, f"{len(values):,} values", f"1 to {_MOST_VALUES:,}"))
        if not all(0 <= value <= MAX_G_PER_KWH / G_PER_KG for value in values):
            problems.append(Problem(zone, "an intensity is negative or not finite", "numbers ≥ 0"))
        problems.finish()

    @property
    def end(self) -> datetime:
        """When the last value ends (UTC)."""
        return self.start + timedelta(seconds=self.step_s * len(self.intensity_kg_per_kwh))

    def covers(self, start: datetime, end: datetime) -> bool:
        """Whether a value is known for all of `start` to `end`."""
        return self.start <= start and end <= self.end

    def at(self, moment: datetime) -> float:
        """The intensity at a moment, kg/kWh.

        Raises:
            InputError: if the profile says nothing of it.
        """
        position = (moment - self.start) // timedelta(seconds=self.step_s)
        if not 0 <= position < len(self.intensity_kg_per_kwh):
            raise InputError(self._outside(moment, moment))
        return self.intensity_kg_per_kwh[position]

    def between(self, start: datetime, end: datetime) -> IntensityProfile:
        """The steps that `start` to `end` (with time zones) need.

        Raises:
            InputError: if the profile does not cover it; the message says what it covers.
        """
        if not self.covers(start, end):
            raise InputError(self._outside(start, end))
        step = timedelta(seconds=self.step_s)
        first = (start - self.start) // step
        last = max(first + 1, -((self.start - end) // step))
        return replace(
            self, start=self.start + first * step, intensity_kg_per_kwh=self.intensity_kg_per_kwh[first:last]
        )

    def _outside(self, start: datetime, end: datetime) -> Problem:
        zone = self.origin.zone_info
        asked, known = (
            f"{a.astimezone(zone):%Y-%m-%d %H:%M} to {b.astimezone(zone):%Y-%m-%d %H:%M}"
            for a, b in ((start, end), (self.start, self.end))
        )
        hint = "a shorter deadline, another start, or a profile that reaches further"
        where = f"the intensity of {self.origin.zone}"
        return Problem(where, f"does not cover {asked} ({self.origin.time_zone})", f"{known}, which it covers", hint)


@dataclass(frozen=True, slots=True)
class MeanDay:
    """A typical day by season: 24 hours of local time for each of the four seasons.

    Args:
        origin: where and whose; its kind is `mean profile`.
        intensity_kg_per_kwh: (4, 24), seasons in the order of `SEASONS`, hour 0 first.
    """

    origin: Provenance
    intensity_kg_per_kwh: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        shape = [len(day) for day in self.intensity_kg_per_kwh]
        if shape != [HOURS_A_DAY] * len(SEASONS):
            raise InputError(Problem(self.origin.zone, f"a mean day of {shape} values", "24 for each of four seasons"))
        if not all(0 <= value <= MAX_G_PER_KWH / G_PER_KG for day in self.intensity_kg_per_kwh for value in day):
            raise InputError(Problem(self.origin.zone, "an intensity is negative or not finite", "numbers ≥ 0"))

    def between(self, start: datetime, end: datetime) -> IntensityProfile:
        """The typical days laid over `start` to `end` (with time zones).

        Raises:
            InputError: if that is more than the values that a profile may have.
        """
        zone = self.origin.zone_info
        begin = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        hours = max(1, math.ceil((end - begin) / timedelta(hours=1)))
        if hours > _MOST_VALUES:
            raise InputError(Problem(self.origin.zone, f"{hours:,} hours", f"at most {_MOST_VALUES:,}"))
        step = _step_of_offsets(zone, begin, hours)
        values = []
        for number in range(hours * HOUR_S // step):
            local = (begin + timedelta(seconds=number * step)).astimezone(zone)
            season = SEASONS.index(SEASON_OF_MONTH[local.month - 1])
            values.append(self.intensity_kg_per_kwh[season][local.hour])
        return IntensityProfile(self.origin, begin, step, tuple(values))


Profile = IntensityProfile | MeanDay


def _step_of_offsets(zone: ZoneInfo, begin: datetime, hours: int) -> int:
    """Seconds between whole hours of UTC and of local time, at most an hour: 1,800 in India, 900 in Nepal."""
    offsets = {(begin + timedelta(hours=n)).astimezone(zone).utcoffset() or timedelta(0) for n in range(hours + 1)}
    return math.gcd(HOUR_S, *(int(offset.total_seconds()) for offset in offsets))


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a series as it was read: `where` it stands (`line 7`), when it begins, g/kWh."""

    where: str
    time: datetime
    g_per_kwh: float


def series(
    points: Sequence[Point], origin: Provenance, *, where: str, step_s: int | None = None
) -> tuple[IntensityProfile | None, list[Problem]]:
    """A profile from points in any order, or everything that keeps them from being one.

    Args:
        points: with times that have a time zone.
        origin: where and whose.
        where: what to call the input in messages.
        step_s: seconds between values; found from the times if not given (an hour for a single one).

    Returns:
        The profile and no problems, or None and all problems: duplicates, gaps, times off the grid, steps that do not
        divide an hour, negative values and values that are not numbers.
    """
    problems = [
        Problem(f"{where}, {point.where}", f"{point.g_per_kwh:g} g/kWh is not an intensity", "a number ≥ 0")
        for point in points
        if not 0 <= point.g_per_kwh <= MAX_G_PER_KWH
    ]
    # In UTC: the difference of two times of one zone with summer time is one of clocks on the wall, not of time.
    ordered = sorted((replace(point, time=point.time.astimezone(UTC)) for point in points), key=lambda p: p.time)
    unique: list[Point] = []
    for point in ordered:
        if unique and unique[-1].time == point.time:
            what = f"the time {_stamp(point.time)} stands twice: also in {unique[-1].where}"
            problems.append(Problem(f"{where}, {point.where}", what))
        else:
            unique.append(point)
    if not unique:
        return None, [*problems, Problem(where, "holds no values")]
    step = step_s or _usual_step(unique)
    if not 0 < step <= HOUR_S or HOUR_S % step:
        what = f"most values are {step} s apart"
        return None, [*problems, Problem(where, what, "an hour or a whole fraction of it (30, 15 or 5 minutes)")]
    problems += _gaps(unique, step, where)
    if problems:
        return None, problems
    return IntensityProfile(origin, unique[0].time, step, tuple(p.g_per_kwh / G_PER_KG for p in unique)), []


def _usual_step(points: Sequence[Point]) -> int:
    """The commonest distance of neighbours in whole seconds, the shorter one of equals; an hour for a single point."""
    distances = Counter(int((b.time - a.time).total_seconds()) for a, b in pairwise(points))
    if not distances:
        return HOUR_S
    most = max(distances.values())
    return min(distance for distance, count in distances.items() if count == most)


def _gaps(points: Sequence[Point], step_s: int, where: str) -> list[Problem]:
    """Missing stretches and times between the steps."""
    step, problems = timedelta(seconds=step_s), []
    for before, after in pairwise(points):
        missing, rest = divmod(after.time - before.time, step)
        place = f"{where}, {after.where}"
        if rest:
            what = f"{_stamp(after.time)} is not a whole number of steps after {_stamp(before.time)} ({before.where})"
            problems.append(Problem(place, what, f"steps of {step_s} s"))
        elif missing > 1:
            first, last = _stamp(before.time + step), _stamp(after.time - step)
            which = f"{first} is" if missing == 2 else f"{first} to {last} ({missing - 1} values) are"
            problems.append(Problem(place, f"{which} missing before it"))
    return problems


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")
