"""Increments of expected improvement between levels of accuracy, against quadrature, and their upper bounds."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import logit
from scipy.stats import norm

from catransformers.search.acquisition.improvement_increments import IncrementBounds, increments


def some_levels(rng):
    return np.sort(rng.uniform(0.05, 0.95, int(rng.integers(0, 8))))[::-1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_mass_between_levels_is_that_of_its_definition(seed):
    rng = np.random.default_rng(seed)
    levels, floor = some_levels(rng), float(rng.choice([0.0, 0.03]))
    mean, deviation = rng.normal(0, 1.5, 3), rng.uniform(0.03, 1.0, 3)
    found = increments(mean, deviation, levels, floor)
    assert found.shape == (3, levels.size + 1)
    for i in range(3):
        above = lambda y, i=i: norm.sf((logit(y) - mean[i]) / deviation[i])  # noqa: E731
        steep = [1 / (1 + np.exp(-(mean[i] + k * deviation[i]))) for k in (-4, -2, 0, 2, 4)]
        for k, (high, low) in enumerate(pairwise([1.0, *levels, floor])):
            inside = [y for y in steep if low < y < high]
            expected = quad(above, low, high, points=inside or None, limit=300)[0]
            assert found[i, k] == pytest.approx(expected, rel=1e-4, abs=2e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_table_is_never_below_and_seldom_far_above(seed):
    rng = np.random.default_rng(seed)
    levels, floor = some_levels(rng), float(rng.choice([0.0, 0.03]))
    mean, deviation = rng.normal(-0.5, 2, 400), rng.uniform(0.02, 1.5, 400)
    exact = increments(mean, deviation, levels, floor)
    bound = IncrementBounds.of(mean, deviation, levels, floor).at(mean, deviation)
    assert np.all(exact <= bound + 1e-9)
    likely = exact > 1e-3
    assert np.median(bound[likely] / exact[likely]) < 1.2


@pytest.mark.parametrize("spread", [0.0, 1e-9])
def test_candidates_that_are_all_alike_have_a_table_too(spread):
    mean, deviation = np.array([0.3, 0.3 + spread]), np.array([0.2, 0.2 + spread])
    levels = np.array([0.6, 0.4])
    bound = IncrementBounds.of(mean, deviation, levels).at(mean, deviation)
    assert bound == pytest.approx(increments(mean, deviation, levels), rel=5e-3)
