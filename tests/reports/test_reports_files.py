"""Data files, the report's folder, and the two commands, on studies as a search leaves them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sqlite3
from pathlib import Path

import pytest
from made_up_studies import StudyOf, made_up_summary

from catransformers.cli import main
from catransformers.designs.estimate import estimate
from catransformers.errors import InputError
from catransformers.reports.study import write
from catransformers.reports.study.derive import read_results, summarise
from catransformers.reports.study.summary import StudySummary, ValueWithError
from catransformers.reports.study.tables import front_csv, study_object, terminal_front
from catransformers.reports.study.write import write_report, write_summary
from catransformers.study.directory import StudyDirectory

DOCS = Path(__file__).parents[2] / "docs" / "json.md"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


def keys_of(data: object) -> set[str]:
    if isinstance(data, dict):
        return set(data) | {key for value in data.values() for key in keys_of(value)}
    if isinstance(data, list):
        return {key for value in data for key in keys_of(value)}
    return set()


def test_every_key_is_documented(summary: StudySummary) -> None:
    text = DOCS.read_text(encoding="utf-8")
    data = study_object(summary)
    data.pop("scenario")
    for key in keys_of(data) - set(summary.base.dimensions):
        assert f"`{key}`" in text or f'"{key}"' in text, key


def test_the_csv_is_the_front(summary: StudySummary) -> None:
    rows = list(csv.DictReader(io.StringIO(front_csv(summary))))
    assert [row["design"] for row in rows] == [d.name for d in summary.front]
    for row, design in zip(rows, summary.front, strict=True):
        assert float(row["total_kg"]) == design.cost.total_kg
        parts = sum(float(row[f"{part}_kg"]) for part in ("die", "dram", "package", "operational"))
        assert parts == pytest.approx(design.cost.total_kg)
        assert row["scenario"] == "always-on"
        assert int(row["vision.layers"]) == design.dimensions["vision.layers"]
    costs = [float(row["total_kg"]) for row in rows]
    assert costs == sorted(costs)


def test_the_terminal_table_has_a_row_a_design_and_the_base(summary: StudySummary) -> None:
    titles, rows = terminal_front(summary)
    assert len(rows) == len(summary.front) + 1
    assert {len(row) for row in rows} == {len(titles)}
    assert rows[-1][0] == "base"


def test_a_summary_agrees_with_the_store_and_the_estimate(study: StudyDirectory) -> None:
    results = read_results(study.root)
    found = summarise(results)
    assert [t.number for t in found.trials] == [0, 1, 2, 3, 4]
    assert [d.trial for d in found.front] == [m.trial.number for m in results.front] == [2, 1, 0]
    for design in [*found.front, found.base]:
        alone = estimate(
            design.estimate.model, design.cost.accelerator, technology="default-22nm", scenario="always-on"
        )
        assert alone.cost.latency_s == pytest.approx(design.cost.latency_s, rel=1e-9)
        assert alone.cost.energy_j == pytest.approx(design.cost.energy_j, rel=1e-9)
        assert float(alone.footprint.total_kg) == pytest.approx(design.cost.total_kg, rel=1e-9)
        assert alone.range_kg == pytest.approx(design.range_kg, rel=1e-9)
    pruned = next(d for d in found.front if d.trial == 1)
    assert pruned.validation_loss is not None
    assert pruned.test_loss is not None
    assert pruned.validation_loss.value == pytest.approx(0.05)
    assert (pruned.test_loss.value, pruned.test_loss.error) == (pytest.approx(0.04), 0.01)
    assert found.hypervolume == tuple(results.convergence)
    assert found.finished
    assert found.tuned_test == ValueWithError(0.64, 0.015)
    assert found.trials[3].status == "failed"
    assert found.attribution is not None
    assert found.attribution.pruned_best.objective == found.front[found.headline or 0].cost.objective
    assert len(found.provenance.base_sha256) == 64


def test_the_report_holds_verified_models(study: StudyDirectory) -> None:
    written = write_report(read_results(study.root))
    folder = study.root / "report"
    assert written.folder == folder
    names = {path.as_posix() for path in written.files}
    assert {"report.html", "front.csv", "front.json", "front.svg"} < names
    for design in written.summary.front:
        own = folder / "designs" / f"{int(design.name):02d}"
        digest = hashlib.sha256((own / "model.safetensors").read_bytes()).hexdigest()
        assert json.loads((own / "model.json").read_text())["sha256"] == digest
        data = json.loads((own / "design.json").read_text())
        assert data["trial"] == design.trial
        assert data["estimate"]["scenario"]["name"] == "always-on"
        total = sum(row["energy_j"] for row in data["estimate"]["breakdown"])
        assert total == pytest.approx(data["estimate"]["energy_j"])
    page = (folder / "report.html").read_text()
    assert "designs/01/model.safetensors" in page
    assert "&lt;script&gt;" in page
    assert not list(study.root.glob(".report*"))


def test_a_new_report_replaces_the_old_one_whole(study: StudyDirectory) -> None:
    write_report(read_results(study.root))
    stale = study.root / "report" / "designs" / "99"
    stale.mkdir()
    write_report(read_results(study.root), checkpoints=False)
    assert not stale.exists()
    assert not list(study.root.glob("report/designs/*/model.safetensors"))
    assert study.checkpoint(1).is_file()


def test_a_crash_leaves_the_old_report(study: StudyDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(read_results(study.root))
    before = {path: path.read_bytes() for path in (study.root / "report").rglob("*") if path.is_file()}

    def crash(_: object) -> str:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(write, "front_csv", crash)
    with pytest.raises(RuntimeError):
        write_report(read_results(study.root))
    after = {path: path.read_bytes() for path in (study.root / "report").rglob("*") if path.is_file()}
    assert before == after
    assert not list(study.root.glob(".report*"))


def test_foreign_folders_are_left_alone(study: StudyDirectory, tmp_path: Path) -> None:
    place = tmp_path / "thesis"
    place.mkdir()
    (place / "chapter.tex").write_text("years of work")
    with pytest.raises(InputError, match="holds other files"):
        write_summary(made_up_summary(), study, place, checkpoints=False)
    with pytest.raises(InputError, match="is a file"):
        write_summary(made_up_summary(), study, place / "chapter.tex", checkpoints=False)
    assert (place / "chapter.tex").read_text() == "years of work"


def test_all_bad_checkpoints_are_told_at_once(study: StudyDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    study.checkpoint(0).write_bytes(b"something else")
    study.checkpoint(1).unlink()
    study.checkpoint(2).with_suffix(".json").write_text("{")
    code, _, err = run(capsys, "report", str(study.root))
    assert code == 2
    assert err.count("error:") == 3
    assert "SHA-256" in err
    assert "cannot be read" in err
    assert "not JSON" in err
    assert "Traceback" not in err
    assert not (study.root / "report").exists()
    code, out, _ = run(capsys, "report", str(study.root), "--no-checkpoints")
    assert code == 0
    assert "report.html" in out


def test_status_in_words_and_as_json(study: StudyDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "status", str(study.root))
    assert code == 0
    assert "tiny: 5 of 5 trials, 1 failed" in out
    assert "less carbon than the unpruned base" in " ".join(out.split())
    assert "World average" in " ".join(out.split())
    code, out, _ = run(capsys, "status", str(study.root), "--json")
    data = json.loads(out)
    assert code == 0
    assert data["trials"] == {"planned": 5, "complete": 4, "failed": 1, "not_trained": 0, "left": 0}
    assert data["finished"] is True
    assert data["front"][0]["accuracy"]["test"]["value"] == 0.55
    assert data["scenario"]["name"] == "always-on"


def test_report_as_json_names_its_files(
    study: StudyDirectory, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = run(capsys, "report", str(study.root), "--json", "--out", str(tmp_path / "deep" / "report"))
    data = json.loads(out)
    assert code == 0
    for name in data["files"]:
        assert (tmp_path / "deep" / "report" / name).is_file()
    stored = json.loads((tmp_path / "deep" / "report" / "front.json").read_text())
    assert {key: value for key, value in data.items() if key not in ("report", "files")} == stored


def test_unfinished_studies_work_and_say_so(study_of: StudyOf, capsys: pytest.CaptureFixture[str]) -> None:
    study = study_of(trials=2, tested=False)
    code, out, _ = run(capsys, "status", str(study.root))
    assert code == 0
    assert "2 of 5 trials, about 18 s left" in out
    assert "not finished" in out
    code, _, _ = run(capsys, "report", str(study.root))
    assert code == 0
    assert "This study is not finished" in (study.root / "report" / "report.html").read_text()


def test_an_empty_study(study_of: StudyOf, capsys: pytest.CaptureFixture[str]) -> None:
    study = study_of(trials=0, tested=False)
    code, out, _ = run(capsys, "status", str(study.root))
    assert code == 0
    assert "No trial has been completed yet" in out
    code, _, err = run(capsys, "report", str(study.root))
    assert code == 2
    assert "no trial has been completed yet" in err
    assert not (study.root / "report").exists()


@pytest.mark.parametrize("verb", ["status", "report"])
def test_no_study_and_a_damaged_one(
    verb: str, study: StudyDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (tmp_path / "nowhere", tmp_path):
        code, _, err = run(capsys, verb, str(place))
        assert code == 2
        assert "no study" in err
    study.database.write_bytes(b"this is not SQLite" * 100)
    code, _, err = run(capsys, verb, str(study.root))
    assert code == 2
    assert "damaged" in err
    assert "Traceback" not in err


def test_a_store_of_a_later_version_is_refused(study: StudyDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(study.database) as connection:
        connection.execute("PRAGMA user_version = 999")
    code, _, err = run(capsys, "status", str(study.root))
    assert code == 2
    assert "update catransformers" in err
