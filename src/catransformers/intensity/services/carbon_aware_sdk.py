"""A server of the Green Software Foundation's Carbon Aware SDK, which somebody runs for their own services.

`GET /emissions/forecasts/current?location=…` → `[{"location", "generatedAt", "forecastData": [{"timestamp", "duration"
(minutes), "value"}…]}…]` in gCO2/kWh. The server passes on what its own source says (WattTime's marginal or Electricity
Maps' average, as its owner set it up), so that the basis is unstated here. Documented at
carbon-aware-sdk.greensoftware.foundation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from catransformers.errors import InputError, Problem
from catransformers.intensity.hourly import IntensityProfile, Provenance
from catransformers.intensity.http import Http, base_url
from catransformers.intensity.source import asked, item, items, local_time, point, profile

WHO = "the Carbon Aware SDK server"
URL = "CARBON_AWARE_SDK_URL"


@dataclass(frozen=True, slots=True)
class CarbonAwareSdk:
    """Client of a Carbon Aware SDK server; see the module."""

    base: str

    @classmethod
    def address(cls, environ: Mapping[str, str]) -> str:
        """See `IntensitySource`."""
        text = environ.get(URL, "").strip()
        if not text:
            raise InputError(Problem(URL, "is not set", hint=f"set it in the environment: export {URL}=https://…"))
        return base_url(text, URL, secret=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> CarbonAwareSdk:
        """From `CARBON_AWARE_SDK_URL`; raises like `IntensitySource`."""
        return cls(cls.address(environ))

    def fetch(self, zone: str, start: datetime, end: datetime, now: datetime, http: Http) -> IntensityProfile:
        """See `IntensitySource`. A zone is a location of the server, `westus` say."""
        del start, end, now  # the server's current forecast is what there is
        url = f"{self.base}/emissions/forecasts/current?{urlencode({'location': zone})}"
        answer = asked(WHO, zone, "", "its /locations", lambda: http.get_json(WHO, url))
        data = items(WHO, answer, 0, "forecastData")
        minutes = item(WHO, data[0], "duration")
        points = [
            point(WHO, entry, f"forecastData[{number}]", "timestamp", "value") for number, entry in enumerate(data)
        ]
        origin = Provenance(
            zone,
            local_time(zone),
            kind="forecast",
            source="a Carbon Aware SDK server",
            licence="that of the server's source",
        )
        return profile(WHO, points, origin, minutes * 60 if isinstance(minutes, int) and minutes > 0 else None)
