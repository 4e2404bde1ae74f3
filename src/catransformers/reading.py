"""Declarative reading of what people give: a rule for every key of a table, and all mistakes told at once.

A rule takes a value and where it stands; it returns the value as the program uses it, or raises an `InputError`.
`read_table` reads a table by the rules of its keys to the end: studies, scenarios, technologies, accelerators and model
specs are read so. What is wrong goes to a collector (`errors.Problems`), what is right comes back.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Protocol

from catransformers.errors import InputError, Problem, Problems, nearest, unknown_name
from catransformers.units import as_float

#: Checks and converts a value that stands somewhere, or raises an `InputError`.
Rule = Callable[[Any, str], Any]
#: Words of an unknown key: what goes before it in a message, the key, the known ones.
Unknown = Callable[[str, str, Collection[str]], Problem]


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number within bounds; what is read is a float, or with `whole` an int.

    Args:
        low, high: the least and the greatest.
        above, below: whether the least or the greatest is itself too little or too much.
        whole: whether only integers are numbers.
        step: what the number is a multiple of; 0 for nothing.
        allowed: the range in words; by default of the bounds.
        kind: what to say of something that is no number.
        outside: what to say of a number out of range.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    whole: bool = False
    step: float = 0
    allowed: str | None = None
    kind: str = "is not a number"
    outside: str = "is out of range"

    def __call__(self, value: object, where: str) -> float:
        """The number; raises an `InputError` that names the range."""
        if isinstance(value, bool) or not isinstance(value, Integral if self.whole else Real):
            raise InputError(Problem(where, f"{value!r} {self.kind}", self.words(None)))
        number: float = int(value) if self.whole else as_float(value)  # type: ignore[arg-type, call-overload]
        too_little = number < self.low or (self.above and number == self.low)
        too_much = number > self.high or (self.below and number == self.high)
        if too_little or too_much or not math.isfinite(number) or (self.step and number % self.step):
            raise InputError(Problem(where, f"{value} {self.outside}", self.words(number)))
        return number

    def words(self, number: float | None) -> str:
        """What is allowed, said to someone who gave `number` (None: no number at all)."""
        if self.allowed is not None:
            return self.allowed
        lowest = f"{'>' if self.above else '≥'} {self.low:g}" if math.isfinite(self.low) else ""
        highest = f"{'<' if self.below else '≤'} {self.high:g}" if math.isfinite(self.high) else ""
        return "a number " + " and ".join(filter(None, (lowest, highest)))


def from_to(low: float, high: float = math.inf, noun: str = "a number", *, above: bool = False) -> str:
    """A range in words: `a number from 1 to 5`, `a number above 0`."""
    return f"{noun} {'above' if above else 'from'} {low:g}" + (f" to {high:g}" if math.isfinite(high) else "")


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values, or of the names that a function gives when it is asked; the nearest name is offered.

    Args:
        options: the values.
        what: what to say of any other.
        kind: what the values are names of; if given, it is an unknown one that is told.
    """

    options: Iterable[Any] | Callable[[], Iterable[Any]]
    what: str = "is not an option"
    kind: str = ""

    def __call__(self, value: object, where: str) -> Any:
        """The value; raises an `InputError` that names all of them."""
        options = self.known()
        if isinstance(value, bool) or value not in options:
            if self.kind:
                raise InputError(unknown_name(where, self.kind, str(value), options))
            hint = nearest(value, [str(option) for option in options]) if isinstance(value, str) else ""
            raise InputError(Problem(where, f"{value!r} {self.what}", ", ".join(map(str, options)), hint))
        return value

    def known(self) -> list[Any]:
        """All of them."""
        return list(self.options() if callable(self.options) else self.options)


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    what: str = "is neither true nor false"
    allowed: str = ""

    def __call__(self, value: object, where: str) -> bool:
        """The value; raises an `InputError`."""
        if not isinstance(value, bool):
            raise InputError(Problem(where, f"{value!r} {self.what}", self.allowed))
        return value


class Table(Protocol):
    """The rule of a table within a table: it gives what is right even where something in it is wrong."""

    def read(self, given: object, place: str, problems: Problems, unknown: Unknown) -> Any:
        """What stands at `place`; raises an `InputError` only where it is no table."""


def unknown_key(prefix: str, key: str, known: Collection[str]) -> Problem:
    """The problem of a key that there is not, with the nearest one."""
    return Problem(f"{prefix}{quoted(key)}", "unknown key", ", ".join(known), nearest(key, known))


def quoted(key: str) -> str:
    """A key as it is written in a path of keys."""
    return f'"{key}"' if "." in key else key


def read_table(
    given: Mapping[str, Any],
    rules: Mapping[str, Rule | Table],
    prefix: str,
    problems: Problems,
    *,
    optional: Collection[str] = (),
    unknown: Unknown = unknown_key,
) -> dict[str, Any]:
    """The good values of a table, in the order of the rules.

    Args:
        given: the table.
        rules: what each key may hold.
        prefix: what goes before a key in a message: the file and the tables around it.
        problems: gets what is wrong: values and missing keys in the order of the rules, then unknown keys.
        optional: keys that may be left out.
        unknown: words an unknown key.
    """
    good: dict[str, Any] = {}
    for key, rule in rules.items():
        place = f"{prefix}{quoted(key)}"
        if key in given:
            with problems.collect():
                value = given[key]
                good[key] = rule(value, place) if callable(rule) else rule.read(value, place, problems, unknown)
        elif key not in optional:
            listed = rule.known() if isinstance(rule, Choice) else ()
            problems.append(Problem(place, "missing", ", ".join(map(str, listed))))
    problems += [unknown(prefix, str(key), rules.keys()) for key in given if key not in rules]
    return good


def read_toml(path: Path, allowed: str) -> dict[str, Any]:
    """A TOML file's table; `allowed` says what it should be.

    Raises:
        InputError: if there is no such file, it cannot be read, or it is not TOML (with the line).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(Problem(str(path), f"cannot be read: {reason}", allowed)) from error
    return parse_toml(text, str(path))


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """A text's table in TOML; `where` names the text.

    Raises:
        InputError: if it is not TOML (with the line).
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(Problem(where, f"not TOML: {error}")) from error
