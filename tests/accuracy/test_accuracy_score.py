"""Scores: properties of the mean, its clustered error and paired differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catransformers.accuracy.metrics.score import Score, clustered_standard_error, paired_difference, score_of
from catransformers.errors import InputError

VALUES = st.lists(st.floats(0, 1), min_size=2, max_size=30)


def grouped(values: list[float], number: int) -> Score:
    return score_of(np.array(values), np.arange(len(values)) % number)


@settings(deadline=None)
@given(VALUES)
def test_each_thing_is_its_own_group_unless_told(values: list[float]) -> None:
    score = score_of(np.array(values))
    assert score.accuracy == pytest.approx(np.mean(values))
    assert score.standard_error == pytest.approx(np.std(values, ddof=1) / math.sqrt(len(values)), abs=1e-12)
    assert score.metrics == {}
    assert len(set(score.groups.tolist())) == len(values)


@settings(deadline=None)
@given(VALUES, st.integers(2, 5), st.floats(0.1, 3), st.floats(-2, 2))
def test_errors_scale_with_the_values_and_do_not_see_a_shift(
    values: list[float], number: int, factor: float, shift: float
) -> None:
    groups = np.arange(len(values)) % number
    error = clustered_standard_error(np.array(values), groups)
    assert error >= 0
    moved = clustered_standard_error(factor * np.array(values) + shift, groups)
    assert moved == pytest.approx(factor * error, abs=1e-9)


@settings(deadline=None)
@given(VALUES, st.integers(2, 5), st.data())
def test_a_difference_turns_its_sign_with_its_sides(values: list[float], number: int, data: st.DataObject) -> None:
    other = data.draw(st.lists(st.floats(0, 1), min_size=len(values), max_size=len(values)))
    a, b = grouped(values, number), grouped(other, number)
    difference, error = paired_difference(a, b)
    back, same_error = paired_difference(b, a)
    assert difference == pytest.approx(a.accuracy - b.accuracy, abs=1e-12)
    assert back == pytest.approx(-difference, abs=1e-12)
    assert same_error == pytest.approx(error, abs=1e-12)
    assert paired_difference(a, a) == (0, 0)


def test_a_difference_that_is_the_same_everywhere_is_certain() -> None:
    a, b = grouped([0.9, 0.4, 0.7, 0.6], 2), grouped([0.8, 0.3, 0.6, 0.5], 2)
    difference, error = paired_difference(a, b)
    assert difference == pytest.approx(0.1)
    assert error == pytest.approx(0, abs=1e-12)
    assert a.standard_error > 0


def test_whole_numbers_count_as_values_and_metrics_are_kept() -> None:
    score = score_of(np.array([1, 0, 1, 1]), metrics={"loss": 2.0})  # type: ignore[arg-type]
    assert score.values.dtype == np.float64
    assert score.accuracy == 0.75
    assert score.metrics == {"loss": 2.0}


def test_nothing_to_judge_and_different_pools_are_refused() -> None:
    with pytest.raises(InputError, match="nothing to judge"):
        score_of(np.zeros(0))
    with pytest.raises(InputError, match="different pools"):
        paired_difference(grouped([0, 1, 1, 0], 2), grouped([0, 1, 1, 0], 3))
    assert grouped([0, 1], 1).standard_error == math.inf
