"""A study on disk: which file lies where, and the lock that keeps a second writer out.

```
study.toml               the resolved study
study.db                 the store
study.lock               held by the process that works on the study; left behind, it means nothing
base/                    what is measured of the base model, once
trials/0000/ …           request.json, result.json, model.safetensors, model.json, log.txt of each trial
tests/base, tests/0000 … the same for the final evaluations on the test pool
final/0000 …             final trainings of trials' models; evaluations/, exports/ likewise: no part of the search
```
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from catransformers.errors import CatransformersError, InputError, Problem


class StudyBusyError(CatransformersError):
    """Another process works on the same study."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class StudyDirectory:
    """The files of a study below `root`."""

    root: Path

    @property
    def config(self) -> Path:
        """The resolved study file."""
        return self.root / "study.toml"

    @property
    def database(self) -> Path:
        """The store."""
        return self.root / "study.db"

    @property
    def base(self) -> Path:
        """The folder of the base model's measurements."""
        return self.root / "base"

    def trial(self, number: int) -> Path:
        """The folder of a trial."""
        return self.root / "trials" / f"{number:04d}"

    def test(self, subject: int | None) -> Path:
        """The folder of a final evaluation: of a trial's model, or of the base model (None)."""
        return self.root / "tests" / ("base" if subject is None else f"{subject:04d}")

    def checkpoint(self, number: int) -> Path:
        """The fine-tuned model of a trial."""
        return self.trial(number) / "model.safetensors"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only writer of the folder, which is made if need be.

        The operating system frees the lock when the process ends, however it ends.

        Raises:
            StudyBusyError: if another process holds it.
            InputError: if the folder cannot be made or written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(Problem(str(self.root), f"cannot be made: {error.strerror}", "a folder")) from error
        with exclusive(self.root / "study.lock", self.root, "this study"):
            yield


@contextmanager
def exclusive(path: Path, folder: Path, what: str) -> Iterator[None]:
    """Hold the lock file at `path`: be the only one that works in a folder.

    Args:
        path: made if it is not there; left behind, it means nothing.
        folder: that is worked in.
        what: is worked on.

    Raises:
        StudyBusyError: if another process holds it.
        InputError: if it cannot be written.
    """
    try:
        lock = path.open("a+b")
    except OSError as error:
        problem = Problem(str(path), f"cannot be written: {error.strerror}", hint="use another folder (--out)")
        raise InputError(problem) from error
    with lock as file:
        if not _try_lock(file.fileno()):
            raise StudyBusyError(
                f"{folder}: another process is working on {what}; wait for it, stop it, or use another folder (--out)"
            )
        yield


def _try_lock(descriptor: int) -> bool:
    """Take an exclusive lock of the whole file if it is free; closing the file gives it back."""
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
