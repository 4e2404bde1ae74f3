"""The storage of a study: one SQLite file. What was committed survives `kill -9` and a power cut.

Write-ahead log with `synchronous = FULL`: a commit returns when it is on disk, and readers (a report, a status) see
the last commit while a search writes. The schema has a version (`user_version`); older files are brought up step by
step when opened for writing, in one transaction, and in a copy in memory when they are only read; newer ones are
refused. A file that cannot be written can be read.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from catransformers.errors import IntegrityError
from catransformers.study.records import EnergyRecord, EvaluationRecord, ProposalRecord, TrialRecord

#: One script a schema version, in order; a file of version k still needs those from k on. Never edit, only append.
MIGRATIONS = (
    """
    CREATE TABLE origin (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
    CREATE TABLE proposals (
        number INTEGER PRIMARY KEY CHECK (number >= 0),
        dimensions TEXT NOT NULL,
        origin TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT;
    CREATE TABLE trials (
        number INTEGER PRIMARY KEY REFERENCES proposals (number),
        status TEXT NOT NULL CHECK (status IN ('complete', 'failed')),
        accuracy REAL CHECK ((status = 'complete') = (accuracy IS NOT NULL)),
        accuracy_se REAL,
        metrics TEXT NOT NULL,
        parameters INTEGER NOT NULL,
        macs INTEGER NOT NULL,
        seconds REAL NOT NULL,
        error TEXT NOT NULL
    ) STRICT;
    CREATE TABLE evaluations (
        subject INTEGER NOT NULL CHECK (subject >= -1),
        pool TEXT NOT NULL CHECK (pool IN ('validation', 'test')),
        accuracy REAL NOT NULL,
        standard_error REAL NOT NULL,
        difference REAL,
        difference_se REAL,
        metrics TEXT NOT NULL,
        PRIMARY KEY (subject, pool)
    ) STRICT;
    """,
    """
    CREATE TABLE energy (
        attempt TEXT PRIMARY KEY,
        job TEXT NOT NULL CHECK (job IN ('search', 'base', 'trial', 'test')),
        subject INTEGER NOT NULL CHECK (subject >= -1),
        energy_j REAL NOT NULL CHECK (energy_j >= 0),
        low_j REAL NOT NULL,
        high_j REAL NOT NULL,
        measured_j REAL NOT NULL,
        quality TEXT NOT NULL CHECK (quality IN ('measured', 'estimated')),
        method TEXT NOT NULL,
        detail TEXT NOT NULL,
        seconds REAL NOT NULL,
        ended INTEGER NOT NULL CHECK (ended IN (0, 1))
    ) STRICT;
    """,
    # What these columns say stood before in the numbers of `reason`, and in how `origin` and `error` began.
    """
    ALTER TABLE proposals ADD COLUMN accelerator INTEGER CHECK (accelerator >= 0);
    ALTER TABLE proposals ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0 CHECK (adopted IN (0, 1));
    ALTER TABLE trials ADD COLUMN untrained INTEGER NOT NULL DEFAULT 0
        CHECK (untrained = 0 OR (untrained = 1 AND status = 'failed'));
    UPDATE proposals SET adopted = 1 WHERE origin GLOB 'adopted from *';
    UPDATE proposals
        SET accelerator = CAST(json_extract(reason, '$.accelerator') AS INTEGER),
            reason = json_remove(reason, '$.accelerator')
        WHERE CASE WHEN json_valid(reason) THEN json_type(reason, '$.accelerator') IN ('integer', 'real') END;
    UPDATE trials SET untrained = 1 WHERE status = 'failed' AND error GLOB 'not trained: *';
    """,
)

BASE = -1  # the base model's `subject` in the tables of evaluations and of energy, and the loop's
BUSY_TIMEOUT_S = 30.0


class Store:
    """An open study file; use it in a `with` statement or close it.

    Args:
        path: of the file.
        mode: `create` makes it where there is none, `write` and `read` want it to be there.

    Raises:
        IntegrityError: if the file is missing, no study, damaged, or of a newer version of this package.
    """

    def __init__(self, path: Path, mode: Literal["create", "write", "read"] = "read") -> None:
        self.path = path
        if mode != "create" and not path.is_file():
            raise IntegrityError(f"{path}: there is no study here")
        try:
            self._connection = _connect(path, mode)
            self._connection.execute("PRAGMA foreign_keys = ON")
            if mode != "read":
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
            self._migrate(write=mode != "read")
            if mode == "read":
                self._connection.execute("PRAGMA query_only = ON")
        except sqlite3.DatabaseError as error:
            raise IntegrityError(f"{path}: cannot be used as a study: {error}") from error

    def _migrate(self, *, write: bool) -> None:
        version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(MIGRATIONS):
            raise IntegrityError(
                f"{self.path}: has schema version {version}, this package knows up to {len(MIGRATIONS)}; "
                "update catransformers"
            )
        if version == len(MIGRATIONS):
            return
        if not write:  # a reader may not, and need not, touch the file
            file, self._connection = self._connection, sqlite3.connect(":memory:", isolation_level=None)
            file.backup(self._connection)
            file.close()
        steps = "".join(MIGRATIONS[version:])
        self._connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {len(MIGRATIONS)}; COMMIT;")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_origin(self, values: Mapping[str, str]) -> None:
        """Commit what the study was made from (a hash of the base model's weights, say).

        Raises:
            IntegrityError: if one of the names has a value already.
        """
        with self._transaction():
            for name, value in values.items():
                self._write("INSERT INTO origin (name, value) VALUES (?, ?)", (name, value))

    def origin(self) -> dict[str, str]:
        """What the study was made from, by name; empty before it was said."""
        return {row["name"]: row["value"] for row in self._read("SELECT name, value FROM origin ORDER BY name")}

    def add_proposal(self, record: ProposalRecord) -> None:
        """Commit what a trial is about to try.

        Raises:
            IntegrityError: if the trial has a proposal already.
        """
        self.add_proposals((record,))

    def add_proposals(self, records: Iterable[ProposalRecord]) -> None:
        """Commit what several trials are to try, all at once.

        Raises:
            IntegrityError: if one of the trials has a proposal already; nothing is stored then.
        """
        with self._transaction():
            for record in records:
                self._write(
                    "INSERT INTO proposals (number, dimensions, origin, reason, accelerator, adopted) "
                    "VALUES (:number, :dimensions, :origin, :reason, :accelerator, :adopted)",
                    _columns(record),
                )

    def add_trial(self, record: TrialRecord, energy: Iterable[EnergyRecord] = ()) -> None:
        """Commit what came of a trial, and with it the energy of all attempts at it.

        Raises:
            IntegrityError: if the trial is there already or was never proposed; nothing is stored then.
        """
        with self._transaction():
            self._write(
                "INSERT INTO trials (number, status, accuracy, accuracy_se, metrics, parameters, macs, seconds, error, "
                "untrained) VALUES (:number, :status, :accuracy, :accuracy_se, :metrics, :parameters, :macs, :seconds, "
                ":error, :untrained)",
                _columns(record),
            )
            self._put_energy(energy)

    def add_evaluation(self, record: EvaluationRecord, energy: Iterable[EnergyRecord] = ()) -> None:
        """Commit an evaluation beside the trials', and with it the energy of all attempts at it.

        Raises:
            IntegrityError: if this model was evaluated on this pool before; nothing is stored then.
        """
        with self._transaction():
            self._write(
                "INSERT INTO evaluations (subject, pool, accuracy, standard_error, difference, difference_se, metrics) "
                "VALUES (:subject, :pool, :accuracy, :standard_error, :difference, :difference_se, :metrics)",
                _columns(record),
            )
            self._put_energy(energy)

    def add_energy(self, records: Iterable[EnergyRecord]) -> None:
        """Commit energy records; one of an attempt that is there already takes its place."""
        with self._transaction():
            self._put_energy(records)

    def _put_energy(self, records: Iterable[EnergyRecord]) -> None:
        for record in records:
            self._write(
                "INSERT OR REPLACE INTO energy (attempt, job, subject, energy_j, low_j, high_j, measured_j, quality, "
                "method, detail, seconds, ended) VALUES (:attempt, :job, :subject, :energy_j, :low_j, :high_j, "
                ":measured_j, :quality, :method, :detail, :seconds, :ended)",
                _columns(record),
            )

    def proposals(self) -> list[ProposalRecord]:
        """All proposals by number, of finished trials and others."""
        rows = self._read(
            "SELECT number, dimensions, origin, reason, accelerator, adopted FROM proposals ORDER BY number"
        )
        return [ProposalRecord(**row) for row in rows]

    def trials(self) -> list[TrialRecord]:
        """All finished trials by number.

        Raises:
            IntegrityError: if the file is damaged.
        """
        proposals = {proposal.number: proposal for proposal in self.proposals()}
        rows = self._read(
            "SELECT number, status, accuracy, accuracy_se, metrics, parameters, macs, seconds, error, untrained "
            "FROM trials ORDER BY number"
        )
        orphans = [row["number"] for row in rows if row["number"] not in proposals]
        if orphans:
            raise IntegrityError(f"{self.path}: damaged: no proposal of trial {', '.join(map(str, orphans))}")
        found = [(row, proposals[row["number"]]) for row in rows]
        return [TrialRecord(**row, dimensions=proposal.dimensions, proposal=proposal) for row, proposal in found]

    def evaluations(self) -> list[EvaluationRecord]:
        """All evaluations beside the trials', the base model's first."""
        rows = self._read(
            "SELECT subject, pool, accuracy, standard_error, difference, difference_se, metrics "
            "FROM evaluations ORDER BY subject, pool"
        )
        return [EvaluationRecord(**row) for row in rows]

    def energy(self) -> list[EnergyRecord]:
        """All energy records, the loop's and the base model's first."""
        rows = self._read(
            "SELECT attempt, job, subject, energy_j, low_j, high_j, measured_j, quality, method, detail, seconds, "
            "ended FROM energy ORDER BY subject, job, attempt"
        )
        return [EnergyRecord(**row) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of what is written inside is committed, or nothing."""
        try:
            with self._connection:
                self._connection.execute("BEGIN")
                yield
        except sqlite3.DatabaseError as error:
            raise IntegrityError(f"{self.path}: not stored: {error}") from error

    def _write(self, statement: str, values: tuple[object, ...] | dict[str, object]) -> None:
        try:
            self._connection.execute(statement, values)  # outside a transaction a statement is one of its own
        except sqlite3.DatabaseError as error:
            raise IntegrityError(f"{self.path}: not stored: {error}") from error

    def _read(self, statement: str) -> list[dict[str, Any]]:
        """Rows by their columns, which are fields of a record."""
        try:
            cursor = self._connection.execute(statement)
            rows = cursor.fetchall()
        except sqlite3.DatabaseError as error:
            raise IntegrityError(f"{self.path}: cannot be read: {error}") from error
        names = [column[0] for column in cursor.description]
        return [{name: _field(name, value) for name, value in zip(names, row, strict=True)} for row in rows]


def _connect(path: Path, mode: Literal["create", "write", "read"]) -> sqlite3.Connection:
    """A connection whose transactions are explicit: `isolation_level=None` leaves them to us.

    Reading a write-ahead log makes files beside it. In a folder that cannot be written there may be none: then no
    writer is at work either, and the file alone is the whole study.
    """
    log = path.with_name(f"{path.name}-wal")
    if mode == "read" and not os.access(path.parent, os.W_OK) and not log.exists():
        name = f"{path.absolute().as_uri()}?immutable=1"
        return sqlite3.connect(name, timeout=BUSY_TIMEOUT_S, isolation_level=None, uri=True)
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)


def _columns(record: Any) -> dict[str, object]:
    """A record's fields as columns of these names: mappings as JSON, the base model as a number."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    texts = {name: _text(value) for name, value in values.items() if isinstance(value, Mapping)}
    base = {"subject": BASE} if "subject" in values and values["subject"] is None else {}
    return values | texts | base


def _field(name: str, value: Any) -> Any:
    """The inverse of `_columns`, for one of them."""
    if name in ("dimensions", "reason", "metrics"):
        return _data(value)
    if name in ("adopted", "untrained", "ended"):
        return bool(value)
    return None if name == "subject" and value == BASE else value


def _text(data: Mapping[str, Any]) -> str:
    return json.dumps(dict(data), allow_nan=False, sort_keys=False)


def _data(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise IntegrityError(f"a stored record is no object: {text[:40]}")
    return value
