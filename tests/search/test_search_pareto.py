"""Fronts and hypervolumes against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from catransformers.search.geometry.pareto import front, hypervolume, staircase

# A coarse grid, so that ties and duplicates happen.
grid = st.integers(0, 12).map(lambda k: k / 12)
designs = st.integers(1, 25).flatmap(
    lambda n: st.tuples(arrays(np.float64, n, elements=grid), arrays(np.float64, n, elements=grid))
)


def dominated(f, c, i):
    return any((f[j] >= f[i] and c[j] <= c[i]) and (f[j] > f[i] or c[j] < c[i]) for j in range(len(f)))


@given(designs)
def test_front_is_the_undominated_designs_once_each(both):
    f, c = both
    members = front(f, c)
    expected = {(f[i], c[i]) for i in range(len(f)) if not dominated(f, c, i)}
    assert {(f[i], c[i]) for i in members} == expected
    assert len(members) == len(expected)
    assert list(c[members]) == sorted(c[members])
    for i in members:  # of equals the first
        assert not any(f[j] == f[i] and c[j] == c[i] for j in range(i))


@given(designs, st.randoms(use_true_random=False))
def test_front_and_hypervolume_do_not_depend_on_order(both, random):
    f, c = both
    order = list(range(len(f)))
    random.shuffle(order)
    assert {(f[i], c[i]) for i in front(f, c)} == {(f[order][i], c[order][i]) for i in front(f[order], c[order])}
    assert hypervolume(f, c, 1.1) == pytest.approx(hypervolume(f[order], c[order], 1.1), abs=1e-12)


@given(designs)
def test_hypervolume_is_the_dominated_area(both):
    f, c = both
    # The area on a lattice as fine as the coordinates, by counting cells.
    reference = 11 / 12
    middle = (np.arange(12) + 0.5) / 12
    cells = sum(
        any(fi >= y and ci <= x for fi, ci in zip(f, c, strict=True))
        for x in middle[middle < reference]
        for y in middle
    )
    assert hypervolume(f, c, reference) == pytest.approx(cells / 144, abs=1e-12)


@given(designs, grid, grid)
def test_another_design_never_makes_it_smaller(both, accuracy, cost):
    f, c = both
    assert hypervolume([*f, accuracy], [*c, cost], 0.9) >= hypervolume(f, c, 0.9) - 1e-15


@given(designs, grid)
def test_staircase_knows_the_least_cost_of_a_level(both, asked):
    f, c = both
    steps = staircase(f, c, 0.95)
    inside = [(fi, ci) for fi, ci in zip(f, c, strict=True) if ci < 0.95]
    if asked > 0:
        assert steps.cost_of(asked) == min([ci for fi, ci in inside if fi >= asked], default=0.95)


def test_infinite_costs_are_no_designs_and_nan_is_refused():
    assert list(front([0.5, 0.9], [1.0, np.inf])) == [0]
    assert list(front([], [])) == []
    assert hypervolume([], [], 1.0) == 0
    with pytest.raises(ValueError, match="not numbers"):
        front([np.nan], [1.0])
    with pytest.raises(ValueError, match="2 accuracies and 1 costs"):
        front([0.1, 0.2], [1.0])
