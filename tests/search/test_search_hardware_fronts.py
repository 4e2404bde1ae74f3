"""Every model's hardware front in two quantities, against brute force over all designs."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_spaces import random_case, repeated

from catransformers.designs.limits import Limits
from catransformers.designs.quantities import OBJECTIVES, OF_DESIGNS
from catransformers.search.costs import hardware_fronts as module
from catransformers.search.costs.designs import designs
from catransformers.search.costs.hardware_fronts import hardware_fronts
from catransformers.search.geometry.regions import front2

PAIRS = list(combinations(OBJECTIVES, 2))


def undominated(first, second):
    """The set of undominated pairs of values, by comparing each with each."""
    pairs = {(a, b) for a, b in zip(first, second, strict=True) if np.isfinite(a)}
    return sorted(p for p in pairs if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in pairs))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(PAIRS), st.sets(st.sampled_from(OF_DESIGNS), max_size=2))
def test_fronts_equal_brute_force(seed, pair, limited):
    rng, stacks, silicon = random_case(seed, count=1 + seed % 3)
    stacks = repeated(stacks, float(rng.choice([1.0, 0.5, 3.0])))
    one = designs(stacks.one(0), silicon, Limits(), parameters=1)
    limits = Limits(**{n: float(np.quantile(one.quantity(n), rng.random()) * rng.choice([1.003, 2])) for n in limited})
    fronts = hardware_fronts(stacks, silicon, pair, limits.of_designs())
    for model in range(len(fronts)):
        found = designs(stacks.one(model), silicon, limits, parameters=1)
        x, y, accelerators = fronts.of(model)
        expected = merged(undominated(*(np.where(found.within, found.quantity(name), np.inf) for name in pair)))
        got = merged(list(zip(x, y, strict=True)))
        assert np.array(got).reshape(-1, 2) == pytest.approx(np.array(expected).reshape(-1, 2), rel=1e-6)
        assert np.all(np.diff(x) >= 0)
        assert np.all(np.diff(y) <= 0)
        assert found.within[accelerators].all()
        for name, values in zip(pair, (x, y), strict=True):
            assert found.quantity(name)[accelerators] == pytest.approx(values, rel=1e-6)
    assert np.array_equal(fronts.feasible, np.diff(fronts.start) > 0)


def merged(pairs):
    """Without points that differ from the one before by rounding alone (fronts are kept in single precision)."""
    kept = []
    for pair in sorted(pairs):
        if not any(np.allclose(pair[k], last[k], rtol=1e-9) for last in kept for k in (0, 1)):
            kept.append(pair)
    return kept


def test_chunks_and_threads_do_not_matter(monkeypatch):
    _, stacks, silicon = random_case(17)
    whole = hardware_fronts(stacks, silicon, ("carbon", "latency"), {})
    monkeypatch.setattr(module, "CHUNK_VALUES", 1)
    monkeypatch.setattr(module, "AT_ONCE", 3)
    parts = hardware_fronts(stacks, silicon, ("carbon", "latency"), {})
    for name in ("start", "first", "second", "accelerator"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_nothing_feasible_is_no_point():
    _, stacks, silicon = random_case(3)
    for limits in ({"latency": 1e-9}, {"area": 1e-9}):
        fronts = hardware_fronts(stacks, silicon, ("carbon", "latency"), limits)
        assert len(fronts) == len(stacks)
        assert not fronts.feasible.any()


def test_models_can_be_left_out():
    _, stacks, silicon = random_case(4)
    fronts = hardware_fronts(stacks, silicon, ("carbon", "latency"), {})
    keep = np.arange(len(fronts)) % 3 == 0
    some = fronts.where(keep)
    assert np.array_equal(some.feasible, keep)
    for model in np.flatnonzero(keep):
        assert all(np.array_equal(a, b) for a, b in zip(some.of(model), fronts.of(model), strict=True))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_front_of_two_costs_by_definition(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 6, 20).astype(float), rng.integers(0, 6, 20).astype(float)
    x[rng.random(20) < 0.1] = np.inf
    members = front2(x, y)
    assert sorted(zip(x[members], y[members], strict=True)) == undominated(x, y)
    assert all(not np.any((x[:k] == x[k]) & (y[:k] == y[k])) for k in members)  # of equals the first
