"""The collector of mistakes: every reader runs, and what each found is told at once."""

import pytest

from catransformers.errors import InputError, Problem, Problems, present


def refuse(*names: str) -> str:
    raise InputError([Problem(name, "is wrong") for name in names])


def test_every_mistake_is_kept_and_raised_at_the_end():
    problems = Problems()
    assert problems.of(int, "3") == 3
    problems.finish()
    assert problems.of(refuse, "a", "b") is None
    with problems.collect():
        refuse("c")
        pytest.fail("the rest of the block is left out")
    problems.append(Problem("d", "is wrong"))
    with pytest.raises(InputError) as caught:
        problems.finish()
    assert [problem.where for problem in caught.value.problems] == ["a", "b", "c", "d"]


def test_other_errors_pass():
    with pytest.raises(ValueError, match="invalid literal"):
        Problems().of(int, "x")


def test_a_value_that_was_checked_is_there():
    assert present(0) == 0
    with pytest.raises(AssertionError, match="missing"):
        present(None)
