"""Every quantity as objective and as limit, against brute force; carbon's quantile against its draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_spaces import random_case, repeated

from catransformers.carbon.footprint import footprint_range
from catransformers.carbon.metrics import tcdp
from catransformers.carbon.scenario import named_scenario
from catransformers.designs.limits import Limits
from catransformers.designs.quantities import OBJECTIVES, OF_DESIGNS, QUANTITIES, Objectives
from catransformers.search.costs.carbon_quantile import STEP, QuantileCarbon
from catransformers.search.costs.cheapest import cheapest
from catransformers.search.costs.designs import designs, no_accelerator, shortfall

SCENARIO = named_scenario("default")
LIMITED = OF_DESIGNS


def brute_force(stacks, silicon, quantity, limits):
    least = []
    for model in range(len(stacks)):
        found = designs(stacks.one(model), silicon, Limits(**limits), parameters=1)
        best = found.best(quantity)
        least.append(np.inf if best is None else found.quantity(quantity)[best])
    return np.array(least)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(OBJECTIVES), st.sets(st.sampled_from(LIMITED), max_size=3))
def test_the_cheapest_under_any_limits_equals_brute_force(seed, quantity, limited):
    rng, stacks, silicon = random_case(seed, count=1 + seed % 3)
    stacks = repeated(stacks, float(rng.choice([1.0, 0.5, 3.0])))
    one = designs(stacks.one(0), silicon, Limits(), parameters=1)
    limits = {n: float(np.quantile(one.quantity(n), rng.random()) * rng.choice([1.003, 2])) for n in limited}
    least, winner = cheapest(stacks, silicon, quantity, Limits(**limits).of_designs())
    expected = brute_force(stacks, silicon, quantity, limits)
    assert least == pytest.approx(expected, rel=1e-12)
    assert np.array_equal(winner == -1, np.isinf(expected))


def test_the_quantities_are_what_their_names_say():
    _, stacks, silicon = random_case(5)
    found = designs(stacks.one(2 * len(stacks.inner) + 1), silicon, Limits(), parameters=1)
    assert found.quantity("tcdp") == pytest.approx(tcdp(found.total_kg, found.latency_s))
    assert found.quantity("power") == pytest.approx(found.energy_j / found.latency_s)
    assert found.quantity("water") == pytest.approx(silicon.water_l + silicon.water_l_per_j * found.life_energy_j)
    assert np.array_equal(found.quantity("tops"), silicon.tops)


@pytest.mark.parametrize("name", OF_DESIGNS)
def test_each_limit_that_is_missed_is_named(name):
    _, stacks, silicon = random_case(11)
    free = designs(stacks.one(0), silicon, Limits(), parameters=1)
    limits = Limits(**{name: float(free.quantity(name).min()) / 2})
    found = designs(stacks.one(0), silicon, limits, parameters=1)
    missed = shortfall(found, limits)
    assert missed is not None
    assert missed.quantity == name
    assert f"objectives.{QUANTITIES[name].limit}" in str(no_accelerator(missed, "the model"))


def test_a_peak_that_is_the_limit_but_for_rounding_keeps_it():
    assert Limits(tops=20.0).of_designs()["tops"] >= 20.000000000000004


@pytest.mark.parametrize("wrong", [(), ("carbon", "carbon"), ("carbon", "latency", "carbon"), ("time",)])
def test_objectives_are_different_known_quantities(wrong):
    with pytest.raises(ValueError, match="quantities"):
        Objectives(wrong)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_quantile_of_carbon_equals_that_of_the_footprint(seed):
    rng = np.random.default_rng(seed)
    area = rng.uniform(1e-6, 60e-6, 5)
    carbon = QuantileCarbon(area, SCENARIO, 0.95)
    energy, resident = 10 ** rng.uniform(-5, 0, (7, 5)), rng.random((7, 5)) < 0.5
    expected = np.stack([footprint_range(area, e, ~r, SCENARIO)[2] for e, r in zip(energy, resident, strict=True)])
    assert carbon(energy, resident, slice(None)) == pytest.approx(expected, rel=2e-4)
    assert carbon(energy[0], resident[0], slice(None)) == pytest.approx(expected[0], rel=1e-12)  # from the draws
    assert carbon(energy[:1] * 1.7, resident[:1], slice(None)) == pytest.approx(
        footprint_range(area, energy[0] * 1.7, ~resident[0], SCENARIO)[2][None], rel=STEP
    )


def test_a_quantile_rises_with_energy_area_and_dram():
    area = np.linspace(1e-6, 80e-6, 8)
    carbon = QuantileCarbon(area, SCENARIO, 0.95)
    energy = np.tile(np.geomspace(1e-3, 1e-1, 60)[:, None], (1, 8))
    streamed = carbon(energy, np.zeros(energy.shape, bool), slice(None))
    resident = carbon(energy, np.ones(energy.shape, bool), slice(None))
    assert np.all(np.diff(streamed, axis=0) > 0)
    assert np.all(np.diff(streamed, axis=1) > 0)
    assert np.all(streamed > resident)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["carbon", "tcdp"]), st.booleans())
def test_the_cheapest_at_a_quantile_equals_brute_force(seed, quantity, limited):
    _, stacks, silicon = random_case(seed, lambda area: QuantileCarbon(area * 1e-5, SCENARIO, 0.95))
    limits = {}
    if limited:
        one = designs(stacks.one(0), silicon, Limits(), parameters=1)
        limits = {"latency": float(np.median(one.latency_s)) * 1.003}
    least, _ = cheapest(stacks, silicon, quantity, limits)
    expected = brute_force(stacks, silicon, quantity, limits)
    assert least == pytest.approx(expected, rel=2e-4)
