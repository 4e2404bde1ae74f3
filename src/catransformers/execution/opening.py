"""Open a study's folder: make it, or find the same study in it and go on. Another study in it is an error."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catransformers import __version__
from catransformers.config import StudyConfig, read
from catransformers.errors import InputError, Problem
from catransformers.execution.bases import open_base
from catransformers.files import write_whole
from catransformers.study.directory import StudyDirectory
from catransformers.study.store import Store

HINT = "use another folder for another study"
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
    """What the study's trials are made from, by name: hashes of the base model's weights and of the user's data.

    Raises:
        InputError: if the base model or the data cannot be read.
    """
    base = open_base(config.model)
    values = {"base_sha256": base.sha256, "catransformers": __version__}
    if config.accuracy.data is not None:
        values["data_sha256"] = data_sha256(Path(config.accuracy.data).expanduser())
    return values


def data_sha256(path: Path) -> str:
    """What tells data from other data: a file's bytes; the names and sizes of all files of a folder.

    A pattern of several shards stands for itself.

    Raises:
        InputError: if the data cannot be read.
    """
    found = hashlib.sha256()
    try:
        if path.is_file():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        if not path.is_dir():
            found.update(path.name.encode())
        files = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
        for line in sorted(f"{file.relative_to(path).as_posix()} {file.stat().st_size}\n" for file in files):
            found.update(line.encode())
    except OSError as error:
        raise InputError(Problem("accuracy.data", f"{path} cannot be read: {error.strerror}")) from error
    return found.hexdigest()


def keep_origin(store: Store, values: Mapping[str, str]) -> None:
    """Remember what a new study is made from; of an older one, check that it is still the same.

    Raises:
        InputError: if the base model or the data have changed since the study began.
    """
    before = store.origin()
    if not before:
        store.add_origin(values)
        return
    places = {"base_sha256": ("model.base", "the base model's weights"), "data_sha256": ("accuracy.data", "the data")}
    changed = [
        Problem(place, f"{what} are not those that the study began with", hint=HINT)
        for name, (place, what) in places.items()
        if before.get(name) != values.get(name)
    ]
    if changed:
        raise InputError(changed)


def _check_same(config: StudyConfig, directory: StudyDirectory) -> None:
    before, problems = read(directory.config)
    if problems:
        raise InputError(problems)
    old, new = _flat(before.model_dump(mode="json")), _flat(config.model_dump(mode="json"))
    place = str(directory.config)
    changed = [
        Problem(
            f"{place}: {key}",
            f"was {_shown(old.get(key))} when the study began, is {_shown(new.get(key))} now",
            hint=f"only {', '.join(StudyConfig.RESUMABLE)} may change; {HINT}",
        )
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key not in StudyConfig.RESUMABLE
    ]
    if directory.database.is_file():
        with Store(directory.database) as store:  # reads only: a study that is refused stays as it is
            finished = len(store.trials())
        if config.search.trials < finished:
            changed.append(
                Problem(
                    f"{place}: search.trials", f"{config.search.trials}, but {finished} are finished", "as many or more"
                )
            )
    if changed:
        raise InputError(changed)


def _flat(data: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables as `a.b.c` → value; what is None is left out."""
    if not isinstance(data, dict):
        return {} if data is None else {prefix: data}
    result: dict[str, Any] = {}
    for key, value in data.items():
        result |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return result


def _shown(value: Any) -> str:
    return "not given" if value is None else repr(value)
