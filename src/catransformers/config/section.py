"""A table of a study file as a frozen dataclass: each field names the rule of its key and its default."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from catransformers.errors import InputError, Problem, Problems
from catransformers.reading import Number, Rule, Table, Unknown, read_table, unknown_key


def key(rule: Rule | Table, default: Any = dataclasses.MISSING) -> Any:
    """A field of a section: the rule of its value, and what stands where the file leaves it out."""
    if callable(default):
        return field(default_factory=default, metadata={"rule": rule})
    return field(default=default, metadata={"rule": rule})


@dataclass(frozen=True)
class Section:
    """A table of a study file."""

    @classmethod
    def rules(cls) -> dict[str, Rule | Table]:
        """The rule of each key."""
        return {f.name: f.metadata["rule"] for f in dataclasses.fields(cls) if "rule" in f.metadata}

    @classmethod
    def completed(cls, good: dict[str, Any], prefix: str, problems: Problems) -> dict[str, Any]:
        """The good values, checked together, with the defaults that follow from other keys."""
        return good

    @classmethod
    def draft(cls, given: object, prefix: str, problems: Problems, unknown: Unknown = unknown_key) -> Self:
        """The section of a table, with defaults in the place of what is wrong in it.

        Args:
            given: the table.
            prefix: what goes before a key in a message.
            problems: gets everything that is wrong.
            unknown: words an unknown key.

        Raises:
            InputError: if it is no table.
        """
        if not isinstance(given, Mapping):
            raise InputError(Problem(prefix.rstrip(".: "), f"{given!r} should be a table"))
        missing = dataclasses.MISSING
        optional = {f.name for f in dataclasses.fields(cls) if (f.default, f.default_factory) != (missing, missing)}
        said = {name: value for name, value in given.items() if value is not None}
        good = read_table(said, cls.rules(), prefix, problems, optional=optional, unknown=unknown)
        return cls(**cls.completed(good, prefix, problems))

    @classmethod
    def read(cls, given: object, prefix: str = "") -> Self:
        """The section of a table.

        Raises:
            InputError: with everything that is wrong in it.
        """
        problems = Problems()
        section = problems.of(cls.draft, given, prefix, problems)
        if section is None or problems:
            raise InputError(problems)
        return section

    def to_dict(self, *without: str) -> dict[str, Any]:
        """Plain data, as JSON has it, that `read` takes; without some keys."""
        return {name: _plain(getattr(self, name)) for name in self.rules() if name not in without}


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


@dataclass(frozen=True, slots=True)
class Within:
    """A table that is a section of its own."""

    kind: type[Section]

    def read(self, given: object, place: str, problems: Problems, unknown: Unknown) -> Section:
        """The section, with defaults in the place of what is wrong."""
        return self.kind.draft(given, f"{place}.", problems, unknown)


@dataclass(frozen=True, slots=True)
class Each:
    """A table whose keys are names that the file chooses, each with a value of one rule."""

    rule: Rule | Table

    def read(self, given: object, place: str, problems: Problems, unknown: Unknown) -> dict[str, Any]:
        """What is right in it."""
        if not isinstance(given, Mapping):
            raise InputError(Problem(place, f"{given!r} should be a table"))
        return read_table(given, dict.fromkeys(given, self.rule), f"{place}.", problems, unknown=unknown)


@dataclass(frozen=True, slots=True)
class Several:
    """A list of values of one rule; what is read is a tuple."""

    rule: Rule

    def __call__(self, given: object, place: str) -> tuple[Any, ...]:
        """The values; raises an `InputError` with everything that is wrong with them."""
        if not isinstance(given, list | tuple):
            raise InputError(Problem(place, f"{given!r} should be a list"))
        problems = Problems()
        found = tuple(problems.of(self.rule, item, f"{place}.{index}") for index, item in enumerate(given))
        problems.finish()
        return found


@dataclass(frozen=True, slots=True)
class Text:
    """A text, of at least one character with `filled`."""

    filled: bool = False

    def __call__(self, value: object, where: str) -> str:
        """The text; raises an `InputError`."""
        if not isinstance(value, str):
            raise InputError(Problem(where, f"{value!r} should be a valid string"))
        if self.filled and not value:
            raise InputError(Problem(where, "'' should have at least 1 character"))
        if "\0" in value:
            raise InputError(Problem(where, f"{value!r} holds a zero character"))
        return value


@dataclass(frozen=True, slots=True)
class Bounded(Number):
    """A number of which a message names only the bound that it breaks."""

    def __call__(self, value: object, where: str) -> float:
        """The number; raises an `InputError`."""
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(Problem(where, f"{value} should be a finite number"))
        return Number.__call__(self, value, where)

    def words(self, number: float | None) -> str:
        """The broken bound."""
        if number is None or not math.isfinite(number):
            return ""
        too_little = number < self.low or (self.above and number == self.low)
        bound = self.low if too_little else self.high
        sign = (">" if self.above else "≥") if too_little else ("<" if self.below else "≤")
        return f"{sign} {bound if self.whole else float(bound)}"


def whole(low: float, high: float = math.inf) -> Rule:
    """A whole number from `low` to `high`."""
    return Bounded(low, high, whole=True, kind="should be a valid integer")


def real(low: float = -math.inf, high: float = math.inf, *, above: bool = False, below: bool = False) -> Rule:
    """A finite number from `low` to `high`, or between them."""
    return Bounded(low, high, above, below, kind="should be a valid number")
