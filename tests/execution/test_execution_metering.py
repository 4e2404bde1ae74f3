"""Energy records of a study's work through failures, kills and old studies."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from catransformers.cli import main
from catransformers.config.study import read
from catransformers.energy.choose import problems_of
from catransformers.energy.estimate import processor_energy
from catransformers.energy.rapl import RaplMeter
from catransformers.errors import InputError
from catransformers.execution import events
from catransformers.execution.energy_ledger import EnergyLedger, uncommitted
from catransformers.execution.loop import run_study
from catransformers.execution.messages import request_of
from catransformers.execution.metering import attempts, energy_file, metered
from catransformers.execution.results import load_study
from catransformers.registry import METERS
from catransformers.reports.study.derive import summarise

OLD = Path(__file__).parents[1] / "study" / "data" / "schema-1"
DRIVE = Path(__file__).with_name("drive.py")
INSTALL = 'pip install "catransformers[measure]"'


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without any meter."""
    (tmp_path / "none").mkdir()
    monkeypatch.setitem(METERS.rows, "rapl", lambda: RaplMeter(tmp_path / "none", tmp_path / "stat"))
    for name in ("pynvml", "codecarbon"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize(
    ("measure", "device", "reason", "mend"),
    [
        ("codecarbon", "cpu", "codecarbon is not installed", INSTALL),
        ("nvml", "cuda", "pynvml is not installed", INSTALL),
        ("rapl", "cpu", "no RAPL counter", "intel_rapl_common"),
        ("nvml", "cpu", "this study runs on the CPU", ""),
    ],
)
def test_a_meter_asked_for_by_name_that_is_not_there_is_a_problem(bare, study, measure, device, reason, mend):
    section = replace(study(execution__measure=measure).execution, device=device)
    (problem,) = problems_of(section)
    assert problem.where == "execution.measure"
    assert reason in problem.what
    assert mend in problem.hint
    assert "estimate" in problem.allowed


def test_a_search_with_such_a_meter_writes_nothing_and_says_what_to_install(bare, study, fake, tmp_path):
    with pytest.raises(InputError) as caught:
        run_study(study(execution__measure="codecarbon"), tmp_path / "s", executor=fake)
    assert INSTALL in str(caught.value)
    assert not (tmp_path / "s").exists()
    assert fake.started == []


def prepared(study, folder, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    request = request_of(study(**changes), "trial", 3, {"text.layers": 3})
    request.write(folder)
    return request


def test_an_attempt_that_raises_is_recorded_like_any_other(study, tmp_path):
    request = prepared(study, tmp_path)
    for _ in range(2):
        with pytest.raises(RuntimeError), metered(request, tmp_path):
            raise RuntimeError("burnt")
    found = attempts(tmp_path)
    assert len({record.attempt for record in found}) == 2
    assert all(record.ended and (record.job, record.subject) == ("trial", 3) for record in found)


def test_records_of_other_requests_and_broken_ones_do_not_count(study, tmp_path):
    with metered(prepared(study, tmp_path), tmp_path):
        pass
    (tmp_path / energy_file("broken")).write_text('{"attempt": ')
    (tmp_path / energy_file("list")).write_text("[]")
    assert len(attempts(tmp_path)) == 1
    prepared(study, tmp_path, search__seed=5)
    assert attempts(tmp_path) == ()
    prepared(study, tmp_path, execution__measure="off")  # what was spent is spent, however it goes on
    assert len(attempts(tmp_path)) == 1


def test_off_records_nothing(study, fake, tmp_path):
    heard = []
    config = study(execution__measure="off", search__trials=2)
    results = run_study(config, tmp_path / "s", executor=fake, listen=heard.append)
    assert results.energy == ()
    assert not list((tmp_path / "s").rglob("energy-*"))
    assert [event.method for event in heard if isinstance(event, events.MeterChosen)] == ["off"]


def stored(folder):
    """(job, subject, ended) of what is in the database itself."""
    with sqlite3.connect(f"file:{folder / 'study.db'}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT job, subject, ended FROM energy").fetchall()
    connection.close()
    return sorted((job, subject, bool(ended)) for job, subject, ended in rows)


def test_every_job_is_recorded_with_its_result(study, fake, tmp_path):
    results = run_study(study(search__trials=3), tmp_path / "s", executor=fake)
    tested = sorted(e.subject for e in results.evaluations if e.pool == "test" and e.subject is not None)
    expected = [("base", -1), ("search", -1), ("test", -1), *(("test", number) for number in tested)]
    expected += [("trial", number) for number in range(3)]
    assert stored(tmp_path / "s") == sorted((job, subject, True) for job, subject in expected)
    assert load_study(tmp_path / "s").energy == results.energy
    assert uncommitted(results.directory, results.energy) == ()


def test_the_ledger_adds_up(study, fake, tmp_path):
    results = run_study(study(search__trials=3), tmp_path / "s", executor=fake)
    own = summarise(results).search_footprint
    files = [json.loads(path.read_text()) for path in (tmp_path / "s").rglob("energy-*.json")]
    (loop,) = [record for record in results.energy if record.job == "search"]
    for key in ("energy_j", "low_j", "high_j"):
        whole = sum(record[key] for record in files) + getattr(loop, key)
        assert getattr(own, key) == pytest.approx(whole)
    assert own.energy_j == pytest.approx(sum(own.by_job.values()))
    assert min(own.by_job.values()) > 0
    assert (own.trials, own.cut_off, own.unknown) == (3, 0, 0)


def test_failed_and_killed_attempts_count(study, fake, tmp_path, monkeypatch):
    monkeypatch.setitem(fake.environment, "FAKE_CRASH", "1")
    monkeypatch.setitem(fake.environment, "FAKE_REPORT", "2")
    monkeypatch.setitem(fake.environment, "FAKE_DIE_ONCE", "3")
    results = run_study(study(search__trials=4), tmp_path / "s", executor=fake)
    assert [trial.status for trial in results.trials] == ["complete", "failed", "failed", "complete"]
    ended = {number: [] for number in range(4)}
    for record in results.energy:
        if record.job == "trial":
            ended[record.subject].append(record.ended)
    assert {number: sorted(values) for number, values in ended.items()} == {
        0: [True],
        1: [True],
        2: [True],
        3: [False, True],  # the first attempt was killed, up to its last words
    }
    tested = 3 in {member.trial.number for member in results.front}  # the worker of its final test dies once, too
    assert summarise(results).search_footprint.cut_off == 1 + tested


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_records_survive_a_kill_and_the_resumed_study_adds_to_them(study, fake, tmp_path):
    config, folder = study(search__trials=3, execution__workers=1), tmp_path / "s"
    path = tmp_path / "study.toml"
    path.write_text(config.to_toml())
    process = subprocess.Popen(
        [sys.executable, str(DRIVE), str(path), str(folder)],
        env={**os.environ, "FAKE_HANG": "1"},
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not (folder / "trials" / "0001" / "pid").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)
    committed = stored(folder)
    assert ("trial", 0, True) in committed
    assert ("search", -1, False) in committed
    assert not [row for row in committed if row[:2] == ("trial", 1)]
    before = load_study(folder)
    (cut,) = [record for record in before.energy if record.subject == 1]
    assert not cut.ended

    after = run_study(config, folder, executor=fake)
    kept = {record.attempt: record for record in after.energy}
    assert all(kept[record.attempt] == record for record in before.energy)
    assert len([record for record in after.energy if record.job == "search"]) == 2
    assert sorted(r.ended for r in after.energy if (r.job, r.subject) == ("trial", 1)) == [False, True]
    assert stored(folder).count(("trial", 1, False)) == 1  # committed with the trial, not only in its file
    assert summarise(after).search_footprint.energy_j > summarise(before).search_footprint.energy_j
    assert summarise(after).search_footprint.cut_off == 2


def test_the_loops_own_record_replaces_itself_and_ends(study):
    with EnergyLedger(study().execution) as ledger:
        (first,) = ledger.records()
        (last,) = ledger.records(ended=True)
    assert first.attempt == last.attempt
    assert (first.job, first.subject, first.ended, last.ended) == ("search", None, False, True)
    assert last.energy_j >= first.energy_j


def test_a_meter_that_is_gone_when_a_worker_starts_becomes_an_estimate_that_says_so(bare, study, tmp_path):
    request = prepared(study, tmp_path, execution__measure="codecarbon")
    with metered(request, tmp_path):
        pass
    (record,) = attempts(tmp_path)
    assert (record.quality, record.method) == ("estimated", "estimate")
    assert record.detail.startswith("codecarbon was asked for but cannot be used here (codecarbon is not installed)")


# --- studies from before there were meters ---


@pytest.fixture
def old(tmp_path):
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def test_an_old_study_is_reported_from_its_processor_time_and_not_changed(old, capsys):
    before = (old / "study.db").read_bytes()
    results = load_study(old)
    own = summarise(results).search_footprint
    parts = [*results.trials, *results.evaluations]
    spent = sum(part.metrics["cpu_seconds"] for part in parts)
    assert own.energy_j == pytest.approx(processor_energy(spent).typical)
    assert (own.quality, own.methods, own.unknown) == ("estimated", ("processor time",), 0)
    with pytest.raises(SystemExit) as ended:
        main(["status", str(old), "--json"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["own_footprint"]["energy_j"] == pytest.approx(own.energy_j)
    assert (old / "study.db").read_bytes() == before


def test_a_search_brings_an_old_study_up_unless_it_is_another_study(old, fake):
    config, problems = read(old / "study.toml")
    assert not problems
    before = (old / "study.db").read_bytes()
    other = replace(config, search=replace(config.search, seed=9))
    with pytest.raises(InputError, match=r"search\.seed"):
        run_study(other, old, executor=fake)
    assert (old / "study.db").read_bytes() == before
    known = load_study(old)
    more = replace(config, search=replace(config.search, trials=4))
    results = run_study(more, old, executor=fake)
    assert results.trials[:3] == known.trials
    assert {(record.job, record.subject) for record in results.energy} >= {("trial", 3), ("search", None)}
    assert "processor time" in summarise(results).search_footprint.methods
