"""Electricity Maps, API v3: forecast and recent history of zones all over the world, with a token.

`GET /v3/carbon-intensity/forecast?zone=…` → `{"zone", "forecast": [{"carbonIntensity", "datetime"}…]}` in gCO2e/kWh and
UTC; the header `auth-token` holds the key. Life cycle emissions of the electricity consumed (flows between zones are
traced), average of all plants. Documented at portal.electricitymaps.com/docs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from catransformers.carbon.grid import Basis
from catransformers.intensity.hourly import IntensityProfile, Provenance
from catransformers.intensity.http import Http, base_url, secret_of
from catransformers.intensity.source import asked, items, local_time, point, profile

WHO = "Electricity Maps"
TOKEN, URL = "ELECTRICITY_MAPS_TOKEN", "ELECTRICITY_MAPS_URL"
HORIZONS_H = (24, 48, 72)


@dataclass(frozen=True, slots=True)
class ElectricityMaps:
    """Client of Electricity Maps; see the module."""

    base: str
    token: str = field(repr=False)

    @classmethod
    def address(cls, environ: Mapping[str, str]) -> str:
        """See `IntensitySource`."""
        return base_url(environ.get(URL) or "https://api.electricitymaps.com", URL, secret=True)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> ElectricityMaps:
        """From `ELECTRICITY_MAPS_TOKEN` (and `ELECTRICITY_MAPS_URL`); raises like `IntensitySource`."""
        return cls(cls.address(environ), secret_of(environ, TOKEN))

    def fetch(self, zone: str, start: datetime, end: datetime, now: datetime, http: Http) -> IntensityProfile:
        """See `IntensitySource`; the history of the last day too when the forecast begins after `start`."""
        hours = math.ceil((end - now).total_seconds() / 3600) + 1
        query = {"zone": zone}
        if hours > HORIZONS_H[0]:
            query["horizonHours"] = str(next((h for h in HORIZONS_H if h >= hours), HORIZONS_H[-1]))
        points = self._points("forecast", query, http)
        first = min(p.time for p in points)
        if first > start:
            known = {p.time for p in points}
            points += [p for p in self._points("history", {"zone": zone}, http) if p.time not in known]
        origin = Provenance(
            zone,
            local_time(zone),
            Basis("lifecycle", "consumption", "average"),
            "forecast",
            source="Electricity Maps, api v3",
            licence="as agreed with Electricity Maps",
        )
        return profile(WHO, points, origin)

    def _points(self, kind: str, query: Mapping[str, str], http: Http) -> list[Any]:
        url = f"{self.base}/v3/carbon-intensity/{kind}?{urlencode(query)}"
        answer = asked(
            WHO,
            query["zone"],
            TOKEN,
            "api.electricitymaps.com/v3/zones",
            lambda: http.get_json(WHO, url, headers={"auth-token": self.token}, secrets=(self.token,)),
        )
        return [
            point(WHO, entry, f"{kind}[{number}]", "datetime", "carbonIntensity")
            for number, entry in enumerate(items(WHO, answer, kind))
        ]
