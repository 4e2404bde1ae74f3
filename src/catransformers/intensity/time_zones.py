"""The local time of a region: its time zone by the IANA's name.

A region is a code as in the grid tables (`FR`, `US-CA`) or a source's own zone (`US-CAL-CISO`, `CAISO_NORTH`): then the
longest beginning that is known decides, for a zone lies in its country. A country with several time zones and no row
of its own has none here; the caller says UTC, and says so.

Source: the IANA's `zone.tab` for countries with one time zone; for others, their states and sources' own zones the
table `time_zones` (one source a row).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from catransformers.errors import InputError, Problem
from catransformers.facts import rows


@cache
def _table() -> Mapping[str, str]:
    lines = files("tzdata").joinpath("zoneinfo/zone.tab").read_text(encoding="utf-8").splitlines()
    named = [line.split("\t") for line in lines if not line.startswith("#")]
    zones = Counter(country for country, *_ in named)
    whole = {country: zone for country, _, zone, *_ in named if zones[country] == 1}
    return MappingProxyType(whole | {row["code"]: row["time_zone"] for row in rows("time_zones")})


def time_zone_of(region: str) -> str | None:
    """The IANA name of a region's time zone, or None where none is known.

    >>> time_zone_of("US-CA"), time_zone_of("DK-DK1"), time_zone_of("US")
    ('America/Los_Angeles', 'Europe/Copenhagen', None)
    """
    parts = re.split(r"([-_])", region.strip().upper())
    for length in range(len(parts), 0, -2):
        found = _table().get("".join(parts[:length]))
        if found is not None:
            return found
    return None


def zone_info(name: str, *, where: str = "time_zone") -> ZoneInfo:
    """The time zone of an IANA name.

    Raises:
        InputError: if there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        allowed = "an IANA name, such as Europe/Paris or UTC"
        raise InputError(Problem(where, f"unknown time zone {name!r}", allowed)) from error
