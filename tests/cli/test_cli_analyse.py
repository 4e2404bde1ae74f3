"""`analyse`: the paper's studies of a small finished study, in words and as JSON; every mistake is a message."""

import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from catransformers.designs.limits import Limits
from catransformers.execution.results import load_study
from catransformers.search.analysis import fronts_under, iso_accuracy, pruning, shares

ROOT = Path(__file__).parents[2]
VERBS = ("fronts", "iso-accuracy", "shares", "pruned")


@pytest.fixture
def results(study):
    return load_study(study)


def keys_of(data):
    if isinstance(data, dict):
        return set(data) | {key for value in data.values() for key in keys_of(value)}
    if isinstance(data, list):
        return {key for value in data for key in keys_of(value)}
    return set()


def test_fronts_are_those_of_the_library(run, study, results):
    least, most = results.costs.silicon.tops.min(), results.costs.silicon.tops.max()
    said = run("analyse", "fronts", study, "--max-tops", f"{most},{least},1e-9", "--json")
    assert said.code == 0
    own = results.costs.limits
    found = fronts_under(
        results.costs, results.trials, [Limits(latency=own.latency, tops=bound) for bound in (most, least, 1e-9)]
    )
    assert [row["hypervolume"] for row in said.data["fronts"]] == [row.hypervolume for row in found.rows]
    assert said.data["reference"] == {"accuracy": 0.0, "carbon": found.reference[0]}
    for row, expected in zip(said.data["fronts"], found.rows, strict=True):
        assert [one["trial"] for one in row["front"]] == [m.trial.number for m in expected.members]
        assert [one["total_kg"] for one in row["front"]] == [m.design.total_kg for m in expected.members]
        assert row["feasible_models"] + len(row["left_out"]) == 2
    last = said.data["fronts"][-1]
    assert (last["designs"], last["limits"]["max_tops"], last["label"]) == (0, 1e-9, "≤ 1e-09 TOPS")
    assert {one["limit"] for one in last["left_out"]} == {"max_tops"}
    assert all(one["missed_by"] == pytest.approx(one["least"] / 1e-9 - 1) for one in last["left_out"])


def test_fronts_in_words(run, study):
    said = run("analyse", "fronts", study, "--max-area-mm2", "9,0.0001", "--all")
    assert said.code == 0
    text = " ".join(said.out.split())
    for words in (
        "accuracy against carbon", "World average", "≤ 9 mm²", "100.0 %", "reference point carbon",
        "Limits of every front: latency ≤ 33.33 ms.",
        "≤ 0.0001 mm²: 2 trained models left out by max_area_mm2, 0.0001 mm²: at least", "MiB",
    ):  # fmt: skip
        assert words in text, words


def test_a_single_limit_and_none_at_all(run, study, results):
    plain = run("analyse", "fronts", study, "--json").data
    assert [row["label"] for row in plain["fronts"]] == ["the study's limits"]
    assert plain["fronts"][0]["hypervolume"] == fronts_under(results.costs, results.trials).rows[0].hypervolume
    assert plain["notes"] == []
    assert plain["finished"] is True
    both = run("analyse", "fronts", study, "--max-latency-ms", "none", "--max-parameters", "1e9", "--json").data
    assert both["fronts"][0]["label"] == "no limit on latency (due every 33.33 ms), ≤ 1,000,000,000 parameters"
    assert any("looser limit" in note for note in both["notes"])
    assert any("An inference is due every 33.33 ms" in note for note in both["notes"])
    assert both["fronts"][0]["limits"] == {"max_latency_ms": pytest.approx(1e3 / 30), "max_parameters": 10**9}


def test_two_quantities_and_a_picture(run, study, tmp_path):
    place = tmp_path / "new" / "fronts.svg"
    arguments = (
        "analyse",
        "fronts",
        study,
        "--minimise",
        "latency,carbon",
        "--max-area-mm2",
        "9,0.6",
        "--figure",
        place,
    )
    said = run(*arguments, "--json")
    assert said.code == 0
    assert said.data["minimise"] == ["latency", "carbon"]
    assert set(said.data["reference"]) == {"accuracy", "latency", "carbon"}
    assert said.data["figure"] == str(place)
    before = place.read_bytes()
    assert ET.fromstring(before).tag.endswith("svg")
    assert b"9 mm" in before
    assert b"latency (" in before
    text = run(*arguments).out
    assert "Picture:" in text
    assert "least latency" in text
    assert place.read_bytes() == before


def test_iso_accuracy_is_that_of_the_library(run, study, results):
    said = run("analyse", "iso-accuracy", study, "--tolerance", "60", "--json")
    assert said.code == 0
    base = results.evaluation(None, "validation").accuracy
    found = iso_accuracy(results.costs, results.trials, base, 0.6, preset_latency_s=None)
    assert said.data["accuracy"] == base
    assert said.data["trials"] == list(found.trials)
    assert [one["mode"] for one in said.data["modes"]] == ["carbon", "latency", "energy", "all", "area", "tcdp"]
    for one, expected in zip(said.data["modes"], found.choices, strict=True):
        assert one["values"] == dict(expected.values)
        assert one["relative_to_carbon"] == expected.relative_to(found.choices[0])
        assert one["total_kg"] == pytest.approx(one["embodied_kg"] + one["operational_kg"])
    text = " ".join(run("analyse", "iso-accuracy", study, "--tolerance", "60").out.split())
    for words in ("the base's", "1.00×", "Built for latency instead of carbon", "latency ≤ 33.33 ms", "the knee of"):
        assert words in text, words


def test_a_mode_without_designs_is_told_beside_the_others(run, study):
    few = run("analyse", "iso-accuracy", study, "--tolerance", "60", "--modes", "latency,tcdp", "--json").data
    assert [one["mode"] for one in few["modes"]] == ["latency", "tcdp"]
    assert all(one["relative_to_carbon"] is None for one in few["modes"])


def test_shares(run, study, results):
    data = run("analyse", "shares", study, "--json").data
    found = shares(results.front)
    assert [one["trial"] for one in data["designs"]] == [one.member.trial.number for one in found]
    for one in data["designs"]:
        assert one["embodied_share"] + one["operational_share"] == pytest.approx(1)
    assert data["base"]["total_kg"] == results.costs.base_best.total_kg
    text = " ".join(run("analyse", "shares", study).out.split())
    assert "using the device takes" in text
    assert "unpruned" in text


def test_pruned(run, study, results):
    data = run("analyse", "pruned", study, "--bands", "2", "--json").data
    found = pruning(results.costs.space, results.front, results.trials, 2)
    assert [one["name"] for one in data["dimensions"]] == [row.name for row in found.dimensions]
    assert [one["bands"] for one in data["dimensions"]] == [list(row.bands) for row in found.dimensions]
    assert (data["models"], data["trained"]) == (found.models, 2)
    text = " ".join(run("analyse", "pruned", study).out.split())
    assert "FFN width" in text
    assert "order of first pruning" in text


@pytest.mark.parametrize("verb", VERBS)
def test_another_scenario_changes_the_costs(run, study, verb):
    wide = ("--tolerance", "60") if verb == "iso-accuracy" else ()
    said = run("analyse", verb, study, "--scenario", "paper", *wide, "--json")
    assert said.code == 0
    assert said.data["scenario"]["name"] == "paper"


def test_an_unfinished_study_is_told_to_be_one(run, study):
    config = study / "study.toml"
    config.write_text(config.read_text().replace("trials = 3", "trials = 4"))
    for verb in VERBS:
        wide = ("--tolerance", "60") if verb == "iso-accuracy" else ()
        said = run("analyse", verb, study, *wide)
        assert said.code == 0
        assert "not finished (3 of 4 trials)" in " ".join(said.out.split())
        data = run("analyse", verb, study, *wide, "--json").data
        assert data["finished"] is False
        assert "not finished" in data["notes"][0]


def test_a_study_of_three_quantities_asks_for_one_or_two(run, study):
    config = study / "study.toml"
    text, found = re.subn(r'(?m)^mode = "carbon"$', 'minimise = ["carbon", "latency", "area"]', config.read_text())
    assert found == 1
    config.write_text(text)
    said = run("analyse", "shares", study)
    assert said.code == 2
    assert "minimises carbon, latency, area" in said.err
    assert "--minimise" in said.err
    assert run("analyse", "shares", study, "--minimise", "carbon,area").code == 0
    assert run("analyse", "iso-accuracy", study, "--tolerance", "60").code == 0


def test_a_study_at_the_95th_percentile_says_so(run, study):
    config = study / "study.toml"
    config.write_text(config.read_text().replace('carbon_quantile = "p50"', 'carbon_quantile = "p95"'))
    said = run("analyse", "fronts", study, "--json")
    assert any("95th percentile" in note for note in said.data["notes"])
    row = said.data["fronts"][0]["front"][0]
    assert said.data["reference"]["carbon"] > row["total_kg"]


@pytest.mark.parametrize("verb", VERBS)
def test_a_study_without_a_trained_model(run, study, verb):
    with sqlite3.connect(study / "study.db") as store:
        for table in ("trials", "trial"):
            if store.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                store.execute(f"DELETE FROM {table}")
    said = run("analyse", verb, study)
    assert said.code == 2
    assert "no trial has been completed" in said.err
    assert not said.out


@pytest.mark.parametrize("verb", VERBS)
def test_every_mistake_at_once(run, tmp_path, verb):
    said = run("analyse", verb, tmp_path, "--scenario", "alwayson", "--max-latency-ms", "-1", "--max-tops", "wide")
    assert said.code == 2
    for words in ("'always-on'", "--max-latency-ms", "'-1' is no limit", "--max-tops", "no study in this folder"):
        assert words in said.err, words


def test_mistakes_in_what_fronts_are_asked(run, study, tmp_path):
    said = run(
        "analyse", "fronts", study, "1", "--max-tops", "4,0", "--max-area-mm2", "1,2", "--max-power-w", "1,inf",
        "--minimise", "carbn,latency,latency", "--figure", tmp_path / "front.gif",
    )  # fmt: skip
    assert said.code == 2
    for words in (
        "joined by commas: --max-tops 20,4,1", "--max-tops: '0' is no limit", "--max-power-w: 'inf' is no limit",
        "have several values each", "did you mean 'carbon'?", "a quantity twice; allowed: one quantity or two",
        ".svg or .png",
    ):  # fmt: skip
        assert words in said.err, words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("iso-accuracy", "--modes", "carbn"), "did you mean 'carbon'?"),
        (("shares", "--max-parameters", "0.5"), "--max-parameters: '0.5' is no limit; allowed: 1 or more"),
        (("iso-accuracy", "--modes", ","), "no mode"),
        (("iso-accuracy", "--accuracy", "101"), "0 to 100 (per cent)"),
        (("iso-accuracy", "--accuracy", "nan"), "0 to 100 (per cent)"),
        (("iso-accuracy", "--tolerance", "-1"), "0 to 100 (points)"),
        (("iso-accuracy", "--accuracy", "100", "--tolerance", "0"), "where the trained models are"),
        (("iso-accuracy", "--max-tops", "1,2"), "`catransformers analyse fronts` takes several"),
        (("shares", "--minimise", "speed"), "unknown quantity 'speed'"),
        (("shares", "--minimise", "carbon,latency,area"), "3 quantities; allowed: one quantity or two"),
        (("pruned", "--bands", "0"), "--bands"),
        (("front",), "did you mean 'fronts'?"),
    ],
)
def test_bad_input(run, study, arguments, words):
    verb, *rest = arguments
    said = run("analyse", verb, study, *rest)
    assert said.code == 2
    assert words in said.err
    assert not said.out


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_feasible_says_what_would_help(run, study, verb):
    wide = ("--tolerance", "60") if verb == "iso-accuracy" else ()
    said = run("analyse", verb, study, "--max-latency-ms", "0.00001", *wide)
    assert said.code == 3
    assert "limit on latency" in said.err
    assert re.search(r"raise --max-latency-ms to \d", said.err)
    assert "objectives.max" not in said.err and ".--" not in said.err
    assert not said.out


def test_limits_that_an_inference_a_period_makes_idle_say_so(run, study):
    said = run("analyse", "fronts", study, "--scenario", "always-on", "--max-latency-ms", "10,50,none")
    assert said.code == 0
    assert "≤ 10 ms " in said.out and "≤ 10 ms (due" not in said.out
    assert "≤ 50 ms (due every 33.33 ms)" in said.out and "no limit on latency (due every 33.33 ms)" in said.out


def test_status_of_a_file_says_what_it_wants(run, tmp_path):
    (tmp_path / "my.toml").touch()
    said = run("status", tmp_path / "my.toml")
    assert said.code == 2
    assert "is a file; allowed: a folder that `search` made" in said.err and "runs/" in said.err


def test_a_picture_that_cannot_be_written_is_a_message(run, study, tmp_path):
    (tmp_path / "file").touch()
    said = run("analyse", "fronts", study, "--figure", tmp_path / "file" / "fronts.svg")
    assert said.code == 2
    assert "cannot be written" in said.err


def test_an_accuracy_that_no_trained_model_reaches(run, study):
    config = study / "study.toml"
    text = config.read_text()
    assert "[objectives]" in text
    config.write_text(text.replace("[objectives]", "[objectives]\nmin_accuracy = 0.999999", 1))
    said = run("analyse", "fronts", study)
    assert said.code == 3
    assert "no trained model reaches the accuracy of 99.9999 %" in said.err
    assert "lower objectives.min_accuracy to 0." in said.err.replace("\n", " ")
    reported = run("report", study)
    assert reported.code == 3 and "no trained model reaches the accuracy of 99.9999 %" in reported.err
    assert "No model found reaches the accuracy of 99.9999 %" in run("status", study).out.replace("\n", " ")


def test_no_torch_and_no_plotting_without_a_picture(study):
    code = (
        "import sys\n"
        "from catransformers.cli import main\n"
        f"try: main(['analyse', 'pruned', {str(study)!r}])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'botorch', 'ax', 'plotly', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)


def test_every_key_is_documented(run, study, tmp_path):
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    for verb, *more in (
        ("fronts", "--max-tops", "9,1e-9", "--figure", tmp_path / "f.svg"),
        ("iso-accuracy", "--tolerance", "60"),
        ("shares",),
        ("pruned",),
    ):
        data = run("analyse", verb, study, *more, "--json").data
        for key in ("scenario", "dimensions" if verb != "pruned" else "scenario"):
            data.pop(key, None)
        for key in keys_of(data) - set(load_study(study).costs.space.names):
            assert f"`{key}`" in text, (verb, key)


def documented():
    page = (ROOT / "docs" / "howto-analyse.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("catransformers analyse ")]


@pytest.mark.parametrize("line", documented())
def test_documented_commands_are_understood(run, study, tmp_path, monkeypatch, line):
    """On another study than the page's; what it has no design for is said, and nothing else is wrong."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(study, tmp_path / "runs" / "demo")
    said = run(*shlex.split(line, comments=True)[1:])
    assert said.code in (0, 3) or "where the trained models are" in said.err, said.err


def test_the_documented_code_runs(study, results, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(study, tmp_path / "runs" / "demo")
    page = (ROOT / "docs" / "howto-analyse.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    base = results.evaluation(None, "validation").accuracy
    exec(code.replace("accuracy=0.99", f"accuracy={base}, tolerance=0.6"), {})
    out = capsys.readouterr().out
    assert "ffn_dim" in out
    assert "tcdp" in out


def test_the_page_has_every_command():
    assert {line.split()[2] for line in documented()} == set(VERBS)
