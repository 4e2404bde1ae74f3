"""The Carbon Intensity API of Great Britain (National Grid ESO): 48 hours in half hours, no key.

`GET /intensity/{from}/fw48h` → `{"data": [{"from", "to", "intensity": {"forecast", "actual", "index"}}…]}` in gCO2/kWh;
of a region 1 to 17 `GET /regional/intensity/{from}/fw48h/regionid/{id}`, whose `data` has the list in its own `data`.
Emissions of generation (not of fuel supply or building), of the electricity consumed, imports included. Documented at
carbon-intensity.github.io/api-definitions, the method by A. R. W. Bruce, L. Ruff et al.; licence CC BY 4.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from catransformers.carbon.grid import Basis
from catransformers.errors import InputError, Problem
from catransformers.intensity.hourly import IntensityProfile, Provenance
from catransformers.intensity.http import Http, base_url
from catransformers.intensity.source import asked, item, items, point, profile

WHO = "the Carbon Intensity API"
URL = "UK_CARBON_INTENSITY_URL"
HALF_HOUR_S = 1800
COUNTRY = ("GB", "UK", "GBR")
REGIONS = 17


@dataclass(frozen=True, slots=True)
class UnitedKingdom:
    """Client of the Carbon Intensity API; see the module."""

    base: str

    @classmethod
    def address(cls, environ: Mapping[str, str]) -> str:
        """See `IntensitySource`."""
        return base_url(environ.get(URL) or "https://api.carbonintensity.org.uk", URL, secret=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> UnitedKingdom:
        """Needs no key; `UK_CARBON_INTENSITY_URL` names another server."""
        return cls(cls.address(environ))

    def fetch(self, zone: str, start: datetime, end: datetime, now: datetime, http: Http) -> IntensityProfile:
        """See `IntensitySource`. A zone is `GB`, or `GB-1` to `GB-17` for the regions of the API."""
        del end, now  # it answers for 48 hours from `start`, whatever is asked
        region = _region(zone)
        begin = start.astimezone(UTC)
        begin -= timedelta(seconds=begin.timestamp() % HALF_HOUR_S)
        path = f"intensity/{begin:%Y-%m-%dT%H:%MZ}/fw48h"
        url = f"{self.base}/{path}" if region is None else f"{self.base}/regional/{path}/regionid/{region}"
        answer = asked(WHO, zone, "", "GB, GB-1 to GB-17", lambda: http.get_json(WHO, url))
        if region is not None:
            answer = item(WHO, answer, "data")
            answer = answer[0] if isinstance(answer, list) and answer else answer
        points = [
            point(WHO, _known(entry), f"data[{number}]", "from", "intensity", "forecast")
            for number, entry in enumerate(items(WHO, answer, "data"))
        ]
        origin = Provenance(
            zone,
            "Europe/London",
            Basis("direct", "consumption", "average"),
            "forecast",
            source="Carbon Intensity API (National Grid ESO, Environmental Defense Fund Europe, Oxford, WWF)",
            licence="CC BY 4.0",
        )
        return profile(WHO, points, origin, HALF_HOUR_S)


def _region(zone: str) -> int | None:
    name, _, number = zone.upper().partition("-")
    if name in COUNTRY and not number:
        return None
    if name in COUNTRY and number.isascii() and number.isdigit() and 1 <= int(number) <= REGIONS:
        return int(number)
    allowed = f"GB, or GB-1 to GB-{REGIONS} for its regions"
    raise InputError(Problem(f"region {zone!r}", "is not one of the Carbon Intensity API", allowed))


def _known(entry: Any) -> Any:
    """An entry whose forecast is missing, with what was measured in its place."""
    try:
        if entry["intensity"]["forecast"] is None:
            return {**entry, "intensity": {"forecast": entry["intensity"]["actual"]}}
    except (KeyError, TypeError):
        pass
    return entry
