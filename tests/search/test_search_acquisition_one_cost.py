"""Expected hypervolume improvement against its definition: Monte Carlo, the sum over steps, and limiting cases."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit, logit
from scipy.stats import norm

from catransformers.search.acquisition.improvement_increments import IncrementBounds
from catransformers.search.acquisition.one_cost import expected_improvement, improvement_bound, most_promising
from catransformers.search.geometry.pareto import hypervolume, staircase


def random_front(rng, members):
    return staircase(rng.uniform(0.05, 0.9, members), rng.uniform(0.5, 3.0, members), 3.0)


def improvement(steps, accuracy, cost):
    """Hypervolume gained by a design of known accuracy, by its definition."""
    with_it = hypervolume([*steps.levels, accuracy], [*steps.costs, cost], steps.reference_cost)
    return with_it - steps.hypervolume


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_monte_carlo(seed):
    rng = np.random.default_rng(seed)
    steps = random_front(rng, 6)
    mean, deviation, cost = rng.normal(0, 1.2, 5), rng.uniform(0.05, 0.8, 5), rng.uniform(0.6, 2.8, 5)
    exact = expected_improvement(mean, deviation, cost, steps)
    draws = norm.ppf((np.arange(4000) + 0.5) / 4000)  # stratified, so that 4,000 do
    for i in range(5):
        sampled = [improvement(steps, expit(mean[i] + deviation[i] * x), cost[i]) for x in draws]
        assert exact[i] == pytest.approx(np.mean(sampled), rel=2e-3, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equals_the_sum_of_step_widths_times_expected_improvements(seed):
    """The form of the design's section 4.5, each EI by adaptive quadrature."""
    rng = np.random.default_rng(seed)
    steps = random_front(rng, int(rng.integers(0, 7)))
    mean, deviation, cost = float(rng.normal(0, 1.5)), float(rng.uniform(0.05, 1.0)), float(rng.uniform(0.4, 3.2))

    def ei(level):
        points = [p for p in (float(expit(mean + k * deviation)) for k in (-4, -2, 0, 2, 4)) if level < p < 1]
        above = lambda y: norm.sf((logit(y) - mean) / deviation)  # noqa: E731
        return quad(above, level, 1, points=points or None, limit=300)[0]

    ends = np.append(steps.costs, steps.reference_cost)
    starts, levels = np.concatenate(([-np.inf], steps.costs)), np.concatenate(([0.0], steps.levels))
    widths = np.maximum(ends - np.maximum(starts, cost), 0)
    expected = sum(w * ei(f) for w, f in zip(widths, levels, strict=True) if w > 0)
    found = expected_improvement(np.array([mean]), np.array([deviation]), np.array([cost]), steps)
    assert found[0] == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_without_doubt_it_is_the_improvement_itself():
    steps = staircase([0.3, 0.6, 0.8], [1.0, 1.5, 2.0], 3.0)
    for accuracy, cost in ((0.7, 1.2), (0.5, 1.6), (0.9, 0.5), (0.2, 0.9), (0.65, 2.5)):
        found = expected_improvement(np.array([logit(accuracy)]), np.array([1e-3]), np.array([cost]), steps)
        assert found[0] == pytest.approx(improvement(steps, accuracy, cost), abs=2e-3)


def test_nothing_to_gain_beyond_the_reference_or_without_an_accelerator():
    steps = staircase([0.5], [1.0], 2.0)
    mean, deviation = np.full(3, 2.0), np.full(3, 0.3)
    found = expected_improvement(mean, deviation, np.array([2.0, np.inf, 1.9]), steps)
    assert list(found[:2]) == [0, 0]
    assert found[2] > 0


def test_more_of_anything_good_promises_more():
    steps = staircase([0.3, 0.6], [1.0, 2.0], 3.0)
    cost = np.linspace(0.5, 2.9, 20)
    by_cost = expected_improvement(np.zeros(20), np.full(20, 0.4), cost, steps)
    assert np.all(np.diff(by_cost) < 0)
    mean = np.linspace(-3, 3, 20)
    by_mean = expected_improvement(mean, np.full(20, 0.4), np.full(20, 1.5), steps)
    assert np.all(np.diff(by_mean) > 0)


def test_chunks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    steps = random_front(rng, 5)
    mean, deviation, cost = rng.normal(size=300), rng.uniform(0.1, 0.5, 300), rng.uniform(0.5, 3.5, 300)
    whole = expected_improvement(mean, deviation, cost, steps)
    monkeypatch.setattr("catransformers.search.acquisition.one_cost.PART", 1)
    assert expected_improvement(mean, deviation, cost, steps) == pytest.approx(whole, rel=1e-5, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_bound_holds_and_the_most_promising_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    steps = random_front(rng, int(rng.integers(0, 8)))
    n = 200
    mean, deviation, cost = rng.normal(-0.5, 2, n), rng.uniform(0.03, 1.5, n), rng.uniform(0.3, 3.5, n)
    cost[rng.random(n) < 0.1] = np.inf
    every = expected_improvement(mean, deviation, cost, steps)
    table = IncrementBounds.of(mean, deviation, steps.levels[::-1], steps.reference_level)
    bound = improvement_bound(table, mean, deviation, cost, steps)
    assert np.all(every <= bound + 1e-12)
    likely = every > 1e-3 * every.max(initial=0)
    assert np.median(bound[likely] / every[likely]) < 1.5 if likely.any() else True
    position, gain = most_promising(mean, deviation, cost, steps)
    assert gain == pytest.approx(every.max(), rel=1e-6)
    assert every[position] == pytest.approx(every.max(), rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 40, 1024]))
def test_costs_are_asked_for_where_they_matter_and_the_choice_is_the_same(seed, part):
    rng = np.random.default_rng(seed)
    steps = random_front(rng, int(rng.integers(0, 8)))
    n = 300
    mean, deviation, cost = rng.normal(-0.5, 2, n), rng.uniform(0.03, 1.5, n), rng.uniform(0.3, 3.5, n)
    cost[rng.random(n) < 0.1] = np.inf
    at_least = np.minimum(cost, 4) * rng.uniform(0.8, 1, n)
    asked: list[int] = []

    def exact(some):
        asked.extend(some.tolist())
        return cost[some]

    with patch.multiple("catransformers.search.acquisition.one_cost", PART=part, BATCH=part):
        position, gain = most_promising(mean, deviation, at_least, steps, exact=exact)
        whole = most_promising(mean, deviation, cost, steps)
    assert (position, gain) == (whole[0], pytest.approx(whole[1], rel=1e-6))
    assert len(asked) == len(set(asked))
    if part < n and gain > 1e-3:
        assert len(asked) < n


def test_the_most_promising_is_found_in_batches(monkeypatch):
    rng = np.random.default_rng(0)
    steps = random_front(rng, 5)
    mean, deviation, cost = rng.normal(size=300), rng.uniform(0.1, 0.5, 300), rng.uniform(0.5, 3.5, 300)
    whole = most_promising(mean, deviation, cost, steps)
    monkeypatch.setattr("catransformers.search.acquisition.one_cost.BATCH", 7)
    assert most_promising(mean, deviation, cost, steps)[0] == whole[0]
