"""Hourly intensity: what a file may say, every mistake by line, summer time, and the profile that is shipped."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from catransformers.carbon.grid import Basis
from catransformers.errors import InputError
from catransformers.intensity.hourly import IntensityProfile, MeanDay, Provenance
from catransformers.intensity.hourly_csv import read_profiles, shipped_profiles
from catransformers.intensity.time_zones import time_zone_of, zone_info

DAY = "hour,g_per_kwh\n" + "".join(f"{hour},{100 + hour}\n" for hour in range(24))


def series(lines, header="time,g_per_kwh"):
    return f"{header}\n" + "\n".join(lines) + "\n"


def hours(start, values, tail=""):
    begin = datetime.fromisoformat(start)
    return [f"{(begin + timedelta(hours=n)).isoformat()},{value}{tail}" for n, value in enumerate(values)]


def told(text, **options):
    with pytest.raises(InputError) as caught:
        read_profiles(text, "my.csv", **options)
    return [str(problem) for problem in caught.value.problems]


def test_a_series():
    text = series(hours("2026-01-01T00:00+01:00", [300, 200.5, 0]))
    (profile,) = read_profiles(text, "my.csv", zone="DE")
    assert profile.intensity_kg_per_kwh == (0.3, 0.2005, 0)
    assert profile.start == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert profile.step_s == 3600
    assert profile.end == datetime(2026, 1, 1, 2, tzinfo=UTC)
    assert profile.origin.time_zone == "Europe/Berlin"
    assert profile.origin.kind == "as given"
    assert profile.at(datetime(2025, 12, 31, 23, 59, tzinfo=UTC)) == 0.3
    assert profile.at(datetime(2026, 1, 1, 0, tzinfo=UTC)) == 0.2005


def test_what_a_series_says_about_itself():
    header = "time,g_per_kwh,zone,time_zone,year,scope,accounting,signal,source,licence,comment"
    tail = ",FR,Europe/Paris,2024,direct,consumption,marginal,somebody,CC0,whatever"
    (profile,) = read_profiles(series(hours("2024-05-01T00:00", [30, 31], tail), header), "my.csv")
    origin = profile.origin
    assert (origin.zone, origin.time_zone, origin.year) == ("FR", "Europe/Paris", 2024)
    assert origin.basis == Basis("direct", "consumption", "marginal")
    assert (origin.source, origin.licence) == ("somebody", "CC0")
    assert profile.start == datetime(2024, 4, 30, 22, tzinfo=UTC)
    assert origin.describe() == "2024 as given (basis: direct, consumption, marginal)"


def test_lines_in_any_order_and_half_hours():
    lines = [f"2026-01-01T{n // 2:02d}:{30 * (n % 2):02d}Z,{n}" for n in range(6)]
    (profile,) = read_profiles(series(lines[::-1]), "my.csv", zone="x")
    assert profile.step_s == 1800
    assert [round(value * 1000, 9) for value in profile.intensity_kg_per_kwh] == [0, 1, 2, 3, 4, 5]
    assert profile.origin.time_zone == "UTC"


def test_every_mistake_of_a_series_at_once_by_line():
    lines = [
        "2026-01-01T00:00Z,300",
        "2026-01-01T01:00Z,nan",
        "2026-01-01T02:00Z,-1",
        "2026-01-01T02:00Z,5",
        "noon,5",
        "2026-01-01T04:00Z,",
        "2026-01-01T05:00Z,inf",
        "2026-01-01T06:00Z",
    ]
    assert told(series(lines), zone="x")[0].startswith("my.csv, line 9: 1 fields, the first line has 2")
    problems = told(series(lines[:-1]), zone="x")
    assert [p.split(":")[0] for p in problems] == [f"my.csv, line {n}" for n in (3, 4, 6, 7, 8, 5, 7)]
    assert "'nan' is not an intensity" in problems[0]
    assert "'-1' is not an intensity" in problems[1]
    assert "'noon' is not a time" in problems[2]
    assert "the intensity is missing" in problems[3]
    assert "the time 2026-01-01T02:00+00:00 stands twice: also in line 4" in problems[5]
    assert "2026-01-01T03:00+00:00 is missing before it" in problems[6]


def test_missing_hours_name_the_stretch():
    lines = hours("2026-01-01T00:00+00:00", range(12))
    problems = told(series(lines[:4] + lines[7:]), zone="x")
    assert problems == [
        "my.csv, line 6: 2026-01-01T04:00+00:00 to 2026-01-01T06:00+00:00 (3 values) are missing before it"
    ]


def test_a_time_between_the_steps():
    lines = [*hours("2026-01-01T00:00+00:00", range(4)), "2026-01-01T04:20Z,9"]
    assert "line 6: 2026-01-01T04:20+00:00 is not a whole number of steps after" in told(series(lines))[0]


def test_steps_that_do_not_divide_an_hour():
    lines = [f"2026-01-01T{n:02d}:00Z,1" for n in (0, 3, 6)]
    assert "most values are 10800 s apart; allowed: an hour or a whole fraction of it" in told(series(lines))[0]


def test_many_mistakes_are_cut_short_and_counted():
    problems = told(series([f"2026-01-01T00:00Z,{-n - 1}" for n in range(100)]))
    assert len(problems) == 41
    assert problems[-1].endswith("and 159 more problems of this kind")  # 100 values, 99 duplicates


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("g_per_kwh", "has neither time nor hour"),
        ("time,hour,g_per_kwh", "has both time and hour"),
        ("time,carbon", "has no column g_per_kwh"),
        ("time,g_per_kwh,g_per_kwh", "'g_per_kwh' stands twice"),
        ("time,g_per_kWh", "did you mean 'g_per_kwh'?"),
        ("time,g_per_kwh,timezone", "did you mean 'time_zone'?"),
        ("time,DJF,MAM,JJA,SON", "seasons belong to a mean day"),
        ("hour,DJF,MAM,JJA", "has DJF, MAM, JJA; allowed: either g_per_kwh or all of DJF, MAM, JJA, SON"),
        ("hour,g_per_kwh,DJF,MAM,JJA,SON", "either g_per_kwh or all of"),
    ],
)
def test_wrong_first_lines(header, message):
    problems = told(f"{header}\n" + ",".join("1" * (header.count(",") + 1)) + "\n")
    assert any(message in problem and "line 1" in problem for problem in problems), problems


@pytest.mark.parametrize("text", ["", "\n\n", "time,g_per_kwh\n"])
def test_an_empty_file(text):
    assert "holds no lines of values" in told(text)[0]


def test_a_file_that_is_not_csv():
    assert "not CSV" in told('time,g_per_kwh\n"2026-01-01T00:00Z"x,3\n')[0]


def test_what_spreadsheets_write():
    text = "\ufeff" + series(["2026-01-01 00:00,300", "", ",", "2026-01-01 01:00,200"]).replace("\n", "\r\n")
    (profile,) = read_profiles(text, "my.csv", time_zone="UTC")
    assert profile.intensity_kg_per_kwh == (0.3, 0.2)
    assert "line 6: 'x' is not an intensity" in told(text + "2026-01-01 02:00,x\r\n")[0]


def test_contradictions_of_a_zone():
    header = "time,g_per_kwh,scope,year,time_zone"
    lines = ["2026-01-01T00:00Z,1,direkt,26,Mars/Olympus", "2026-01-01T01:00Z,1,direct,26,Mars/Olympus"]
    problems = told(series(lines, header))
    assert "line 3: scope is 'direct', on line 2 it is 'direkt'" in problems[0]
    assert "line 2: unknown scope 'direkt'; allowed: lifecycle, direct, unstated" in problems[1]
    assert "'26' is not a year" in problems[2]
    assert "line 2: unknown time zone 'Mars/Olympus'" in problems[3]


def test_several_zones_in_a_file():
    lines = [f"2026-01-01T0{n}:00Z,{value},{zone}" for n in range(3) for zone, value in (("A", n), ("FR", 10 * n))]
    a, b = read_profiles(series(lines, "time,g_per_kwh,zone"), "my.csv")
    assert (a.origin.zone, b.origin.zone) == ("A", "FR")
    assert b.intensity_kg_per_kwh == (0, 0.01, 0.02)
    assert b.origin.time_zone == "Europe/Paris"


def test_the_clock_in_autumn_shows_an_hour_twice():
    zone = ZoneInfo("Europe/Paris")
    lines = [f"2026-10-25T{hour}:00,{n}" for n, hour in enumerate(("01", "02", "02", "03"))]
    (profile,) = read_profiles(series(lines), "my.csv", time_zone="Europe/Paris")
    assert len(profile.intensity_kg_per_kwh) == 4
    assert profile.at(datetime(2026, 10, 25, 2, tzinfo=zone)) == 0.001
    assert profile.at(datetime(2026, 10, 25, 2, fold=1, tzinfo=zone)) == 0.002
    assert "stands twice" in told(series([*lines, "2026-10-25T02:00,9"]), time_zone="Europe/Paris")[0]


def test_the_clock_in_spring_leaves_an_hour_out():
    lines = [f"2026-03-29T{hour}:00,1" for hour in ("01", "02", "03")]
    (problem,) = told(series(lines), time_zone="Europe/Paris")
    assert "line 3: 2026-03-29T02:00 does not exist in Europe/Paris: the clocks go forward then" in problem
    (profile,) = read_profiles(series([lines[0], lines[2]]), "my.csv", time_zone="Europe/Paris")
    assert profile.step_s == 3600


def test_a_mean_day():
    (day,) = read_profiles(DAY, "my.csv", zone="FR")
    assert isinstance(day, MeanDay)
    assert day.origin.describe() == "mean profile, not a forecast (basis: unstated)"
    profile = day.between(datetime(2026, 7, 1, 10, 20, tzinfo=UTC), datetime(2026, 7, 1, 12, tzinfo=UTC))
    assert profile.start == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert profile.intensity_kg_per_kwh == (0.112, 0.113)  # noon and one in Paris


def test_every_mistake_of_a_mean_day_at_once():
    lines = DAY.splitlines()
    wrong = [*lines[:4], "3,-1", "4,x", "4,104", "24,1", *lines[9:]]
    problems = told("\n".join(wrong))
    assert [p.split(": ")[0] for p in problems] == [
        "my.csv, line 5",
        "my.csv, line 6",
        "my.csv, line 7",
        "my.csv, line 8",
        "my.csv",
    ]
    assert "hour 4 stands twice: also on line 6" in problems[2]
    assert "'24' is not an hour" in problems[3]
    assert "hours 5, 6, 7 of my.csv missing" in problems[4]


def test_a_mean_day_keeps_to_the_clock_on_the_wall():
    (day,) = read_profiles(DAY, "my.csv", zone="FR")
    zone = ZoneInfo("Europe/Paris")
    for date, length in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)):
        start = datetime.fromisoformat(date).replace(tzinfo=zone)
        profile = day.between(start, start + timedelta(days=1))
        assert len(profile.intensity_kg_per_kwh) == length
        for n, value in enumerate(profile.intensity_kg_per_kwh):
            local = (profile.start + timedelta(hours=n)).astimezone(zone)
            assert value == pytest.approx((100 + local.hour) / 1000)


@pytest.mark.parametrize(
    ("name", "step"), [("Asia/Kolkata", 1800), ("Asia/Kathmandu", 900), ("Australia/Lord_Howe", 1800)]
)
def test_offsets_of_half_and_quarter_hours(name, step):
    (day,) = read_profiles(DAY, "my.csv", time_zone=name)
    start = datetime(2026, 4, 4, 10, 7, tzinfo=UTC)
    profile = day.between(start, start + timedelta(days=2))  # in it Lord Howe goes back by half an hour
    assert profile.step_s == step
    for minute in range(0, 2880, 5):
        moment = start + timedelta(minutes=minute)
        assert profile.at(moment) == pytest.approx((100 + moment.astimezone(ZoneInfo(name)).hour) / 1000)


def test_the_shipped_profile_is_the_source_s():
    day = shipped_profiles()["US-CA"]
    assert day.origin.describe() == "2017 mean profile, not a forecast (basis: lifecycle, consumption, average)"
    assert day.origin.time_zone == "America/Los_Angeles"
    assert "CAISO" in day.origin.source
    assert day.origin.licence
    winter, spring, summer, autumn = day.intensity_kg_per_kwh
    assert (winter[0], spring[12], summer[19], autumn[11]) == pytest.approx((0.2929, 0.1536, 0.2968, 0.2045))
    # The source's own mean over the year lies between the seasons, hour by hour.
    table = Path(__file__).parents[2] / "src/catransformers/data/grid_hourly_caiso_2017.csv"
    for hour, row in enumerate(csv.DictReader(table.read_text().splitlines())):
        mean = sum(season[hour] for season in day.intensity_kg_per_kwh) / 4 * 1000
        assert mean == pytest.approx(float(row["annual_mean"]), abs=1.5)


def test_the_shipped_profile_follows_the_seasons():
    day, zone = shipped_profiles()["US-CA"], ZoneInfo("America/Los_Angeles")
    for month, value in ((2, 0.2161), (3, 0.1536), (8, 0.2104), (11, 0.2064), (12, 0.2161)):
        noon = datetime(2026, month, 1, 12, tzinfo=zone)
        assert day.between(noon, noon + timedelta(hours=1)).intensity_kg_per_kwh == pytest.approx((value,))


def test_the_shipped_table_reads_as_a_user_s_file():
    table = Path(__file__).parents[2] / "src/catransformers/data/grid_hourly_caiso_2017.csv"
    (day,) = read_profiles(table.read_text(), "copy.csv")
    assert day == shipped_profiles()["US-CA"]


def test_a_profile_cut_to_a_window():
    origin = Provenance("x", "Europe/Paris")
    profile = IntensityProfile(origin, datetime(2026, 1, 1, tzinfo=UTC), 1800, tuple(n / 1000 for n in range(48)))
    cut = profile.between(datetime(2026, 1, 1, 10, 20, tzinfo=UTC), datetime(2026, 1, 1, 11, 30, tzinfo=UTC))
    assert cut.start == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert cut.intensity_kg_per_kwh == (0.02, 0.021, 0.022)
    with pytest.raises(
        InputError, match=r"does not cover 2026-01-01 10:00 to 2026-01-02 02:00 .*2026-01-01 01:00 to 2026-"
    ):
        profile.between(datetime(2026, 1, 1, 9, tzinfo=UTC), datetime(2026, 1, 2, 1, tzinfo=UTC))
    with pytest.raises(InputError, match="does not cover"):
        profile.at(datetime(2025, 12, 31, 23, 59, tzinfo=UTC))


@pytest.mark.parametrize("values", [(), (float("nan"),), (-0.1,), (float("inf"),)])
@pytest.mark.parametrize("step", [0, 700, 7200, -3600])
def test_a_profile_that_cannot_be(values, step):
    with pytest.raises(InputError) as caught:
        IntensityProfile(Provenance("x"), datetime(2026, 1, 1), step, values)
    assert len(caught.value.problems) >= 3


def test_time_zones_of_regions():
    assert time_zone_of("us-ca") == "America/Los_Angeles"
    assert time_zone_of("US-CAL-CISO") == "America/Los_Angeles"
    assert time_zone_of("CAISO_NORTH") == "America/Los_Angeles"
    assert time_zone_of("DK-DK1") == "Europe/Copenhagen"
    assert time_zone_of("GB-7") == "Europe/London"
    assert time_zone_of("AU-NSW") == "Australia/Sydney"
    assert time_zone_of("US") is time_zone_of("RU-1") is time_zone_of("") is time_zone_of("westus") is None
    with pytest.raises(InputError, match=r"unknown time zone '\.\./etc/passwd'"):
        zone_info("../etc/passwd")
