"""What a source of intensity forecasts is, and what all of them do with the answers that they get.

To add one: a file with a class like the others', and its row in `catransformers.registry`, or in another package's
entry points, group `catransformers.intensity_sources`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from catransformers.errors import InputError, Problem
from catransformers.intensity.hourly import IntensityProfile, Point, Provenance, series
from catransformers.intensity.http import Http, RefusedError, SourceError
from catransformers.intensity.time_zones import time_zone_of
from catransformers.units import as_float

T = TypeVar("T")
_SHOWN = 6


class IntensitySource(Protocol):
    """A service that knows the grid's intensity in the coming hours."""

    @classmethod
    def address(cls, environ: Mapping[str, str]) -> str:
        """Where it is asked; part of the cache's key.

        Raises:
            InputError: if a variable names another address and that cannot be one.
        """
        ...

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> IntensitySource:
        """The client, with keys and addresses from the environment.

        Raises:
            InputError: if a variable is missing or cannot be right; names it, and never shows its value.
        """
        ...

    def fetch(self, zone: str, start: datetime, end: datetime, now: datetime, http: Http) -> IntensityProfile:
        """The intensity from `start` to `end`, or as far as the service sees from `now`.

        Raises:
            InputError: for a zone that the service does not know, or a key that it does not accept.
            SourceError: if it gives no usable answer.
        """
        ...


def asked(who: str, zone: str, keys: str, zones: str, call: Callable[[], T]) -> T:
    """The answer of a call, with a refusal turned into words about what the user gave.

    Args:
        who: the service.
        zone: that was asked for.
        keys: the variables that hold its keys; empty if it has none.
        zones: where its zones are listed.
        call: asks.

    Raises:
        InputError: for a refused key (401, 403) or zone (400, 404).
        SourceError: as `call` does.
    """
    try:
        return call()
    except RefusedError as error:
        if error.status == 401 and keys:
            raise InputError(Problem(keys, f"was not accepted: {error}", hint="check the key")) from error
        if error.status == 403:
            hint = f"check what the key allows ({keys})" if keys else ""
            raise InputError(Problem(f"region {zone!r}", f"is not open to you: {error}", hint=hint)) from error
        if error.status in (400, 404):
            raise InputError(Problem(f"region {zone!r}", str(error), hint=f"zones of {who}: {zones}")) from error
        raise


def item(who: str, answer: Any, *path: str | int) -> Any:
    """What stands at a path in an answer.

    Raises:
        SourceError: if there is nothing.
    """
    found = answer
    for part in path:
        try:
            found = found[part]
        except (KeyError, IndexError, TypeError) as error:
            place = ".".join(map(str, path))
            raise SourceError(f"{who}: its answer has no {place!r}; it may have changed") from error
    return found


def items(who: str, answer: Any, *path: str | int) -> list[Any]:
    """The list at a path in an answer.

    Raises:
        SourceError: if there is none, or it is empty.
    """
    found = item(who, answer, *path)
    if not isinstance(found, list) or not found:
        place = ".".join(map(str, path)) or "list"
        raise SourceError(f"{who}: its answer has no values in {place!r}")
    return found


def point(who: str, entry: Any, place: str, time_key: str, *value: str) -> Point:
    """One value of an answer: `time_key` holds when it begins, the path `value` the number. A null is not a number.

    Raises:
        SourceError: for a time that is none, or one without its offset.
    """
    stamp, number = item(who, entry, time_key), item(who, entry, *value)
    try:
        moment = datetime.fromisoformat(stamp)
    except (TypeError, ValueError) as error:
        raise SourceError(f"{who}: its answer has no time in {place}") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)  # the Carbon Aware SDK leaves it out; all of them speak UTC
    known = isinstance(number, int | float) and not isinstance(number, bool)
    return Point(place, moment, as_float(number) if known else float("nan"))


def profile(who: str, points: list[Point], origin: Provenance, step_s: int | None = None) -> IntensityProfile:
    """The points of an answer as a profile.

    Raises:
        SourceError: with everything that keeps them from being one: missing hours, nulls, negative values.
    """
    found, problems = series(points, origin, where=who, step_s=step_s)
    if found is None or problems:
        shown = "; ".join(map(str, problems[:_SHOWN]))
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise SourceError(f"its answer cannot be used: {shown}{more}")
    return found


def local_time(zone: str) -> str:
    """The time zone to show a zone's times in."""
    return time_zone_of(zone) or "UTC"
