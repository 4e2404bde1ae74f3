"""Open a study's folder: make it, or find the same study in it and go on. Another study in it is an error."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catransformers import __version__
from catransformers.config.sections import AccuracySection
from catransformers.config.study import StudyConfig, read
from catransformers.errors import InputError, Problem, Problems
from catransformers.execution.studies.base_model import open_base
from catransformers.files import write_whole
from catransformers.study.directory import StudyDirectory
from catransformers.study.store import Store

HINT = "use another folder for another study"
#: Files with labels and captions: a correction in them may leave their size as it is.
TEXTS = {".csv", ".tsv", ".txt", ".json", ".jsonl", ".token"}
#: What a tokeniser in older files consists of.
VOCABULARY = ("vocab.txt", "vocab.json", "merges.txt", "tokenizer.model", "tokenizer_config.json")
OURS = {"study.lock"}  # files that an opening that was cut off may have left


def open_study(config: StudyConfig, directory: StudyDirectory) -> None:
    """Make the folder of a new study, or check that it holds this study; the caller has the lock.

    The keys of `StudyConfig.RESUMABLE` may change; the resolved study file then changes with them.

    Raises:
        InputError: if the folder holds other files, or a study that differs in any other key, all of them named; or
            if fewer trials are asked for than are finished.
        IntegrityError: if the study in it is damaged.
    """
    if not directory.config.is_file():
        foreign = sorted(p.name for p in directory.root.iterdir() if p.name not in OURS and not p.name.startswith("."))
        if foreign:
            shown = ", ".join(foreign[:5])
            raise InputError(Problem(str(directory.root), f"holds other files ({shown})", hint="use another folder"))
    else:
        _check_same(config, directory)
    text = config.to_toml()
    if not directory.config.is_file() or directory.config.read_text(encoding="utf-8") != text:
        write_whole(directory.config, text)


def origin_of(config: StudyConfig) -> dict[str, str]:
    """What the study's trials are made from, by name: hashes of the base model and of the user's files.

    Raises:
        InputError: if the base model or a file cannot be read.
    """
    base = open_base(config.model)
    values = {"base_sha256": base.sha256, "catransformers": __version__}
    if base.tokenizer_path is not None:
        values["tokenizer_sha256"] = _tokenizer_sha256(base.tokenizer_path)
    return values | data_of(config.accuracy)


def data_of(section: AccuracySection) -> dict[str, str]:
    """Hashes of the user's files that a task reads, by name.

    Raises:
        InputError: if a file cannot be read.
    """
    values = {}
    for key in ("data", "class_names", "templates"):
        path = getattr(section, key)
        if path is not None:
            values[f"{key}_sha256"] = data_sha256(Path(path).expanduser(), f"accuracy.{key}")
    return values


def data_sha256(path: Path, where: str = "accuracy.data") -> str:
    """What tells data from other data: a file's bytes; of a folder, names and sizes of all files, and texts' bytes.

    Links are followed. Files whose names begin with a dot, which systems make and change as they like, do not count. A
    pattern of several shards stands for itself and for their sizes.

    Args:
        path: of the data.
        where: whose mistake it is if they cannot be read.

    Raises:
        InputError: if the data cannot be read.
    """
    found = hashlib.sha256()
    try:
        if path.is_file():
            return _file_sha256(path)
        if not path.is_dir():
            found.update(path.name.encode())
        files, names = _files(path) if path.is_dir() else _shards(path)
        for line in sorted(map(_line, files, names)):
            found.update(line.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise InputError(Problem(where, f"{error.filename or path} cannot be read: {error.strerror}")) from error
    return found.hexdigest()


def _files(root: Path) -> tuple[list[Path], list[str]]:
    """All files below a folder, and their names from there; a folder that is linked to twice is looked at once."""
    files: list[Path] = []
    seen: set[str] = set()
    for folder, below, names in os.walk(root, followlinks=True):
        place = os.path.realpath(folder)
        below[:] = [] if place in seen else sorted(name for name in below if not name.startswith("."))
        if place not in seen:
            files += [Path(folder, name) for name in names if not name.startswith(".")]
        seen.add(place)
    return files, [file.relative_to(root).as_posix() for file in files]


def _shards(pattern: Path) -> tuple[list[Path], list[str]]:
    """The shards that a pattern means, as far as they are there, and their names."""
    from catransformers.accuracy.data.webdataset import shards  # noqa: PLC0415 - its package imports torch

    files = [shard for shard in shards(pattern) if shard.is_file()]
    return files, [shard.name for shard in files]


def _line(file: Path, name: str) -> str:
    """What a file of a folder is; a link to nothing is only a name."""
    if not file.is_file():
        return f"{name}\n"
    return f"{name} {_file_sha256(file) if file.suffix.lower() in TEXTS else file.stat().st_size}\n"


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tokenizer_sha256(path: Path) -> str:
    """Of a `tokenizer.json`, or of a tokeniser's older files in a folder."""
    if path.is_file():
        return data_sha256(path, "model.base")
    parts = [f"{name} {data_sha256(path / name, 'model.base')}" for name in VOCABULARY if (path / name).is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


#: What must not change: where it is said, and what it is.
PLACES = {
    "base_sha256": ("model.base", "the base model's weights"),
    "tokenizer_sha256": ("model.base", "the words of the base model's tokeniser"),
    "data_sha256": ("accuracy.data", "the data"),
    "class_names_sha256": ("accuracy.class_names", "the classes' names"),
    "templates_sha256": ("accuracy.templates", "the templates"),
}


def keep_origin(store: Store, values: Mapping[str, str]) -> None:
    """Remember what a new study is made from; of an older one, check that it is still the same.

    Raises:
        InputError: if the base model or the data have changed since the study began.
    """
    before = store.origin()
    if not before:
        store.add_origin(values)
        return
    changed = Problems(
        Problem(place, f"{what} are not those that the study began with", hint=HINT)
        for place, what in changed_origin(before, values)
    )
    changed.finish()


def changed_origin(before: Mapping[str, str], values: Mapping[str, str]) -> list[tuple[str, str]]:
    """What two studies, or one then and now, are not made from alike: where it is said, and what it is."""
    later = ("tokenizer_sha256",)  # not remembered by the first versions
    return [
        place
        for name, place in PLACES.items()
        if before.get(name) != values.get(name) and not (name in later and name not in before)
    ]


def _check_same(config: StudyConfig, directory: StudyDirectory) -> None:
    before, problems = read(directory.config)
    if problems:
        raise InputError(problems)
    if before.trains_nothing or config.trains_nothing:
        before, config = before.without_training(), config.without_training()
    old, new = flat(before.to_dict()), flat(config.to_dict())
    place = str(directory.config)
    changed = Problems(
        Problem(
            f"{place}: {key}",
            f"was {shown(old.get(key))} when the study began, is {shown(new.get(key))} now",
            hint=f"only {', '.join(StudyConfig.RESUMABLE)} may change; {HINT}",
        )
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key not in StudyConfig.RESUMABLE
    )
    if directory.database.is_file() and not config.trains_nothing:
        with Store(directory.database) as store:  # reads only: a study that is refused stays as it is
            finished = sum(not trial.proposal.adopted for trial in store.trials())
        if config.search.trials < finished:
            changed.append(
                Problem(
                    f"{place}: search.trials", f"{config.search.trials}, but {finished} are finished", "as many or more"
                )
            )
    changed.finish()


def flat(data: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables as `a.b.c` → value; what is None is left out."""
    if not isinstance(data, dict):
        return {} if data is None else {prefix: data}
    result: dict[str, Any] = {}
    for key, value in data.items():
        result |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return result


def shown(value: Any) -> str:
    """A key's value in a message."""
    return "not given" if value is None else repr(value)
