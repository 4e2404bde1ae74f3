"""`schedule` as people meet it: the answer by hand, time zones, files, pictures, every mistake at once."""

import json
import re
import xml.etree.ElementTree as ET

import pytest

from catransformers.cli import main
from catransformers.intensity.planning import read_deadline, read_job

CALIFORNIA = ("--region", "US-CA", "--start", "2026-11-21T16:00")


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["schedule", *(str(a) for a in arguments)])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def answer(capsys, *arguments):
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def csv_of(values, zone="", start_hour=0, **about):
    header = ",".join(["time", "g_per_kwh", *(["zone"] if zone else []), *about])
    tail = "".join(f",{value}" for value in ([zone] if zone else []) + list(about.values()))
    lines = [f"2026-11-21T{start_hour + n:02d}:00+01:00,{value}{tail}" for n, value in enumerate(values)]
    return "\n".join([header, *lines]) + "\n"


def test_the_answer_is_that_of_pencil_and_paper(capsys):
    found = answer(capsys, "--hours", 6, "--deadline", "24h", "--power-w", 300, *CALIFORNIA)
    # Autumn of the shipped profile, 9 to 15 h and 16 to 22 h.
    best = (212.5 + 205.3 + 204.5 + 206.4 + 211.0 + 219.4) / 6
    now = (264.1 + 294.8 + 315.9 + 317.9 + 315.3 + 311.5) / 6
    assert found["best"]["start"] == "2026-11-22T09:00:00-08:00"
    assert found["best"]["start_utc"] == "2026-11-22T17:00:00+00:00"
    assert found["best"]["end"] == "2026-11-22T15:00:00-08:00"
    assert found["best"]["mean_g_per_kwh"] == pytest.approx(best)
    assert found["now"]["mean_g_per_kwh"] == pytest.approx(now)
    assert found["best"]["carbon_kg"] == pytest.approx(1.8 * best / 1000)
    assert found["job"]["energy_kwh"] == pytest.approx(1.8)
    assert found["saving_against_now"] == pytest.approx(1 - best / now)
    assert found["window"]["deadline"] == "2026-11-22T16:00:00-08:00"
    (profile,) = found["profiles"]
    assert (profile["kind"], profile["year"], len(profile["g_per_kwh"])) == ("mean profile", 2017, 24)


def test_in_words(capsys):
    code, out, _ = run(capsys, "--hours", 6, "--power-w", 300, *CALIFORNIA)
    assert code == 0
    text = " ".join(out.split())
    assert "Start at Sun 22 Nov 2026 09:00 UTC−08:00 (Sun 22 Nov 17:00 UTC)" in text
    assert "it is done at Sun 22 Nov 2026 15:00 UTC−08:00" in text
    assert "It draws 1.8 kWh at 209.9 g/kWh on average and emits 377.7 g CO₂e: 31 % less than starting now" in text
    assert "US-CA: 2017 mean profile, not a forecast (basis: lifecycle, consumption, average). Source: CAISO" in text
    blocks, marks = out.rstrip().splitlines()[-3:-1]
    assert len(blocks) == 24
    assert (blocks[19], blocks[3]) == ("▁", "█")  # 11 and 19 o'clock
    assert marks == " " * 17 + "━" * 6


def test_without_power_there_are_no_grams(capsys):
    found = answer(capsys, "--hours", 6, *CALIFORNIA)
    assert found["best"]["carbon_kg"] is None
    assert found["job"]["energy_kwh"] is None
    _, out, _ = run(capsys, "--hours", 6, *CALIFORNIA)
    assert "CO₂e" not in out
    assert "Its electricity carries 209.9 g/kWh on average" in out


def test_starting_now_may_be_best(capsys):
    options = ("--hours", 2, "--deadline", "5h", "--region", "US-CA", "--start", "2026-11-21T11:00")
    _, out, _ = run(capsys, *options)
    assert (
        "Start now, Sat 21 Nov 2026 11:00 UTC−08:00 (Sat 21 Nov 19:00 UTC): nothing in this window is greener." in out
    )
    assert answer(capsys, *options)["saving_against_now"] == 0


def test_pauses(capsys):
    options = ("--hours", 6, "--interruptible", "--region", "california", "--start", "2026-11-21T10:20")
    found = answer(capsys, *options)
    assert [(p["start"][11:16], p["end"][11:16]) for p in found["best"]["pieces"]] == [
        ("10:20", "15:00"),
        ("09:00", "10:20"),
    ]
    assert found["best"]["mean_g_per_kwh"] < found["unbroken"]["mean_g_per_kwh"]
    assert len(found["unbroken"]["pieces"]) == 1
    _, out, _ = run(capsys, *options)
    assert "1 pause, 18 h in all, for 3.4 % less carbon than the best run without a break" in " ".join(out.split())
    slots = answer(capsys, *options, "--slot-min", 180)
    assert found["best"]["mean_g_per_kwh"] <= slots["best"]["mean_g_per_kwh"] <= slots["unbroken"]["mean_g_per_kwh"]


def test_phases_of_power(capsys, tmp_path):
    (tmp_path / "x.csv").write_text(csv_of([100, 300, 100, 200, 200]))
    options = ("--hours", 2, "--deadline", "5h", "--profile", tmp_path / "x.csv", "--start", "2026-11-21T00:00+01:00")
    found = answer(capsys, *options, "--power-w", "100:1,900:1")
    assert found["best"]["start"][11:16] == "00:00"  # UTC: it draws most in the clean third hour of the file
    assert found["best"]["carbon_kg"] == pytest.approx((0.1 * 300 + 0.9 * 100) / 1000)
    assert found["job"]["phases"] == [{"hours": 1, "power_w": 100}, {"hours": 1, "power_w": 900}]


def test_summer_time_ends_in_the_window(capsys):
    found = answer(capsys, "--hours", 1, "--deadline", "4h", "--region", "US-CA", "--start", "2026-10-31T23:30")
    assert found["window"]["start"] == "2026-10-31T23:30:00-07:00"
    assert found["window"]["deadline"] == "2026-11-01T02:30:00-08:00"  # four hours later, by the clock three
    _, out, _ = run(capsys, "--hours", 1, "--deadline", "4h", "--region", "US-CA", "--start", "2026-10-31T23:30")
    assert "UTC−07:00" in out
    assert "UTC−08:00" in out


def test_a_start_with_its_own_offset_and_a_deadline_as_a_time(capsys):
    found = answer(
        capsys, "--hours", 1, "--region", "US-CA", "--start", "2026-11-22T00:00Z", "--deadline", "2026-11-22T06:00"
    )
    assert found["window"]["start"] == "2026-11-21T16:00:00-08:00"
    assert found["window"]["deadline"] == "2026-11-22T06:00:00-08:00"


def test_places_from_a_file_each_in_its_own_time(capsys, tmp_path):
    path = tmp_path / "grids.csv"
    france = csv_of([50] * 24, "FR", signal="average")
    path.write_text(france + "".join(csv_of([400] * 12 + [40] * 12, "IN", signal="average").splitlines(True)[1:]))
    options = ("--hours", 3, "--deadline", "20h", "--profile", path, "--start", "2026-11-21T02:00", "--power-w", 1000)
    found = answer(capsys, *options, "--region", "FR,IN")
    assert found["now"]["region"] == "FR"
    assert found["now"]["start"] == "2026-11-21T02:00:00+01:00"
    assert found["best"]["region"] == "IN"
    assert found["best"]["start"] == "2026-11-21T16:30:00+05:30"
    assert [plan["region"] for plan in found["places"]] == ["FR", "IN"]
    _, out, _ = run(capsys, *options, "--region", "FR,IN")
    assert "Start in IN at Sat 21 Nov 2026 16:30 UTC+05:30 (Sat 21 Nov 11:00 UTC)" in out
    assert "best there" in out
    everywhere = answer(capsys, *options)  # all zones of the file
    assert len(everywhere["places"]) == 2


def test_a_file_for_each_region(capsys, tmp_path):
    for name, value in (("a", 50), ("b", 30)):
        (tmp_path / f"{name}.csv").write_text(csv_of([value] * 24))
    files = ("--profile", tmp_path / "a.csv", "--profile", tmp_path / "b.csv")
    found = answer(capsys, "--hours", 3, "--deadline", "9h", "--region", "FR,DE", *files, "--start", "2026-11-21T02:00")
    assert [plan["region"] for plan in found["places"]] == ["FR", "DE"]
    assert found["best"]["region"] == "DE"
    assert found["best"]["start"].endswith("+01:00")


def test_a_place_whose_time_zone_nobody_knows(capsys, tmp_path):
    (tmp_path / "lab.csv").write_text(csv_of([50] * 24))
    options = ("--hours", 3, "--deadline", "9h", "--profile", tmp_path / "lab.csv", "--start", "2026-11-21T02:00Z")
    found = answer(capsys, *options)
    assert found["best"]["start"].endswith("+00:00")
    assert found["notes"] == ["No time zone is known for lab: its times are UTC (--time-zone names another)."]
    found = answer(capsys, *options, "--time-zone", "Asia/Tokyo")
    assert found["best"]["start"].endswith("+09:00")
    assert found["notes"] == []


def test_different_bases_are_refused_and_the_option_is_named(capsys, tmp_path):
    (tmp_path / "a.csv").write_text(csv_of([50] * 24, "A", signal="marginal"))
    (tmp_path / "b.csv").write_text(csv_of([40] * 24, "B", signal="average"))
    options = ("--hours", 3, "--deadline", "9h", "--profile", tmp_path / "a.csv", "--profile", tmp_path / "b.csv")
    code, _, err = run(capsys, *options, "--start", "2026-11-21T02:00Z")
    assert code == 2
    assert err == (
        "error: A and B: count different things: marginal and average "
        "(--allow-mixed-basis compares them all the same)\n"
    )
    found = answer(capsys, *options, "--start", "2026-11-21T02:00Z", "--allow-mixed-basis")
    assert found["best"]["region"] == "B"


def test_a_region_without_a_profile_says_what_there_is(capsys):
    code, _, err = run(capsys, "--hours", 6, "--region", "FR,Atlantis,US-CA")
    assert code == 2
    assert err.count("has no hourly profile in the package; allowed: US-CA; or give a CSV file (--profile)") == 2
    for source in ("electricity-maps", "watttime", "uk", "carbon-aware-sdk"):
        assert source in err


def test_no_region_at_all(capsys):
    code, _, err = run(capsys, "--hours", 6)
    assert code == 2
    assert "--region: none given; allowed: US-CA" in err


def test_every_mistake_at_once(capsys, tmp_path):
    (tmp_path / "x.csv").write_text("time,g_per_kwh\n2026-01-01T00:00Z,nan\n2026-01-01T01:00Z,-3\n")
    code, out, err = run(
        capsys,
        *("--hours", "-1", "--deadline", "soon", "--profile", tmp_path / "x.csv", "--profile", tmp_path / "no.csv"),
        *("--start", "yesterday", "--power-w", "many", "--slot-min", "30", "--time-zone", "Mars/Olympus"),
        *("--plot", "x.pdf"),
    )
    assert code == 2
    assert not out
    for part in (
        "--hours: -1 h",
        "--deadline: 'soon' is not a deadline",
        "--start: 'yesterday' is not a time",
        "--slot-min: is given without --interruptible",
        "--plot: x.pdf has no known ending; allowed: .svg, .png, .html",
        "--time-zone: unknown time zone 'Mars/Olympus'",
    ):
        assert part in err, err
    code, _, err = run(capsys, "--hours", 1, "--profile", tmp_path / "x.csv", "--profile", tmp_path / "no.csv")
    assert "x.csv, line 2: 'nan' is not an intensity" in err
    assert "x.csv, line 3: '-3' is not an intensity" in err
    assert "no.csv: cannot be read: No such file" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--hours", "nan"), "--hours: nan h"),
        (("--hours", "1e300"), "--hours: 1e+300 h"),
        (("--hours", "2", "--power-w", "0"), "--power-w: '0'"),
        (("--hours", "2", "--power-w", "inf"), "--power-w: 'inf'"),
        (("--hours", "2", "--power-w", "3:1"), "its phases last 1 h, the job 2 h"),
        (("--hours", "2", "--power-w", "3:1,,"), "--power-w: ''"),
        (("--hours", "2", "--deadline", "0h"), "is not after the start"),
        (("--hours", "2", "--deadline", "2020-01-01"), "is not after the start"),
        (("--hours", "2", "--deadline", "99999d"), "too far off"),
        (("--hours", "2", "--deadline", "9999-12-31T23:59"), "the year 9999"),
        (("--hours", "2", "--start", "0001-01-01"), "the year 1"),
        (("--hours", "2", "--interruptible", "--slot-min", "45"), "multiples of 3600 s"),
        (("--hours", "2", "--interruptible", "--slot-min", "nan"), "--slot-min: nan min"),
        (("--hours", "2", "--interruptible", "--power-w", "1:1,2:1"), "different power"),
        (("--hours", "2", "--time-zone", "x"), "--time-zone: unknown time zone 'x'"),
    ],
)
def test_values_that_cannot_be(capsys, options, message):
    code, _, err = run(capsys, *options, "--region", "US-CA")
    assert code == 2, err
    assert message in err
    assert "Traceback" not in err


def test_a_deadline_that_is_too_near_says_what_would_help(capsys):
    code, _, err = run(capsys, "--hours", 6, "--deadline", "5h", "--region", "US-CA")
    assert code == 3
    assert "the best possible is 6 h, the limit is 5 h; what would help: a later deadline" in err


def test_a_window_that_the_file_does_not_cover(capsys, tmp_path):
    (tmp_path / "x.csv").write_text(csv_of([1] * 24))
    code, _, err = run(capsys, "--hours", 6, "--profile", tmp_path / "x.csv", "--start", "2026-11-21T20:00Z")
    assert code == 2
    assert (
        "does not cover 2026-11-21 20:00 to 2026-11-22 20:00 (UTC); allowed: 2026-11-20 23:00 to 2026-11-21 23:00"
        in err
    )


def test_pictures(capsys, tmp_path):
    options = ("--hours", 6.5, "--deadline", "48h", "--interruptible", *CALIFORNIA)
    first, again = tmp_path / "a.svg", tmp_path / "b.svg"
    for path in (first, again):
        code, out, _ = run(capsys, *options, "--plot", path)
        assert code == 0
        assert f"{path} is written." in out.replace("\n", "")
    assert first.read_bytes() == again.read_bytes()
    assert ET.fromstring(first.read_text()).tag.endswith("svg")
    assert run(capsys, *options, "--plot", tmp_path / "a.png")[0] == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_escapes_what_it_shows(capsys, tmp_path):
    zone = "<script>alert(1)</script>"
    (tmp_path / "x.csv").write_text(csv_of([1, 2] * 12, zone, source="<b>me & you"))
    page = tmp_path / "out" / "a.html"
    code, _, err = run(
        capsys,
        "--hours",
        2,
        "--deadline",
        "9h",
        "--profile",
        tmp_path / "x.csv",
        "--start",
        "2026-11-21T02:00Z",
        "--plot",
        page,
    )
    assert code == 0, err
    text = page.read_text()
    assert "<script" not in text
    assert "<b>" not in text
    assert "&lt;b&gt;me &amp; you" in text
    assert not re.search(r'(src|href)="(?!data:)', text)


def test_readers():
    assert read_job(1.5, None).duration_s == 5400
    assert read_job(2, "100:0.5,300:1.5").phases == ((1800.0, 100.0), (5400.0, 300.0))
    from datetime import UTC, datetime, timedelta

    start = datetime(2026, 1, 1, tzinfo=UTC)
    spans = {"90m": 1.5, "90min": 1.5, "24h": 24, "1.5h": 1.5, "3d": 72, " 2 h ": 2}
    for text, hours in spans.items():
        assert read_deadline(text, start, UTC) - start == timedelta(hours=hours)
