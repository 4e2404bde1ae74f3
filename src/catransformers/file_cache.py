"""A content-keyed cache of files: what can always be made again, found by a SHA-256 of all that it was made from.

Entries are put in their place whole, so that any number of processes may share a folder; one that is damaged counts as
none and is written again. The folder may be deleted at any time. `CATRANSFORMERS_CACHE` names it; set to nothing, there
is no cache. By default it is the system's place for a user's caches. A kind of entries that takes too much room is
thinned out when it is opened, those first that were written first.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from catransformers.errors import CatransformersError
from catransformers.files import write_whole

T = TypeVar("T")

VARIABLE = "CATRANSFORMERS_CACHE"
MOST_BYTES = 4 * 1024**3  # of one kind


def content_key(parts: Mapping[str, object]) -> str:
    """SHA-256 of plain data, whatever the order of its keys; hexadecimal."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class FileCache:
    """The entries in a folder, one file each; without a folder there are none."""

    folder: Path | None
    suffix: str

    def path(self, key: str) -> Path:
        """The file of a key: the beginning of a SHA-256, hexadecimal.

        Raises:
            ValueError: if there is no folder.
        """
        if self.folder is None:
            raise ValueError("a cache without a folder has no files")
        return self.folder / f"{key[:40]}{self.suffix}"

    def load(self, key: str, parse: Callable[[bytes], T]) -> T | None:
        """What `parse` makes of an entry; None if there is none, or one that it cannot read."""
        if self.folder is None:
            return None
        try:
            return parse(self.path(key).read_bytes())
        except (OSError, ValueError, TypeError, LookupError, EOFError, RecursionError, CatransformersError):
            return None

    def store(self, key: str, content: bytes) -> None:
        """Put an entry in its place, or in that of an older one; without a folder nothing happens.

        Raises:
            OSError: if the folder cannot be written.
        """
        if self.folder is not None:
            write_whole(self.path(key), content, lasting=False)


def cache_folder(kind: str, most_bytes: int = MOST_BYTES) -> str | None:
    """The folder of a kind of cached things, made if need be; None if there is to be none or it cannot be written.

    Args:
        kind: its name in the cache.
        most_bytes: what it may hold; from a folder with more, the oldest files go until half of that is left.
    """
    named = os.environ.get(VARIABLE)
    if named == "":
        return None
    folder = (Path(named) if named else _default()) / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    with suppress(OSError):  # another process thins it out as well
        _thin_out(folder, most_bytes)
    return str(folder)


def _thin_out(folder: Path, most_bytes: int) -> None:
    with os.scandir(folder) as entries:
        found = [(entry.stat().st_mtime, entry.stat().st_size, entry.path) for entry in entries if entry.is_file()]
    total = sum(size for _, size, _ in found)
    if total <= most_bytes:
        return
    for _, size, path in sorted(found):
        Path(path).unlink(missing_ok=True)
        total -= size
        if total <= most_bytes / 2:
            return


def _default() -> Path:
    if sys.platform == "win32":
        place = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        place = Path.home() / "Library" / "Caches"
    else:
        place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return place / "catransformers"
