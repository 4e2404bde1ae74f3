"""Which of clip-benchmark's data sets are in a folder, and whether their files are all there.

Each is a folder `wds_<name>` (slashes of the name are dashes) as clip-benchmark publishes it:

    wds_vtab-cifar10/
        classnames.txt                          a class a line, in the order of the labels
        zeroshot_classification_templates.txt   a text a line with {c} in the class's place
        dataset_type.txt                        `retrieval` where it is not a classification
        test/nshards.txt                        how many shards there are
        test/0.tar, test/1.tar, …               <key>.webp, .jpg or .png with the class's number in <key>.cls,
                                                or captions in <key>.txt, a line each

Of the shards only their ends are looked at here; what is inside of them is read when it is evaluated.
Source of the layout: the documentation of clip-benchmark (github.com/LAION-AI/CLIP_benchmark), "Webdataset example".
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from catransformers.accuracy.benchmark.known import KINDS, PREFIX, Known, default_of, find, known, place_of
from catransformers.accuracy.data.faults import Faults
from catransformers.accuracy.metrics.zero_shot_classifier import PLACES
from catransformers.errors import InputError, Problem

CLASS_NAMES: Final = "classnames.txt"
TEMPLATES: Final = "zeroshot_classification_templates.txt"
TYPE: Final = "dataset_type.txt"
SPLIT: Final = "test"
SHARDS: Final = "nshards.txt"

_MOST_SHARDS: Final = 100_000
_END: Final = 65_536  # bytes of either end of a shard that are looked at, to tell it from another of its size


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set that is there.

    Args:
        known: its name, its group, its metric; defaults where the table does not have it.
        folder: where it is.
        kind: `classification` or `retrieval`.
        shards: its tar files, in order.
        class_names: in the order of the labels; empty for retrieval.
        templates: each with a place for the class's name; empty for retrieval.
        key: SHA-256 of what says whether it is still the same: the shards' sizes and their ends, the classes, the
            templates, and what the table says of it.
    """

    known: Known
    folder: Path
    kind: str
    shards: tuple[Path, ...]
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    key: str

    @property
    def name(self) -> str:
        """Its name, the table's where it has one."""
        return self.known.name


@dataclass(frozen=True, slots=True)
class Failure:
    """A data set that cannot be evaluated, and why.

    Args:
        name: of the data set.
        folder: where it is.
        problems: everything that is wrong with it.
    """

    name: str
    folder: Path
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder holds.

    Args:
        datasets: those that can be evaluated, in the table's order, then others by name.
        failures: those that cannot.
        missing: names of the table of which there is no folder.
    """

    datasets: tuple[Dataset, ...]
    failures: tuple[Failure, ...]
    missing: tuple[str, ...]


def find_datasets(root: Path) -> Found:
    """The data sets in a folder.

    Folders called `wds_…` are data sets whether or not the table has them; others only if the table has their name
    and there are shards in them.

    Raises:
        InputError: if it is no folder.
    """
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir())
    except OSError as error:
        raise InputError(Problem(str(root), f"cannot be read: {error.strerror}", "a folder")) from error
    datasets: dict[str, Dataset] = {}
    failures: dict[str, Failure] = {}
    for folder in folders:
        row = find(folder.name)
        is_shards = (folder / SPLIT / SHARDS).is_file() or any((folder / SPLIT).glob("*.tar"))
        if not folder.name.startswith(PREFIX) and (row is None or not is_shards):
            continue
        name = row.name if row else folder.name.removeprefix(PREFIX)
        if name in datasets or name in failures:
            other = (datasets.get(name) or failures[name]).folder.name
            failures[name] = Failure(name, folder, (Problem(str(folder), f"{other} is the same data set", "one"),))
            datasets.pop(name, None)
            continue
        try:
            datasets[name] = _open(folder, name, row)
        except InputError as error:
            failures[name] = Failure(name, folder, error.problems)
    return Found(
        tuple(datasets[name] for name in sorted(datasets, key=place_of)),
        tuple(failures[name] for name in sorted(failures, key=place_of)),
        tuple(name for name in known() if name not in datasets and name not in failures),
    )


def _open(folder: Path, name: str, row: Known | None) -> Dataset:
    """The data set in a folder.

    Raises:
        InputError: with everything that is missing or wrong.
    """
    faults = Faults()
    kind = _kind(folder, row, faults)
    shards = _shards(folder / SPLIT, faults)
    class_names: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    if kind == "classification":
        class_names = _lines(folder / CLASS_NAMES, "class", faults)
        templates = _lines(folder / TEMPLATES, "template", faults)
        for template in templates:
            if template and not any(place in template for place in PLACES):
                faults.add("a template without a place for the class, {c}", repr(template))
    marks = [_mark(shard, faults) for shard in shards if shard.is_file()]
    faults.raise_any(str(folder))
    row = row or default_of(name, kind)
    parts = (row, kind, marks, class_names, templates)
    key = hashlib.sha256(repr(parts).encode()).hexdigest()
    return Dataset(row, folder, kind, shards, class_names, templates, key)


def _kind(folder: Path, row: Known | None, faults: Faults) -> str:
    """What is asked of it: what its file says, else what the table says, else classification."""
    file = folder / TYPE
    expected = row.kind if row else ""
    if not file.exists():
        kind = expected or "classification"
    else:
        kind = (_read(file, faults) or "").strip().casefold() or "classification"
    if kind not in KINDS:
        faults.add("a kind of data set that is not evaluated here", kind)
    elif expected in KINDS and kind != expected:
        faults.add(f"a {TYPE} that says another kind than the published data set's", f"{kind}, not {expected}")
    return kind


def _shards(folder: Path, faults: Faults) -> tuple[Path, ...]:
    """The tar files that `nshards.txt` counts."""
    text = _read(folder / SHARDS, faults)
    if text is None:
        return ()
    digits = text.strip()
    if not digits.isdecimal() or len(digits) > len(str(_MOST_SHARDS)) or not 1 <= int(digits) <= _MOST_SHARDS:
        faults.add(f"a {SHARDS} that is no number from 1 to {_MOST_SHARDS}", repr(digits[:40]))
        return ()
    wanted = [folder / f"{number}.tar" for number in range(int(text))]
    for shard in wanted:
        if not shard.is_file():
            faults.add("a missing shard", f"{SPLIT}/{shard.name}")
    for shard in sorted(set(folder.glob("*.tar")) - set(wanted)):
        faults.add(f"a shard that {SHARDS} does not count", f"{SPLIT}/{shard.name}")
    return tuple(wanted)


def _mark(shard: Path, faults: Faults) -> tuple[str, int, str]:
    """What tells a shard from others: its name, its size, a digest of its first and last bytes."""
    try:
        with shard.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            ends = hashlib.sha256()
            for start in (0, max(0, size - _END)):
                file.seek(start)
                ends.update(file.read(_END))
            return shard.name, size, ends.hexdigest()
    except OSError as error:
        faults.add("a shard that cannot be read", f"{SPLIT}/{shard.name}: {error.strerror}")
        return shard.name, 0, ""


def _lines(file: Path, what: str, faults: Faults) -> tuple[str, ...]:
    """The lines of a text file; an empty one before the last would shift the labels of all that follow."""
    text = _read(file, faults)
    if text is None:
        return ()
    lines = tuple(line.strip() for line in text.rstrip().splitlines())
    if not lines:
        faults.add("an empty file", file.name)
    for number, line in enumerate(lines, start=1):
        if not line:
            faults.add(f"a {what} that is empty", f"{file.name}, line {number}")
    return lines


def _read(file: Path, faults: Faults) -> str | None:
    """A text file; None, and a fault, if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        faults.add("a missing file", f"{file.parent.name}/{file.name}")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text in UTF-8"
        faults.add("a file that cannot be read", f"{file.parent.name}/{file.name}: {reason}")
    return None
