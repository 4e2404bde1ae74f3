"""The services' clients against a server on this machine that speaks their shapes, well and badly."""

import base64
import email.utils
import json
import logging
import ssl
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from intensity_server import Answer, IntensityServer

from catransformers.carbon.grid import Basis
from catransformers.cli import main
from catransformers.errors import InputError
from catransformers.intensity.http import Http, SourceError, _handlers, base_url, is_offline
from catransformers.intensity.lookup import Forecasts, profiles
from catransformers.registry import INTENSITY_SOURCES

NOW = datetime(2026, 11, 21, 10, 20, tzinfo=UTC)
TOKEN, PASSWORD = "tok-4711-secret", "pass-0815-secret"
BEARER = "bearer-1234-secret"
FORECAST, HISTORY = "/v3/carbon-intensity/forecast", "/v3/carbon-intensity/history"


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, now=NOW):
        self.now, self.slept = now, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def server():
    server = IntensityServer()
    yield server
    server.close()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def environ(server):
    urls = ("ELECTRICITY_MAPS_URL", "WATTTIME_URL", "UK_CARBON_INTENSITY_URL", "CARBON_AWARE_SDK_URL")
    keys = {"ELECTRICITY_MAPS_TOKEN": TOKEN, "WATTTIME_USER": "ada", "WATTTIME_PASSWORD": PASSWORD}
    return {**dict.fromkeys(urls, server.url), **keys}


@pytest.fixture
def forecasts(tmp_path, environ, clock):
    http = Http(timeout_s=2, sleep=clock.sleep)
    return Forecasts(tmp_path / "cache", http=http, environ=environ, now=clock)


def stamp(moment, form="%Y-%m-%dT%H:%M:%S.000Z"):
    return moment.strftime(form)


HOUR = NOW.replace(minute=0)


def electricity_maps(values, start=HOUR, key="forecast"):
    points = [
        {"carbonIntensity": value, "datetime": stamp(start + timedelta(hours=n))} for n, value in enumerate(values)
    ]
    return {"zone": "DK-DK1", key: points, "updatedAt": stamp(NOW), "temporalGranularity": "hourly"}


def watttime(values, units="lbs_co2_per_mwh"):
    start = NOW.replace(minute=20)
    points = [
        {"point_time": (start + timedelta(minutes=5 * n)).isoformat(), "value": value} for n, value in enumerate(values)
    ]
    meta = {"data_point_period_seconds": 300, "region": "CAISO_NORTH", "units": units, "signal_type": "co2_moer"}
    return {"data": points, "meta": {**meta, "generated_at": NOW.isoformat(), "model": {"date": "2023-03-01"}}}


def half_hours(values, start=HOUR):
    form, half = "%Y-%m-%dT%H:%MZ", timedelta(minutes=30)
    return [
        {
            "from": stamp(start + n * half, form),
            "to": stamp(start + (n + 1) * half, form),
            "intensity": {"forecast": value, "actual": None, "index": "moderate"},
        }
        for n, value in enumerate(values)
    ]


def fetch(forecasts, source="electricity-maps", zone="DK-DK1", hours=12):
    return forecasts.fetch(source, zone, NOW, NOW + timedelta(hours=hours))


# --- what each service says, as a profile ---


def test_electricity_maps(server, forecasts):
    server.says(FORECAST, electricity_maps(range(300, 324)))
    profile = fetch(forecasts)
    assert profile.start == datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert profile.step_s == 3600
    assert profile.intensity_kg_per_kwh == tuple(value / 1000 for value in range(300, 324))
    assert profile.origin.basis == Basis("lifecycle", "consumption", "average")
    assert profile.origin.kind == "forecast"
    assert profile.origin.time_zone == "Europe/Copenhagen"
    (asked,) = server.asked
    assert asked.query == {"zone": "DK-DK1"}
    assert asked.headers["auth-token"] == TOKEN
    assert asked.headers["user-agent"].startswith("catransformers/")


def test_electricity_maps_further_ahead(server, forecasts):
    server.says(FORECAST, electricity_maps(range(48)))
    fetch(forecasts, hours=40)
    assert server.asked[0].query == {"zone": "DK-DK1", "horizonHours": "48"}


def test_electricity_maps_fills_the_hour_that_has_begun_from_its_history(server, forecasts):
    server.says(FORECAST, electricity_maps([200, 100], start=NOW.replace(hour=11, minute=0)))
    server.says(HISTORY, electricity_maps([400, 300, 201], start=NOW.replace(hour=9, minute=0), key="history"))
    profile = fetch(forecasts)
    assert profile.intensity_kg_per_kwh == (0.4, 0.3, 0.2, 0.1)  # what both know is the forecast's
    assert server.asked[1].headers["auth-token"] == TOKEN


def test_watttime_is_marginal_and_converted(server, forecasts):
    server.says("/login", {"token": BEARER})
    server.says("/v3/forecast", watttime([1000, 870, 0]))
    profile = fetch(forecasts, "watttime", "CAISO_NORTH", hours=5)
    assert profile.intensity_kg_per_kwh == pytest.approx((0.45359237, 0.3946253619, 0))
    assert profile.step_s == 300
    assert profile.origin.basis == Basis("direct", "unstated", "marginal")
    assert profile.origin.time_zone == "America/Los_Angeles"
    login, forecast = server.asked
    assert base64.b64decode(login.headers["authorization"].removeprefix("Basic ")).decode() == f"ada:{PASSWORD}"
    assert forecast.headers["authorization"] == f"Bearer {BEARER}"
    assert forecast.query == {"region": "CAISO_NORTH", "signal_type": "co2_moer", "horizon_hours": "6"}


def test_watttime_in_another_unit_is_refused(server, forecasts):
    server.says("/login", {"token": BEARER})
    server.says("/v3/forecast", watttime([1000], units="moer_percentile"))
    with pytest.raises(SourceError, match="its answer is not in lbs_co2_per_mwh"):
        fetch(forecasts, "watttime", "CAISO_NORTH")


def test_the_uk(server, forecasts):
    server.says("/intensity/2026-11-21T10:00Z/fw48h", {"data": half_hours(range(100, 196))})
    profile = fetch(forecasts, "uk", "GB")
    assert profile.step_s == 1800
    assert profile.at(NOW) == 0.1
    assert profile.end - profile.start == timedelta(hours=48)
    assert profile.origin.basis == Basis("direct", "consumption", "average")
    assert profile.origin.time_zone == "Europe/London"
    assert not {"auth-token", "authorization"} & set(server.asked[0].headers)


def test_a_region_of_the_uk(server, forecasts):
    data = half_hours([50, 60])
    data[0]["intensity"] = {"forecast": None, "actual": 55, "index": "low"}
    server.says("/regional/intensity/2026-11-21T10:00Z/fw48h/regionid/13", {"data": {"regionid": 13, "data": data}})
    assert fetch(forecasts, "uk", "GB-13").intensity_kg_per_kwh == (0.055, 0.06)
    for zone in ("GB-18", "GB-0", "FR", "GB-x", "uk-London"):
        with pytest.raises(InputError, match="GB-1 to GB-17"):
            fetch(forecasts, "uk", zone)


def test_carbon_aware_sdk(server, forecasts):
    points = [
        {
            "location": "westus",
            "timestamp": (NOW + timedelta(minutes=5 * n)).isoformat(),
            "duration": 5,
            "value": 359.23,
        }
        for n in range(3)
    ]
    answer = [{"generatedAt": NOW.isoformat(), "location": "westus", "windowSize": 5, "forecastData": points}]
    server.says("/emissions/forecasts/current", answer)
    profile = fetch(forecasts, "carbon-aware-sdk", "westus")
    assert profile.step_s == 300
    assert profile.intensity_kg_per_kwh == (0.35923,) * 3
    assert profile.origin.basis == Basis()
    assert server.asked[0].query == {"location": "westus"}


# --- what goes wrong ---


def test_a_refused_key_is_named_and_never_shown(server, forecasts):
    server.says(FORECAST, Answer({"message": f"the token {TOKEN} is not valid"}, 401))
    with pytest.raises(InputError) as caught:
        fetch(forecasts)
    assert "ELECTRICITY_MAPS_TOKEN: was not accepted" in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert len(server.asked) == 1  # a second try would be refused as well


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_password(server, forecasts, status):
    server.says("/login", Answer(f"go away {PASSWORD}".encode(), status))
    with pytest.raises(InputError) as caught:
        fetch(forecasts, "watttime", "CAISO_NORTH")
    assert "WATTTIME_USER, WATTTIME_PASSWORD: was not accepted" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_region_that_the_account_does_not_cover(server, forecasts):
    server.says("/login", {"token": BEARER})
    server.says("/v3/forecast", Answer({"error": f"no access for {BEARER}"}, 403))
    with pytest.raises(InputError, match="region 'PJM_DC': is not open to you") as caught:
        fetch(forecasts, "watttime", "PJM_DC")
    assert BEARER not in str(caught.value)


def test_an_unknown_zone(server, forecasts):
    server.says(FORECAST, Answer({"error": "Zone 'XX' does not exist"}, 404))
    with pytest.raises(InputError, match=r"region 'XX'.*Zone 'XX' does not exist.*zones of Electricity Maps"):
        fetch(forecasts, zone="XX")


def test_too_many_requests_waits_as_long_as_it_is_told(server, forecasts, clock):
    server.says(FORECAST, Answer({}, 429, {"Retry-After": "7"}), electricity_maps([1]))
    assert fetch(forecasts).intensity_kg_per_kwh == (0.001,)
    assert clock.slept == [7]


def test_retry_after_as_a_date(server, forecasts, clock):
    date = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    server.says(FORECAST, Answer({}, 503, {"Retry-After": date}), electricity_maps([1]))
    fetch(forecasts)
    assert 25 < clock.slept[0] <= 30


def test_too_long_a_wait_is_given_up_and_said(server, forecasts, clock):
    server.says(FORECAST, Answer({}, 429, {"Retry-After": "3600"}))
    with pytest.raises(SourceError, match=r"HTTP status 429.*asks to wait 3,600 s"):
        fetch(forecasts)
    assert clock.slept == []


@pytest.mark.parametrize("wrong", ["soon", "-5", "nan"])
def test_a_retry_after_that_is_none(server, forecasts, clock, wrong):
    server.says(FORECAST, Answer({}, 429, {"Retry-After": wrong}), electricity_maps([1]))
    fetch(forecasts)
    assert clock.slept == [1]


def test_a_server_error_and_then_an_answer(server, forecasts, clock):
    server.says(FORECAST, Answer(b"oops", 500), Answer(b"oops", 502), electricity_maps([1]))
    fetch(forecasts)
    assert clock.slept == [1, 2]


def test_a_server_that_keeps_failing(server, forecasts, clock):
    server.says(FORECAST, Answer(b"<html>\x1b[31m\x00oops</html>", 500))
    with pytest.raises(SourceError, match=r"Electricity Maps: answered with HTTP status 500 \(<html> .*oops.*4 times"):
        fetch(forecasts)
    assert clock.slept == [1, 2, 4]
    assert len(server.asked) == 4


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"forecast": [NaN]}', b"[" * 100_000, b"\xff\xfe", b'{"forecast"'])
def test_something_that_is_not_json(server, forecasts, body):
    server.says(FORECAST, Answer(body))
    with pytest.raises(SourceError, match="not JSON"):
        fetch(forecasts)


def test_an_answer_that_is_cut_off_is_asked_for_again(server, forecasts, clock):
    whole = electricity_maps([1, 2])
    part = json.dumps(whole).encode()[:-20]
    server.says(FORECAST, Answer(part, announce=len(part) + 20), whole)
    assert fetch(forecasts).intensity_kg_per_kwh == (0.001, 0.002)
    assert clock.slept == [1]


@pytest.mark.parametrize("slow", [{"delay_s": 1.0}, {"drip_s": 0.1}])
def test_a_server_that_is_too_slow(server, forecasts, slow):
    server.says(FORECAST, Answer(electricity_maps([1]), **slow))
    hasty = replace(forecasts, http=replace(forecasts.http, timeout_s=0.15, tries=2))
    with pytest.raises(SourceError, match="did not answer in time, 2 times"):
        fetch(hasty)


def test_a_server_that_is_not_there(server, forecasts, environ):
    server.close()
    with pytest.raises(SourceError, match=r"Electricity Maps: cannot be reached \(Connection refused\), 4 times"):
        fetch(forecasts)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([], "no 'forecast'"),
        ({"forecast": None}, "no values in 'forecast'"),
        ({"forecast": []}, "no values in 'forecast'"),
        ({"forecast": [3]}, "no 'datetime'"),
        ({"forecast": [{"datetime": "noon", "carbonIntensity": 3}]}, r"no time in forecast\[0\]"),
        ({"forecast": [{"datetime": 3, "carbonIntensity": 3}]}, r"no time in forecast\[0\]"),
        ({"forecast": [{"datetime": "2026-11-21T10:00Z"}]}, "no 'carbonIntensity'"),
    ],
)
def test_json_of_another_shape(server, forecasts, answer, message):
    server.says(FORECAST, answer)
    with pytest.raises(SourceError, match=message):
        fetch(forecasts)


def test_missing_hours_nulls_and_negative_values_all_at_once(server, forecasts):
    answer = electricity_maps([300, None, -2, 10**400, "7", True, 250, 240, 230])
    del answer["forecast"][7]
    server.says(FORECAST, answer)
    with pytest.raises(SourceError) as caught:
        fetch(forecasts)
    text = str(caught.value)
    for number in (1, 2, 3, 4, 5):
        assert f"forecast[{number}]: " in text
    assert "forecast[7]: 2026-11-21T17:00+00:00 is missing before it" in text


def test_redirects_are_not_followed_for_they_would_carry_the_key(server, forecasts):
    elsewhere = IntensityServer()
    elsewhere.says("/x", electricity_maps([1]))
    server.says(FORECAST, Answer(b"", 302, {"Location": f"{elsewhere.url}/x"}))
    with pytest.raises(SourceError, match="HTTP status 302"):
        fetch(forecasts)
    assert elsewhere.asked == []
    elsewhere.close()


# --- keys and addresses ---


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("electricity-maps", "ELECTRICITY_MAPS_TOKEN"),
        ("watttime", "WATTTIME_USER"),
        ("watttime", "WATTTIME_PASSWORD"),
        ("carbon-aware-sdk", "CARBON_AWARE_SDK_URL"),
    ],
)
def test_a_missing_key_is_named_before_anything_is_asked(server, forecasts, environ, source, missing):
    del environ[missing]
    with pytest.raises(InputError, match=f"{missing}: is not set"):
        forecasts.check(source)
    with pytest.raises(InputError, match=f"{missing}: is not set"):
        fetch(forecasts, source)
    assert server.asked == []


@pytest.mark.parametrize("key", ["a b", "a\nX-Evil: 1", "schlüssel", "\x00"])
def test_a_key_that_cannot_be_one_is_not_shown(forecasts, environ, key):
    environ["ELECTRICITY_MAPS_TOKEN"] = key
    with pytest.raises(InputError, match=r"no key has|is not set") as caught:
        fetch(forecasts)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "ftp://host",
        "file:///etc/passwd",
        "host",
        "https://",
        "https://user:pass-0815@host",
        "https://host/?code=pass-0815",
        "https://host:port",
        "https://ho st",
        "https://[",
    ],
)
def test_addresses_that_are_refused_and_not_shown(address):
    with pytest.raises(InputError) as caught:
        base_url(address, "CARBON_AWARE_SDK_URL", secret=False)
    assert "pass-0815" not in str(caught.value)


def test_keys_go_only_over_https_or_to_this_machine():
    assert base_url("https://host/api/", "X", secret=True) == "https://host/api"
    for local in ("http://127.0.0.1:80", "http://localhost", "http://[::1]:1"):
        assert base_url(local, "X", secret=True) == local
    with pytest.raises(InputError, match="would send a key over HTTP"):
        base_url("http://host", "X", secret=True)
    assert base_url("http://host", "X", secret=False) == "http://host"


def test_no_key_is_left_anywhere(server, forecasts, tmp_path, caplog, capsys):
    """After success and failure: not in the cache, its names, messages, causes, representations or logs."""
    caplog.set_level(logging.DEBUG)
    server.says("/login", {"token": BEARER})
    server.says("/v3/forecast", watttime([1]))
    server.says(FORECAST, electricity_maps([1]))
    texts = [repr(fetch(forecasts)), repr(fetch(forecasts, "watttime", "CAISO_NORTH")), repr(forecasts)]
    texts += [repr(source.from_environment(forecasts.environ)) for source in INTENSITY_SOURCES.values()]
    pair = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
    for status in (400, 401, 403, 404, 418, 500):
        for source, zone in (("electricity-maps", "A"), ("watttime", "B")):
            server.says(FORECAST, Answer(f"your key is {TOKEN}".encode(), status))
            server.says("/v3/forecast", Answer(f"you are {PASSWORD}, {BEARER}, {pair}".encode(), status))
            with pytest.raises((InputError, SourceError)) as caught:
                fetch(forecasts, source, zone)
            error = caught.value
            while error is not None:
                texts.append(f"{error} {error!r}")
                error = error.__cause__ or error.__context__
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    texts += [f"{path} {path.read_text()}" for path in files] + [caplog.text, *capsys.readouterr()]
    for secret in (TOKEN, PASSWORD, BEARER, pair):
        assert not [text for text in texts if secret in text]


# --- memory, and no network ---


def test_a_fresh_answer_is_not_asked_for_again(server, forecasts, clock):
    server.says(FORECAST, electricity_maps(range(24)), electricity_maps(range(100, 124)))
    first = fetch(forecasts)
    clock.now += timedelta(minutes=29)
    assert fetch(forecasts) == first
    assert first.origin.fetched == NOW
    clock.now += timedelta(minutes=2)
    assert fetch(forecasts).intensity_kg_per_kwh[0] == 0.1
    assert len(server.asked) == 2
    assert fetch(forecasts, zone="DE") is not None
    assert len(server.asked) == 3


def test_an_answer_that_reaches_less_far_than_asked_now_is_asked_for_again(server, forecasts):
    server.says(FORECAST, electricity_maps(range(24)))
    fetch(forecasts, hours=12)
    fetch(forecasts, hours=40)
    fetch(forecasts, hours=40)  # the source knows no more
    assert len(server.asked) == 2


def test_who_waits_does_not_ask_every_minute(server, forecasts, clock):
    server.says(FORECAST, electricity_maps(range(24)))
    for _ in range(180):  # always for a day ahead, of which the source knows a little less
        forecasts.fetch("electricity-maps", "DE", clock.now, clock.now + timedelta(hours=24))
        clock.now += timedelta(minutes=1)
    assert len(server.asked) == 6


def test_a_later_start_is_still_seen_from_now(server, forecasts):
    server.says("/login", {"token": BEARER})
    server.says("/v3/forecast", watttime([1000] * 600))
    server.says(FORECAST, electricity_maps(range(48)))
    for source in ("electricity-maps", "watttime"):
        forecasts.fetch(source, "x", NOW + timedelta(hours=30), NOW + timedelta(hours=40))
    assert server.asked[0].query["horizonHours"] == "48"
    assert server.asked[2].query["horizon_hours"] == "41"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"schema": 2}', '{"schema": 1}', "null", "\x00", "[" * 10_000])
def test_a_damaged_memory_is_none(server, forecasts, tmp_path, damage):
    server.says(FORECAST, electricity_maps(range(24)))
    first = fetch(forecasts)
    (path,) = (tmp_path / "cache").iterdir()
    path.write_text(damage)
    assert fetch(forecasts) == first
    assert len(server.asked) == 2


def test_a_memory_with_impossible_values_is_none(server, forecasts, tmp_path):
    server.says(FORECAST, electricity_maps(range(24)))
    fetch(forecasts)
    (path,) = (tmp_path / "cache").iterdir()
    good = json.loads(path.read_text())
    for change in ({"intensity_kg_per_kwh": [-1]}, {"step_s": 7}, {"start": "2026-01-01T00:00"}, {"asked_until": "x"}):
        path.write_text(json.dumps({**good, **change}))
        begun = len(server.asked)
        fetch(forecasts)
        assert len(server.asked) == begun + 1


def test_a_folder_that_cannot_be_written_is_no_memory_and_no_error(server, forecasts, tmp_path):
    (tmp_path / "file").write_text("")
    server.says(FORECAST, electricity_maps(range(24)))
    for cache in (tmp_path / "file" / "cache", None):
        assert fetch(replace(forecasts, cache=cache)).step_s == 3600


def test_offline_takes_what_was_said_before_and_asks_nobody(server, forecasts, clock, environ):
    with pytest.raises(InputError, match="never said anything of it, and the network may not be asked"):
        fetch(replace(forecasts, offline=True))
    server.says(FORECAST, electricity_maps(range(24)))
    first = fetch(forecasts)
    clock.now += timedelta(days=3)
    environ["CATRANSFORMERS_OFFLINE"] = "1"
    del environ["ELECTRICITY_MAPS_TOKEN"]  # not needed without the network
    assert fetch(forecasts) == first
    forecasts.check("electricity-maps")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("value", "offline"), [("1", True), ("yes", True), ("0", False), ("", False), ("false", False)]
)
def test_the_switch_in_the_environment(value, offline):
    assert is_offline({"CATRANSFORMERS_OFFLINE": value}) is offline


def test_all_wrong_regions_at_once(server, forecasts):
    server.says(FORECAST, Answer({"error": "unknown zone"}, 404))
    with pytest.raises(InputError) as caught:
        profiles(["A", "B"], NOW, NOW + timedelta(hours=3), source="electricity-maps", forecasts=forecasts)
    assert len(caught.value.problems) == 2
    with pytest.raises(InputError, match="did you mean 'watttime'"):
        profiles(["A"], NOW, NOW, source="wattime", forecasts=forecasts)


# --- from the command line ---


@pytest.fixture
def cli(server, environ, monkeypatch, tmp_path, capsys):
    for name, value in {**environ, "CATRANSFORMERS_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CATRANSFORMERS_OFFLINE", raising=False)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["schedule", *arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def test_a_schedule_on_a_forecast(server, cli):
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    server.says(FORECAST, electricity_maps([300, 300, 100, 100, *[300] * 20], start=begin))
    options = ("--hours", "1", "--deadline", "8h", "--region", "DK-DK1", "--source", "electricity-maps")
    code, out, err = cli(*options, "--json")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert answer["best"]["mean_g_per_kwh"] == pytest.approx(100)
    assert answer["best"]["start_utc"] == (begin + timedelta(hours=2)).isoformat()
    assert answer["profiles"][0]["kind"] == "forecast"
    assert answer["profiles"][0]["time_zone"] == "Europe/Copenhagen"
    code, out, _ = cli(*options, "--offline")
    assert code == 0
    assert "forecast (basis: lifecycle, consumption, average), fetched 0 minutes ago" in out
    assert TOKEN not in out
    assert len(server.asked) == 1


def test_a_schedule_beyond_the_forecast_says_how_far_it_reaches(server, cli):
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    server.says(FORECAST, electricity_maps([300] * 24, start=begin))
    code, _, err = cli("--hours", "1", "--deadline", "3d", "--region", "DE", "--source", "electricity-maps")
    assert code == 2
    assert "does not cover" in err
    assert "which it covers" in err


def test_a_service_that_fails_is_no_traceback(server, cli):
    server.says("/emissions/forecasts/current", Answer(b"<html>"))
    code, _, err = cli("--hours", "1", "--region", "westus", "--source", "carbon-aware-sdk")
    assert code == 1
    assert err == "error: the Carbon Aware SDK server: answered with something that is not JSON (6 bytes)\n"


def test_everything_that_is_wrong_before_the_network_is_asked(server, cli, monkeypatch):
    monkeypatch.delenv("WATTTIME_USER")
    code, _, err = cli("--hours", "0", "--source", "watttime", "--profile", "x.csv", "--deadline", "soon")
    assert code == 2
    for part in (
        "--hours",
        "--profile and --source",
        "--region: none given",
        "WATTTIME_USER: is not set",
        "--deadline",
    ):
        assert part in err
    assert server.asked == []


def test_without_a_source_nobody_is_asked(server, cli):
    code, _, _ = cli("--hours", "6", "--region", "US-CA")
    assert code == 0
    assert server.asked == []


def test_certificates_are_verified(server, forecasts, environ):
    (context,) = [h._context for h in _handlers("https://host") if isinstance(h, urllib.request.HTTPSHandler)]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    environ["ELECTRICITY_MAPS_URL"] = server.url.replace("http:", "https:")
    with pytest.raises(SourceError, match="Electricity Maps: cannot be reached"):
        fetch(forecasts)
    assert server.asked == []
