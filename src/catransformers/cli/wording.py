"""What `train`, `evaluate` and `export` say alike: problems in the words of their options, accuracies in per cent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from catransformers.errors import InputError, Problem

#: Key of a study → option, where it is not the key's own name.
_OPTIONS = {"accuracy.workers": "--data-workers", "model.base": "--model", "accuracy.pool_samples": "--samples"}
_KEY = re.compile(r"(accuracy|model)\.(\w+)")


def in_options(problems: Iterable[Problem], given: Mapping[str, object]) -> list[Problem]:
    """Problems, each once, with the option in the place of the key where that option was given.

    Args:
        problems: of keys such as `accuracy.data`.
        given: options by parameter name; None: not given.
    """
    return list(dict.fromkeys(_renamed(problem, given) for problem in problems))


def _renamed(problem: Problem, given: Mapping[str, object]) -> Problem:
    found = _KEY.match(problem.where)
    if found is None:
        return problem
    option = _OPTIONS.get(found[0], f"--{found[2].replace('_', '-')}")
    if given.get(option.removeprefix("--").replace("-", "_")) is None and given.get("model") is None:
        return problem
    hint = problem.hint.replace("with model.classes = ", "with --classes ")
    return replace(problem, where=option + problem.where[found.end() :], hint=hint)


@contextmanager
def options_named(given: Mapping[str, object]) -> Iterator[None]:
    """Have what is raised here speak of options; see `in_options`.

    Raises:
        InputError: what was raised.
    """
    try:
        yield
    except InputError as error:
        raise InputError(in_options(error.problems, given)) from error
