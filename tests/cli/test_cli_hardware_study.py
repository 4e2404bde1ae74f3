"""`search`, `status` and `report` of a study in mode `hardware`."""

import csv
import json
import subprocess
import sys

import pytest

STUDY = """
name = "fixed"
[hardware]
space = "micro"
[hardware.dimensions]
cores = [1]
pe_x = [8, 32]
pe_y = [4, 16]
local_kib = [4]
local_bandwidth = [16]
[scenario]
base = "always-on"
[objectives]
mode = "hardware"
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CATRANSFORMERS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "study.toml").write_text(STUDY + "[accuracy]\nsteps = 3\n")
    return tmp_path


def test_search_status_and_report(run, here):
    said = run("search", "study.toml")
    assert said.code == 0
    assert "Mode hardware trains nothing: [accuracy] has no say." in said.err
    for words in ("fixed: embedded on", "nothing was pruned or trained", "no accuracy was measured", "exact", "knee"):
        assert words in said.out.replace("\n", " "), words
    assert {path.name for path in (here / "runs" / "fixed").iterdir()} == {"study.toml", "study.lock", "report"}
    report = here / "runs" / "fixed" / "report"
    files = {path.name: path.read_bytes() for path in report.iterdir()}
    assert set(files) == {"report.html", "front.svg", "front.csv", "front.json"}

    again = run("search", "study.toml", "--trials", 7)
    assert again.code == 0 and again.out == said.out
    assert "[accuracy], [search] have no say" in again.err
    assert {path.name: path.read_bytes() for path in report.iterdir() if path.suffix in (".json", ".csv")} == {
        name: content for name, content in files.items() if name.endswith(("json", "csv"))
    }

    status = run("status", "runs/fixed", "--json")
    assert status.data == json.loads(files["front.json"])
    assert (status.data["mode"], status.data["finished"]) == ("hardware", True)
    assert len(status.data["front"]) == len(list(csv.DictReader(files["front.csv"].decode().splitlines())))
    assert run("status", "runs/fixed").out in said.out.replace("\nReport: runs/fixed/report/report.html\n", "")

    page = files["report.html"].decode()
    assert "nothing was pruned or trained, and no accuracy was measured" in page
    assert status.data["headline"] in page.replace("\N{NO-BREAK SPACE}", " ")
    (report / "front.csv").unlink()
    told = run("report", "runs/fixed", "--json").data
    assert told["files"] == ["front.csv", "front.json", "front.svg", "report.html"]
    assert {key: told[key] for key in status.data} == status.data
    assert (report / "front.csv").read_bytes() == files["front.csv"]


def test_no_number_of_its_tables_is_broken(run):
    shown = run("search", "study.toml").out
    best = shown.split("Best for each objective")[1].split("The front")[0].splitlines()
    rows = [line.split() for line in best if line.strip() and line.split()[-1] in ("no", "yes")]
    assert [row[0] for row in rows] == ["carbon", "latency", "knee"]
    assert all(len(row) == 15 for row in rows)
    assert not any(line.split()[0].isdigit() for line in best if line.strip())


def test_its_front_is_that_of_sweep(run):
    run("search", "study.toml")
    own = run("status", "runs/fixed", "--json").data
    values = ("cores=1", "pe_x=8,32", "pe_y=4,16", "local_kib=4", "local_bandwidth=16")
    swept = run(
        "sweep", "--model", "embedded", "--space", "micro", "--scenario", "always-on", "--objectives", "carbon,latency",
        "--max-latency-ms", 1000 / 30, *(text for value in values for text in ("--values", value)), "--json",
    ).data  # fmt: skip
    assert own["front"] == swept["front"] and len(own["front"]) > 1
    assert (own["best"], own["knee"]) == (swept["best"], swept["knee"])


def test_under_another_scenario(run, here):
    run("search", "study.toml")
    before = json.loads((here / "runs/fixed/report/front.json").read_text())
    other = run("report", "runs/fixed", "--scenario", "paper", "--json").data
    assert other["report"].endswith("report-paper/report.html")
    assert other["scenario"]["name"] == "paper"
    assert other["front"] != before["front"]
    assert run("report", "runs/fixed", "--scenario", "papper").code == 2


def test_other_verbs_say_that_there_is_no_trained_model(run):
    run("search", "study.toml")
    for verb in ("export", "evaluate", "train"):
        said = run(verb, "runs/fixed", "--trial", 0)
        assert said.code == 2
        assert "mode hardware, in which no model is trained" in said.err


def test_mistakes_and_limits_that_nothing_keeps(run, here):
    (here / "study.toml").write_text(STUDY.replace("micro", "mirco") + "max_latency = 3\nmin_accuracy = 0.5\n")
    said = run("search", "study.toml")
    assert said.code == 2
    for words in ("did you mean 'micro'?", "did you mean 'max_latency_ms'?", "min_accuracy: cannot be told"):
        assert words in said.err
    (here / "study.toml").write_text(STUDY + "max_area_mm2 = 0.01\n")
    said = run("search", "study.toml")
    assert said.code == 3
    assert "raise max_area_mm2 to" in said.err
    assert not (here / "runs").exists()


def test_it_needs_no_torch():
    code = (
        "import sys; from catransformers.cli import main\n"
        "try: main(['search', 'study.toml'])\n"
        "except SystemExit as ended: assert not ended.code\n"
        "assert not {'torch', 'botorch', 'gpytorch', 'torchvision'} & set(sys.modules), 'torch'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
