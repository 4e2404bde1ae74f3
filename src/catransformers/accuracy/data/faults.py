"""Errors in data, counted by kind with a few examples: a thousand missing images are one line, not a thousand."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from catransformers.errors import InputError, Problem

EXAMPLES: Final = 3


class UnreadableError(Exception):
    """One sample cannot be read; its text says why. Readers raise it, the loader skips the sample and counts."""


@dataclass(slots=True)
class _Kind:
    count: int = 0
    examples: list[str] = field(default_factory=list)


class Faults:
    """Mistakes counted by kind, the first three of each as examples."""

    def __init__(self) -> None:
        self._found: dict[str, _Kind] = {}

    def __len__(self) -> int:
        """How many mistakes, of all kinds."""
        return sum(kind.count for kind in self._found.values())

    def add(self, kind: str, example: str) -> None:
        """Count one.

        Args:
            kind: what is wrong, with an article: `a missing image`.
            example: where: a line, a file's name.
        """
        entry = self._found.setdefault(kind, _Kind())
        entry.count += 1
        if len(entry.examples) < EXAMPLES:
            entry.examples.append(example)

    def merge(self, other: Faults, at: str) -> None:
        """Count all of another's, found in the part of the data called `at`."""
        for kind, found in other._found.items():
            for example in found.examples:
                self.add(kind, f"{at}: {example}")
            self._found[kind].count += found.count - len(found.examples)

    def problems(self, where: str) -> list[Problem]:
        """One problem a kind: how many, and the first three."""
        return [
            Problem(where, f"{found.count} × {kind}: {'; '.join(found.examples)}{'; …' * (found.count > EXAMPLES)}")
            for kind, found in self._found.items()
        ]

    def raise_any(self, where: str) -> None:
        """Stop if there is any.

        Raises:
            InputError: with one problem a kind.
        """
        if self._found:
            raise InputError(self.problems(where))


def unreadable(where: Path, error: Exception) -> InputError:
    """The error for a file that cannot be read, or is not what it should be."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(Problem(str(where), f"cannot be read: {(reason or type(error).__name__).splitlines()[0]}"))


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: if it cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise unreadable(path, error) from error
