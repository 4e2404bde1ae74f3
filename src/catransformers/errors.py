"""Errors that read like help: what is wrong, where, what is allowed, what to try.

Every mistake of a user ends in one of these; the command line prints them without a traceback and
exits with `exit_code`. Checks collect `Problem`s, so that all mistakes are told at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

SHOWN = 12  # names of a long list that a message tells


class CatransformersWarning(UserWarning):
    """A result stands, but the reader should know something about it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: `where` (file, key), `what` is wrong, what is `allowed`, a `hint` to try."""

    where: str
    what: str
    allowed: str = ""
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}"
        if self.allowed:
            text += f"; allowed: {self.allowed}"
        if self.hint:
            text += f" ({self.hint})"
        return text


class CatransformersError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_code: ClassVar[int] = 1


class InputError(CatransformersError):
    """What the user gave is wrong; carries every problem found."""

    exit_code: ClassVar[int] = 2

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@contextmanager
def writing(place: object) -> Iterator[None]:
    """Have a file or folder that cannot be written told as a mistake in its name.

    Raises:
        InputError: in the place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise InputError(Problem(str(place), f"cannot be written: {error.strerror or error}")) from error


class Problems(list[Problem]):
    """The mistakes found so far: readers run one after another, and all mistakes are told at once.

    >>> problems = Problems()
    >>> number = problems.of(whole_number, text, "--seed")  # None where that raised
    >>> problems.finish()  # raises what was found
    """

    def of(self, reader: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What the reader returns, or None when it raised an `InputError`, whose problems are kept."""
        try:
            return reader(*args, **kwargs)
        except InputError as error:
            self.extend(error.problems)
            return None

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Keep the problems of an `InputError` that is raised within; the rest of the block is left out then."""
        try:
            yield
        except InputError as error:
            self.extend(error.problems)

    def finish(self) -> None:
        """Raise everything that was found.

        Raises:
            InputError: if there was any mistake.
        """
        if self:
            raise InputError(self)


def present(value: T | None) -> T:
    """A value that an earlier check has found to be there; for type checkers, which cannot know.

    >>> problems.finish()
    >>> run(present(number))
    """
    if value is None:
        raise AssertionError("a value that was checked before is missing")
    return value


class InfeasibleError(CatransformersError):
    """Nothing satisfies the limits: which limit, by how much, and which inputs (levers) would relax it.

    Args:
        statement: what cannot be kept.
        demand: the least that would do, or the most that was reached.
        bound: the limit.
        unit: of both.
        levers: what the user can do.
        reached: what `demand` is, for the sentence "... is {demand}".
    """

    exit_code: ClassVar[int] = 3

    def __init__(
        self,
        statement: str,
        *,
        demand: float,
        bound: float,
        unit: str,
        levers: Sequence[str] = (),
        reached: str = "the best possible",
    ) -> None:
        self.statement, self.demand, self.bound, self.unit, self.reached = statement, demand, bound, unit, reached
        self.gap = demand - bound
        self.levers = tuple(levers)
        #: What cannot be kept and by how much, without what would help.
        self.shortfall = f"{statement}: {reached} is {demand:.6g} {unit}, the limit is {bound:.6g} {unit}"
        text = self.shortfall
        if self.levers:
            text += "; what would help: " + "; ".join(self.levers)
        super().__init__(text)

    def with_levers(self, levers: Sequence[str]) -> InfeasibleError:
        """The same, with other things that the user can do."""
        return InfeasibleError(
            self.statement, demand=self.demand, bound=self.bound, unit=self.unit, levers=levers, reached=self.reached
        )


class IntegrityError(CatransformersError):
    """A stored file is not what was written: damaged, truncated or replaced."""


def nearest(name: str, options: Iterable[str]) -> str:
    """A hint that offers the valid name nearest to `name`, or an empty string."""
    options = list(options)
    matches = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    if not matches:
        folded = {option.casefold(): option for option in options}
        matches = [folded[m] for m in difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)]
    return f"did you mean {matches[0]!r}?" if matches else ""


def unknown_name(where: str, kind: str, name: str, options: Iterable[str]) -> Problem:
    """The problem of a name that is not registered: lists what is, offers the nearest."""
    options = sorted(options)
    few = options if len(options) <= SHOWN + 3 else options[:SHOWN]  # to leave one or two out saves nothing
    shown = ", ".join(few) + (f", … ({len(options)} in all)" if len(few) < len(options) else "")
    return Problem(where, f"unknown {kind} {name!r}", allowed=shown, hint=nearest(name, options))
