"""WattTime, API v3: marginal emissions of balancing areas, forecast in steps of five minutes, with an account.

`GET /login` with user and password (basic authentication) → `{"token"}`, good for 30 minutes; then
`GET /v3/forecast?region=…&signal_type=co2_moer&horizon_hours=…` with it as bearer → `{"data": [{"point_time",
"value"}…], "meta": {"units": "lbs_co2_per_mwh", "data_point_period_seconds": 300, …}}`. Marginal: what the plants emit
that answer one more kWh; stack emissions only. Documented at docs.watttime.org.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from catransformers.carbon.grid import Basis
from catransformers.intensity.hourly import IntensityProfile, Provenance
from catransformers.intensity.http import Http, RefusedError, SourceError, base_url, secret_of
from catransformers.intensity.source import asked, item, items, local_time, point, profile

WHO = "WattTime"
USER, PASSWORD, URL = "WATTTIME_USER", "WATTTIME_PASSWORD", "WATTTIME_URL"
SIGNAL, UNIT = "co2_moer", "lbs_co2_per_mwh"
MOST_HOURS = 72
G_PER_LB = 453.59237  # the international pound, exact
G_PER_KWH_OF_LBS_PER_MWH = G_PER_LB / 1000


@dataclass(frozen=True, slots=True)
class WattTime:
    """Client of WattTime; see the module."""

    base: str
    user: str = field(repr=False)
    password: str = field(repr=False)

    @classmethod
    def address(cls, environ: Mapping[str, str]) -> str:
        """See `IntensitySource`."""
        return base_url(environ.get(URL) or "https://api.watttime.org", URL, secret=True)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> WattTime:
        """From `WATTTIME_USER` and `WATTTIME_PASSWORD` (and `WATTTIME_URL`); raises like `IntensitySource`."""
        return cls(cls.address(environ), secret_of(environ, USER), secret_of(environ, PASSWORD))

    def fetch(self, zone: str, start: datetime, end: datetime, now: datetime, http: Http) -> IntensityProfile:
        """See `IntensitySource`. A zone is a region of WattTime, `CAISO_NORTH` say."""
        hours = min(MOST_HOURS, max(1, math.ceil((end - now).total_seconds() / 3600) + 1))
        query = urlencode({"region": zone, "signal_type": SIGNAL, "horizon_hours": hours})
        answer = asked(
            WHO,
            zone,
            f"{USER}, {PASSWORD}",
            "api.watttime.org/v3/my-access lists yours",
            lambda: self._signed_in(f"{self.base}/v3/forecast?{query}", http),
        )
        if item(WHO, answer, "meta", "units") != UNIT:
            raise SourceError(f"{WHO}: its answer is not in {UNIT}")
        period = item(WHO, answer, "meta", "data_point_period_seconds")
        points = [
            point(WHO, entry, f"data[{number}]", "point_time", "value")
            for number, entry in enumerate(items(WHO, answer, "data"))
        ]
        points = [replace(p, g_per_kwh=p.g_per_kwh * G_PER_KWH_OF_LBS_PER_MWH) for p in points]
        origin = Provenance(
            zone,
            local_time(zone),
            Basis("direct", "unstated", "marginal"),
            "forecast",
            source=f"WattTime, api v3, {SIGNAL}",
            licence="as agreed with WattTime",
        )
        return profile(WHO, points, origin, period if isinstance(period, int) else None)

    def _signed_in(self, url: str, http: Http) -> Any:
        """The answer to a request with a fresh token; the token stays in memory and is forgotten."""
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")
        secrets = (self.password, pair)
        try:
            login = http.get_json(
                WHO, f"{self.base}/login", headers={"Authorization": f"Basic {pair}"}, secrets=secrets
            )
        except RefusedError as error:
            # A wrong password gets 403 here; to the user that is the same as 401.
            raise RefusedError(str(error), 401 if error.status == 403 else error.status) from error
        token = item(WHO, login, "token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise SourceError(f"{WHO}: its answer to the login holds no token")
        return http.get_json(WHO, url, headers={"Authorization": f"Bearer {token}"}, secrets=(*secrets, token))
