"""The store: what is written comes back, what must not be written is refused, old files are brought up."""

import json
import math
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from catransformers.errors import IntegrityError
from catransformers.study import store as module
from catransformers.study.records import EnergyRecord, EvaluationRecord, ProposalRecord, TrialRecord
from catransformers.study.store import MIGRATIONS, Store

DIMENSIONS = {"vision.layers": 6, "text.heads": 4}
PROPOSAL = ProposalRecord(0, DIMENSIONS, "expected improvement", {"cost": 0.1 + 0.2, "predicted_accuracy": 1 / 3})
TRIAL = TrialRecord(
    number=0,
    dimensions=DIMENSIONS,
    status="complete",
    accuracy=0.1 + 0.2,
    accuracy_se=0.0123,
    metrics={"image_to_text": 1 / 3},
    parameters=149_620_737,
    macs=20_539_000_000,
    seconds=7.25,
    error="",
    proposal=PROPOSAL,
)
FAILED = replace(
    TRIAL, number=1, status="failed", accuracy=None, accuracy_se=None, error="it\n„burnt“",
    proposal=replace(PROPOSAL, number=1),
)  # fmt: skip


ENERGY = EnergyRecord("one", "trial", 2, 7.0, 3.0, 9.0, 5.0, "estimated", "rapl+estimate", "…", 4.5, ended=False)
DATA = Path(__file__).with_name("data")


def columns(store, table):
    return [row[1] for row in store._connection.execute(f"PRAGMA table_info({table})")]


def version(path):
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA user_version").fetchone()[0]
    finally:
        connection.close()


def filled(path):
    with Store(path, "create") as store:
        for record in (TRIAL, FAILED):
            store.add_proposal(record.proposal)
            store.add_trial(record)
        store.add_evaluation(EvaluationRecord(0, "test", 0.4, 0.01, -0.2, 0.02, {"x": 1.5}))
        store.add_evaluation(EvaluationRecord(None, "test", 0.6, 0.01))
        store.add_evaluation(EvaluationRecord(None, "validation", 0.65, 0.01))
    return path


def test_everything_comes_back_equal(tmp_path):
    with Store(filled(tmp_path / "study.db")) as store:
        assert store.trials() == [TRIAL, FAILED]
        assert store.proposals() == [TRIAL.proposal, FAILED.proposal]
        found = store.evaluations()
    assert [(e.subject, e.pool) for e in found] == [(None, "test"), (None, "validation"), (0, "test")]
    assert found[2] == EvaluationRecord(0, "test", 0.4, 0.01, -0.2, 0.02, {"x": 1.5})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_cannot_become_records(number):
    with pytest.raises(IntegrityError, match="accuracy"):
        replace(TRIAL, accuracy=number)
    with pytest.raises(IntegrityError, match="loss"):
        replace(TRIAL, metrics={"loss": number})
    with pytest.raises(IntegrityError, match="cost"):
        replace(PROPOSAL, reason={"cost": number})
    with pytest.raises(IntegrityError, match="difference_se"):
        EvaluationRecord(0, "test", 0.4, 0.01, -0.2, number)


def test_a_complete_trial_has_an_accuracy_and_a_failed_one_has_not():
    with pytest.raises(IntegrityError, match="complete with accuracy None"):
        replace(TRIAL, accuracy=None)
    with pytest.raises(IntegrityError, match="failed with accuracy"):
        replace(FAILED, accuracy=0.5)
    with pytest.raises(IntegrityError, match="complete and was not trained"):
        replace(TRIAL, untrained=True)


def test_nothing_is_written_twice_and_no_trial_without_its_proposal(tmp_path):
    with Store(filled(tmp_path / "study.db"), "write") as store:
        with pytest.raises(IntegrityError, match="not stored"):
            store.add_trial(TRIAL)
        with pytest.raises(IntegrityError, match="not stored"):
            store.add_proposal(PROPOSAL)
        with pytest.raises(IntegrityError, match="not stored"):
            store.add_trial(replace(TRIAL, number=7))
        with pytest.raises(IntegrityError, match="not stored"):
            store.add_evaluation(EvaluationRecord(None, "test", 0.1, 0.1))
        assert len(store.trials()) == 2


def test_the_origin_is_said_once(tmp_path):
    with Store(tmp_path / "study.db", "create") as store:
        assert store.origin() == {}
        store.add_origin({"base_sha256": "ab", "catransformers": "1"})
        with pytest.raises(IntegrityError, match="not stored"):
            store.add_origin({"new": "x", "base_sha256": "cd"})
        assert store.origin() == {"base_sha256": "ab", "catransformers": "1"}


def test_a_reader_cannot_write_and_needs_a_study(tmp_path):
    path = filled(tmp_path / "study.db")
    with Store(path) as store, pytest.raises(IntegrityError, match="not stored"):
        store.add_proposal(replace(PROPOSAL, number=5))
    with pytest.raises(IntegrityError, match="no study here"):
        Store(tmp_path / "other.db")
    assert not (tmp_path / "other.db").exists()


def test_a_reader_sees_commits_while_a_writer_has_the_file_open(tmp_path):
    path = filled(tmp_path / "study.db")
    with Store(path, "write") as writer, Store(path) as reader:
        writer.add_proposal(replace(PROPOSAL, number=2))
        assert len(reader.proposals()) == 3


def test_a_file_that_is_no_study_is_refused(tmp_path):
    path = tmp_path / "study.db"
    path.write_bytes(b"not a database at all, but long enough to look at" * 20)
    with pytest.raises(IntegrityError, match="cannot be used as a study"):
        Store(path, "write")


def test_a_newer_schema_is_refused(tmp_path):
    path = filled(tmp_path / "study.db")
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(IntegrityError, match="update catransformers"):
        Store(path, "write")


def test_an_older_schema_is_brought_up_without_loss(tmp_path, monkeypatch):
    path = filled(tmp_path / "study.db")
    monkeypatch.setattr(module, "MIGRATIONS", (*MIGRATIONS, "ALTER TABLE trials ADD COLUMN note TEXT;"))
    with Store(path, "write") as store:
        assert store.trials() == [TRIAL, FAILED]
        assert "note" in columns(store, "trials")
    assert version(path) == len(MIGRATIONS) + 1
    with Store(path) as store:
        assert len(store.trials()) == 2


def test_a_reader_of_an_older_schema_leaves_the_file_as_it_is(tmp_path, monkeypatch):
    path = filled(tmp_path / "study.db")
    monkeypatch.setattr(module, "MIGRATIONS", (*MIGRATIONS, "ALTER TABLE trials ADD COLUMN note TEXT;"))
    before = path.read_bytes()
    with Store(path) as store:
        assert store.trials() == [TRIAL, FAILED]
        assert "note" in columns(store, "trials")
        with pytest.raises(IntegrityError, match="not stored"):
            store.add_proposal(replace(PROPOSAL, number=5))
    assert path.read_bytes() == before
    assert version(path) == len(MIGRATIONS)


@pytest.fixture
def schema_1(tmp_path):
    """A study's database from before there were energy records, made by version 0.1.0 of that time."""
    return Path(shutil.copy(DATA / "schema-1" / "study.db", tmp_path / "study.db"))


def test_a_study_from_before_energy_records_can_be_read_without_a_change(schema_1):
    before = schema_1.read_bytes()
    assert version(schema_1) == 1
    with Store(schema_1) as store:
        assert [trial.accuracy for trial in store.trials()] == [0.131, 0.14, 0.7685]
        assert store.energy() == []
    assert schema_1.read_bytes() == before


def test_a_study_from_before_energy_records_takes_them_once_it_goes_on(schema_1):
    with Store(schema_1) as store:
        trials, evaluations, origin = store.trials(), store.evaluations(), store.origin()
    with Store(schema_1, "write") as store:
        store.add_energy([ENERGY])
    assert version(schema_1) == len(MIGRATIONS)
    with Store(schema_1) as store:
        assert (store.trials(), store.evaluations(), store.origin()) == (trials, evaluations, origin)
        assert store.energy() == [ENERGY]


@pytest.fixture
def schema_2(tmp_path):
    """A study's database from before the columns for adopted, untrained and the accelerator's row."""
    return Path(shutil.copy(DATA / "schema-2" / "study.db", tmp_path / "study.db"))


def plain(store):
    """All records of a store as `schema-2/records.json` has them, which the code of that time read."""
    return {
        "proposals": [asdict(record) for record in store.proposals()],
        "trials": [
            {name: value for name, value in asdict(record).items() if name != "proposal"} for record in store.trials()
        ],
        "evaluations": [asdict(record) for record in store.evaluations()],
        "energy": [asdict(record) for record in store.energy()],
        "origin": store.origin(),
    }


def said():
    """What the code of that time read; the accelerator's row stood among the numbers of the reason as well."""
    records = json.loads((DATA / "schema-2" / "records.json").read_text(encoding="utf-8"))
    for record in records["proposals"]:
        assert record["reason"].pop("accelerator", None) == record["accelerator"]
    return records


def test_what_stood_in_texts_and_numbers_gets_columns_of_its_own(schema_2):
    before = schema_2.read_bytes()
    with Store(schema_2) as store:
        found = plain(store)
    assert found == said()
    assert schema_2.read_bytes() == before
    assert [p["adopted"] for p in found["proposals"]] == [True] * 2 + [False] * 6
    assert [p["accelerator"] for p in found["proposals"]] == [None, None, 3, 3, None, 0, 3, None]
    assert [t["number"] for t in found["trials"] if t["untrained"]] == [4, 7]
    assert [t["number"] for t in found["trials"] if t["status"] == "failed"] == [4, 6, 7]
    with Store(schema_2, "write") as store:
        assert plain(store) == found
    assert version(schema_2) == len(MIGRATIONS)
    with Store(schema_2) as store:
        assert plain(store) == found


@pytest.mark.parametrize("statement", ["ADD COLUMN untrained", "SET adopted", "SET untrained", "COMMIT"])
def test_a_kill_while_a_file_is_brought_up_leaves_the_old_file_or_the_new(schema_2, statement):
    code = f"""
import os, signal, sqlite3, sys
from pathlib import Path
from catransformers.study import store
connect = store._connect
def watched(path, mode):
    connection = connect(path, mode)
    connection.set_trace_callback(lambda text: {statement!r} in text and os.kill(os.getpid(), signal.SIGKILL))
    return connection
store._connect = watched
store.Store(Path(sys.argv[1]), "write")
"""
    command = [sys.executable, "-c", code, str(schema_2)]
    assert subprocess.run(command, check=False, timeout=60).returncode == -9
    assert version(schema_2) == 2
    for mode in ("read", "write", "read"):
        with Store(schema_2, mode) as store:
            assert plain(store) == said()


def test_a_reader_does_not_care_for_a_writer_that_brings_the_file_up(schema_2):
    with Store(schema_2) as reader, Store(schema_2, "write") as writer:
        writer.add_proposal(replace(PROPOSAL, number=8, accelerator=2))
        assert len(reader.proposals()) == 8
        with Store(schema_2) as late:
            assert late.proposals()[8] == replace(PROPOSAL, number=8, accelerator=2)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions")
@pytest.mark.parametrize("schema", ["schema-1", "schema-2", "now"])
def test_a_folder_that_cannot_be_written_can_be_read(tmp_path, schema):
    path = filled(tmp_path / "study.db") if schema == "now" else DATA / schema / "study.db"
    with Store(path) as store:
        expected = len(store.trials())
    with tempfile.TemporaryDirectory() as name:  # not below pytest's folder, which other users may not look into
        folder = Path(name)
        shutil.copy(path, folder / "study.db")
        (folder / "study.db").chmod(0o444)
        folder.chmod(0o555)
        code = (
            "import os, sys; from pathlib import Path; from catransformers.study.store import Store;"
            "os.getuid() == 0 and os.setuid(65534);"  # the superuser may write everywhere
            "store = Store(Path(sys.argv[1])); print(len(store.trials()), len(store.energy()) >= 0)"
        )
        command = [sys.executable, "-c", code, str(folder / "study.db")]
        found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
        assert found.split() == [str(expected), "True"]
        assert [file.name for file in folder.iterdir()] == ["study.db"]
        folder.chmod(0o755)


def test_a_later_record_of_an_attempt_takes_the_place_of_the_earlier(tmp_path):
    more = replace(ENERGY, energy_j=9.0, high_j=10.0, ended=True)
    other = replace(ENERGY, attempt="two", job="base", subject=None)
    with Store(tmp_path / "study.db", "create") as store:
        store.add_energy([ENERGY, other])
        store.add_energy([more])
        assert store.energy() == [other, more]


def test_a_trial_and_its_energy_are_committed_together_or_not_at_all(tmp_path):
    with Store(filled(tmp_path / "study.db"), "write") as store:
        for commit in (
            lambda: store.add_trial(TRIAL, [ENERGY]),
            lambda: store.add_evaluation(EvaluationRecord(None, "test", 0.1, 0.1), [ENERGY]),
        ):
            with pytest.raises(IntegrityError, match="not stored"):
                commit()
        assert store.energy() == []
        store.add_proposal(replace(PROPOSAL, number=2))
        store.add_trial(replace(TRIAL, number=2, proposal=replace(PROPOSAL, number=2)), [ENERGY])
        assert store.energy() == [ENERGY]


@pytest.mark.parametrize(
    "wrong", [{"energy_j": math.nan}, {"low_j": 8.0}, {"high_j": 1.0}, {"low_j": -1.0}, {"measured_j": 8.0}]
)
def test_an_energy_record_lies_within_its_range(wrong):
    with pytest.raises(IntegrityError, match="energy of trial 2"):
        replace(ENERGY, **wrong)


def test_a_migration_that_fails_leaves_the_old_schema(tmp_path, monkeypatch):
    path = filled(tmp_path / "study.db")
    broken = "ALTER TABLE trials ADD COLUMN note TEXT; ALTER TABLE nowhere ADD COLUMN x TEXT;"
    monkeypatch.setattr(module, "MIGRATIONS", (*MIGRATIONS, broken))
    with pytest.raises(IntegrityError):
        Store(path, "write")
    monkeypatch.undo()
    with Store(path, "write") as store:
        assert store.trials() == [TRIAL, FAILED]


def test_every_commit_is_forced_to_disk(tmp_path):
    with Store(tmp_path / "study.db", "create") as store:
        pragma = {name: store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in
                  ("journal_mode", "synchronous", "foreign_keys")}  # fmt: skip
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_what_was_committed_outlives_a_kill(tmp_path):
    path = tmp_path / "study.db"
    code = (
        "import os, signal, sys; from pathlib import Path;"
        "from catransformers.study.store import Store; from catransformers.study.records import ProposalRecord;"
        f"store = Store(Path({str(path)!r}), 'create');"
        "[store.add_proposal(ProposalRecord(n, {'a': n}, 'test')) for n in range(5)];"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    with Store(path, "write") as store:
        assert [p.number for p in store.proposals()] == list(range(5))


@pytest.mark.parametrize(
    "damage", ["UPDATE trials SET metrics = '{oops'", "UPDATE proposals SET reason = '[1]'", "DELETE FROM proposals"]
)
def test_damaged_records_are_an_integrity_error(tmp_path, damage):
    path = tmp_path / "study.db"
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute(damage)
    with Store(path) as store, pytest.raises(IntegrityError):
        store.trials()
