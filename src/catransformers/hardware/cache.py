"""A cache on disk of operators' costs, keyed by content.

The key is a hash of the operator, of every column of the accelerator table, of the technology, of the objective and of
this package's own cost code, so that a stale entry cannot be found. Entries are plain arrays (`npz` without pickle).
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from catransformers.errors import InputError, Problem
from catransformers.file_cache import FileCache
from catransformers.hardware.accelerator import AcceleratorTable
from catransformers.hardware.technology import Technology

_DATA = ("sram_cacti7_22nm.csv", "sram_paper.csv", "vector_operations.csv")


@cache
def _code_version() -> bytes:
    """A hash of the modules and tables that decide a cost."""
    digest = hashlib.sha256()
    package = files("catransformers.hardware")
    sources = sorted((p for p in package.iterdir() if p.name.endswith(".py")), key=lambda p: p.name)
    tables = [files("catransformers.data").joinpath(name) for name in _DATA]
    for path in [*sources, *tables]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.digest()


def _describe(tech: Technology) -> str:
    """Every number of a technology as text; its name and sources do not decide a cost."""
    ignored = {"name", "sources", "vector_operations", "vector_passes"}
    parts = [f"{f.name}={getattr(tech, f.name)!r}" for f in fields(tech) if f.name not in ignored]
    for mapping in (tech.vector_operations, tech.vector_passes):
        parts.append(repr(sorted(mapping.items())))
    return ";".join(parts)


@dataclass(frozen=True, slots=True)
class OperatorCache:
    """The entries of one table, technology and objective in a folder; values are (4, A) arrays of one group's costs."""

    files: FileCache
    context: bytes
    width: int

    @classmethod
    def open(cls, folder: str, table: AcceleratorTable, tech: Technology, objective: str) -> OperatorCache:
        """The cache in `folder`, created if need be.

        Raises:
            InputError: if the folder cannot be created.
        """
        path = Path(folder)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(Problem("cache_dir", f"{folder!r} cannot be used: {error}")) from error
        digest = hashlib.sha256(_code_version())
        for name, column in table.columns().items():
            digest.update(f"{name}:{column.dtype}:{len(column)};".encode() + np.ascontiguousarray(column).tobytes())
        digest.update(f"{_describe(tech)};{objective}".encode())
        return cls(FileCache(path, ".npz"), digest.digest(), len(table))

    def _key(self, key: tuple[object, ...]) -> str:
        return hashlib.sha256(self.context + repr(key).encode()).hexdigest()

    def load(self, key: tuple[object, ...]) -> npt.NDArray[np.float64] | None:
        """The costs stored under a key; None if there are none, or none that can be read."""
        return self.files.load(self._key(key), self._parse)

    def _parse(self, content: bytes) -> npt.NDArray[np.float64]:
        try:
            with np.load(BytesIO(content), allow_pickle=False) as archive:
                costs = np.asarray(archive["costs"])
        except zipfile.BadZipFile as error:
            raise ValueError("damaged") from error
        if costs.shape != (4, self.width) or costs.dtype != np.float64 or not np.isfinite(costs).all():
            raise ValueError("no costs of this table")
        return costs

    def store(self, key: tuple[object, ...], costs: npt.NDArray[np.float64]) -> None:
        """Write costs under a key, atomically.

        Raises:
            InputError: if the folder cannot be written to.
        """
        content = BytesIO()
        np.savez(content, costs=costs)
        try:
            self.files.store(self._key(key), content.getvalue())
        except OSError as error:
            raise InputError(
                Problem("cache_dir", f"{str(self.files.folder)!r} cannot be written to: {error}")
            ) from error
