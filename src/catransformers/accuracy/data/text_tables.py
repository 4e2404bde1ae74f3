"""Sentences and pairs with a class: GLUE's files, and CSV or tab-separated tables of your own.

A table has one or two columns of text and one of classes. Which columns those are is known from the header: GLUE's
tasks each have their own; your own have `text` (or `sentence`), or `sentence1` and `sentence2`, and `label`, and may
have `split`. A folder has one table a split: `train.tsv`, `dev.tsv`, `test.tsv`, or `.csv`. Tables whose classes are
withheld (GLUE's tests) are passed over.

Source: Wang et al., "GLUE", ICLR 2019, and the files of gluebenchmark.com; MRPC as published by Microsoft
(`msr_paraphrase_train.txt`). STS-B is a regression and is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from catransformers.accuracy.data.faults import Faults
from catransformers.accuracy.data.samples import Sample, Samples
from catransformers.accuracy.data.splits import ALIASES, SPLITS, complete_together
from catransformers.accuracy.data.tables import Table, read_table
from catransformers.errors import CatransformersWarning, InputError, Problem, nearest

#: Columns of text by which a table is known, and the columns that may hold the class; the first that fits is taken.
TEXT_COLUMNS: Final = (
    (("#1 String", "#2 String"), ("Quality",)),  # MRPC
    (("question1", "question2"), ("is_duplicate", "label")),  # QQP
    (("question", "sentence"), ("label",)),  # QNLI
    (("premise", "hypothesis"), ("label",)),
    (("sentence1", "sentence2"), ("gold_label", "label")),  # MNLI, RTE, WNLI
    (("sentence",), ("label",)),  # SST-2, CoLA
    (("text",), ("label", "labels")),
)
_ALLOWED: Final = "text (or sentence1 and sentence2), label and, if you like, split"
_COLA: Final = ("source", "label", "mark", "sentence")  # CoLA's tables have no header
_ENDINGS: Final = (".tsv", ".csv", ".txt")
_MRPC: Final = {"train": "msr_paraphrase_train.txt", "test": "msr_paraphrase_test.txt"}
_BROKEN_ROWS: Final = 1e-3  # QQP is published with a few rows that lack fields


@dataclass(frozen=True, slots=True)
class _Columns:
    texts: tuple[str, ...]
    label: str


def _tables(folder: Path) -> dict[Path, str]:
    """The tables of a folder and their splits; MNLI's mismatched sets are left out."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        split = ALIASES.get(file.stem.removesuffix("_matched").lower(), "")
        if split and file.suffix.lower() in (".tsv", ".csv") and file.is_file():
            found.setdefault(split, file)
    for split, name in _MRPC.items():
        if (folder / name).is_file() and (split == "test" or split not in found):
            found[split] = folder / name
    return {found[split]: split for split in SPLITS if split in found}


def fits(path: Path) -> bool:
    """Whether it is a table, or a folder of one table a split."""
    return path.suffix.lower() in _ENDINGS[:2] if path.is_file() else path.is_dir() and bool(_tables(path))


def read(path: Path, seed: int) -> Samples:
    """The texts of a table, or of a folder's tables.

    Args:
        path: the table or folder.
        seed: of the splits that are not named.

    Raises:
        InputError: with everything that is wrong, counted, with lines; for a regression.
    """
    tables = _tables(path) if path.is_dir() else {path: ""}
    faults = Faults()
    rows: list[tuple[str, tuple[str, ...], str, str]] = []  # name, texts, label, split
    has_splits = path.is_dir()
    for file, split in tables.items():
        table = _read(file)
        columns = _columns(table)
        if columns is None and split == "test":  # its classes are withheld
            continue
        if columns is None:
            raise InputError(_no_columns(table))
        has_splits = has_splits or "split" in table.header
        _tell_broken(table, faults, tolerant=path.is_dir())
        rows += _rows(table, columns, split, faults)
    class_names = tuple(sorted({label for _, _, label, _ in rows}, key=_by_number))
    if len(class_names) < 2:
        faults.add("a single class, where at least two are needed", ", ".join(class_names) or "none")
    faults.raise_any(str(path))
    labels = {name: i for i, name in enumerate(class_names)}
    given: dict[str, list[int]] = {}
    for i, (_, _, _, split) in enumerate(rows):
        if has_splits:
            given.setdefault(split, []).append(i)
    names = [name for name, _, _, _ in rows]
    samples = [Sample(texts=texts, label=labels[label]) for _, texts, label, _ in rows]
    splits = complete_together(given, names, [texts for _, texts, _, _ in rows], seed, str(path))
    return Samples(str(path), samples, names, splits, class_names)


def _read(file: Path) -> Table:
    """A table; CoLA's, which have no header, under the names of its columns."""
    table = read_table(file)
    headless = len(table.header) == len(_COLA) and table.header[1] in ("0", "1")
    return read_table(file, _COLA) if headless else table


def _columns(table: Table) -> _Columns | None:
    """Which columns hold texts and class; None where it has none of the known.

    Raises:
        InputError: for a table of scores instead of classes.
    """
    for texts, labels in TEXT_COLUMNS:
        if set(texts) <= set(table.header):
            label = next((label for label in labels if label in table.header), None)
            if label is not None:
                return _Columns(texts, label)
            if "score" in table.header:
                what = "the column 'score' has figures, not classes: a regression, such as STS-B, is not supported"
                raise InputError(Problem(str(table.path), what, _ALLOWED))
    return None


def _no_columns(table: Table) -> Problem:
    texts = next((texts for texts, _ in TEXT_COLUMNS if set(texts) <= set(table.header)), None)
    what = "no column label" if texts else "no column of text"
    hint = nearest("label" if texts else "text", table.header)
    return Problem(str(table.path), what, _ALLOWED, hint)


def _tell_broken(table: Table, faults: Faults, *, tolerant: bool) -> None:
    """Count the rows that lack fields; a few in a published file are left out with a warning."""
    broken = table.faults.problems(str(table.path))
    if broken and tolerant and len(table.faults) <= _BROKEN_ROWS * len(table.rows):
        warnings.warn(f"left out: {broken[0]}", CatransformersWarning, stacklevel=2)
    else:
        faults.merge(table.faults, table.path.name)


def _rows(
    table: Table, columns: _Columns, split: str, faults: Faults
) -> Iterator[tuple[str, tuple[str, ...], str, str]]:
    """Name, texts, class and split of each row of a table."""
    for line, row in table.rows:
        name = f"{table.path.name} line {line}"
        texts = tuple(row[column] for column in columns.texts)
        label, own = row[columns.label], split or row.get("split", "")
        if not label or not all(texts):
            faults.add("an empty text or label", name)
        elif "split" in table.header and not split and own not in SPLITS:
            faults.add(f"an unknown split (allowed: {', '.join(SPLITS)})", f"{name}: {own!r}")
        else:
            yield name, texts, label, own


def _by_number(label: str) -> tuple[int, str]:
    return (int(label), "") if label.isascii() and label.isdigit() else (-1, label)
