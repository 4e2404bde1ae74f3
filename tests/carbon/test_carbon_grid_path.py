import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.carbon.grid_path import IntensityPath

rates = st.floats(-0.5, 0.5)
lives = st.floats(0.1, 20)
tables = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), min_size=1, max_size=8).map(tuple)


def test_a_constant_grid():
    path = IntensityPath()
    assert path.is_constant
    assert path.mean(0.4, 10) == 0.4
    assert path.years_until(0.4, 2.0) == pytest.approx(5)
    assert path.years_until(0.0, 2.0) == math.inf


def test_a_grid_that_changes_by_a_rate():
    # one year at −50 % a year: ∫ 0.5^t dt = 0.5/ln 2
    assert IntensityPath(-0.5).mean(1.0, 1) == pytest.approx(0.5 / math.log(2))
    # it never emits more than 1/ln 2 in all
    assert IntensityPath(-0.5).years_until(1.0, 1 / math.log(2) + 1e-9) == math.inf
    assert IntensityPath(-0.5).years_until(1.0, 1.0) < math.inf


def test_a_table_of_years():
    path = IntensityPath(by_year_kg_per_kwh=(0.4, 0.3, 0.2))
    assert not path.is_constant
    assert path.cumulative(99.0, 2) == pytest.approx(0.7)  # the table overrides today's value
    assert path.cumulative(99.0, 2.5) == pytest.approx(0.8)
    assert path.cumulative(99.0, 5) == pytest.approx(0.9 + 2 * 0.2)  # the last value holds on
    assert path.years_until(99.0, np.array([0.0, 0.2, 0.4, 0.55, 1.3])) == pytest.approx([0, 0.5, 1, 1.5, 5])


def test_a_grid_that_becomes_clean_and_stays_so():
    path = IntensityPath(by_year_kg_per_kwh=(0.4, 0.0))
    assert path.years_until(0.4, 0.4) == 1
    assert path.years_until(0.4, 0.41) == math.inf
    assert IntensityPath(by_year_kg_per_kwh=(0.0, 1.0)).years_until(0.0, 0.5) == 1.5
    assert IntensityPath(by_year_kg_per_kwh=(0.0,)).years_until(0.0, 0.5) == math.inf


@given(rates, lives)
def test_the_mean_lies_between_both_ends(change, years):
    end = (1 + change) ** years
    assert min(1, end) - 1e-9 <= IntensityPath(change).mean(1.0, years) <= max(1, end) + 1e-9


@given(rates, lives, st.floats(1e-3, 2))
def test_until_is_the_inverse_of_cumulative_for_a_rate(change, years, intensity):
    path = IntensityPath(change)
    assert path.years_until(intensity, path.cumulative(intensity, years)) == pytest.approx(years, rel=1e-6)


@given(tables, lives)
def test_until_is_the_inverse_of_cumulative_for_a_table(table, years):
    path = IntensityPath(by_year_kg_per_kwh=table)
    emitted = path.cumulative(0.0, years)
    reached = float(path.years_until(0.0, emitted))
    assert reached <= years + 1e-9  # earlier only where a clean year adds nothing
    assert path.cumulative(0.0, reached) == pytest.approx(emitted, abs=1e-9)


@given(tables, lives, lives)
def test_cumulative_is_additive_and_rises(table, a, b):
    path = IntensityPath(by_year_kg_per_kwh=table)
    low, high = sorted((a, b))
    assert path.cumulative(0.0, low) <= path.cumulative(0.0, high) + 1e-12
    steps = np.linspace(0, high, 2001)
    middle = [table[min(int(t), len(table) - 1)] for t in (steps[1:] + steps[:-1]) / 2]
    assert path.cumulative(0.0, high) == pytest.approx(
        float(np.sum(middle) * steps[1]), abs=1.1 * steps[1] * len(table)
    )
