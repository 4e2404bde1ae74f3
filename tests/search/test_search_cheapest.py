"""The cheapest accelerator of every model, against brute force over all designs, to rounding."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_spaces import random_case, repeated

from catransformers.designs.limits import Limits
from catransformers.designs.table import Silicon
from catransformers.search.costs.cheapest import cheapest
from catransformers.search.costs.designs import designs, no_accelerator, shortfall
from catransformers.search.costs.dominance import undominated
from catransformers.search.costs.stacks import StackCosts, Stacks

QUANTITIES = ("carbon", "latency", "energy", "area")


def twice(stack):
    """Models of two equal stacks."""
    return Stacks((stack, stack), (1.0, 1.0))


def brute_force(stacks, silicon, quantity, limits):
    least, winner = [], []
    for model in range(len(stacks)):
        found = designs(stacks.one(model), silicon, Limits(**limits), parameters=1)
        best = found.best(quantity)
        least.append(np.inf if best is None else found.quantity(quantity)[best])
        winner.append(best)
    return np.array(least), winner


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(QUANTITIES), st.sets(st.sampled_from(QUANTITIES)))
def test_equals_brute_force(seed, quantity, limited):
    rng, stacks, silicon = random_case(seed, count=1 + seed % 3)
    stacks = repeated(stacks, float(rng.choice([1.0, 0.5, 3.0])))
    one = designs(stacks.one(0), silicon, Limits(), parameters=1)
    share = 1 + 1e-9  # a limit to the last bit would test the rounding
    limits = {n: float(np.quantile(one.quantity(n), rng.random()) * rng.choice([share, 2])) for n in limited}
    least, winner = cheapest(stacks, silicon, quantity, limits)
    expected, chosen = brute_force(stacks, silicon, quantity, limits)
    assert least == pytest.approx(expected, rel=1e-12)
    for model, (mine, other) in enumerate(zip(winner, chosen, strict=True)):
        assert (mine == -1) == (other is None)
        if other is not None:  # equal designs may differ in what nobody asked for
            found = designs(stacks.one(model), silicon, Limits(**limits), parameters=1)
            assert found.within[mine]
            assert found.quantity(quantity)[mine] == pytest.approx(expected[model], rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_pruning_keeps_every_possible_winner_whatever_the_chunks(seed):
    _, stacks, silicon = random_case(seed)
    everything = np.arange(silicon.area_m2.size)
    for quantity in (*QUANTITIES, "power"):  # the least power is asked for where nothing keeps a limit on it
        with np.errstate(invalid="raise"):
            kept, _ = cheapest(stacks, silicon, quantity, {"latency": 9.0})
        every, _ = cheapest(stacks, silicon, quantity, {"latency": 9.0}, chosen=everything)
        assert kept == pytest.approx(every, rel=1e-12)


def test_the_least_power_is_looked_for_on_few_accelerators():
    _, stacks, silicon = random_case(7)
    count = silicon.area_m2.size
    assert count > 4
    assert undominated(stacks, silicon, "power", {}).size < count


def test_of_equal_accelerators_exactly_one_stays():
    _, stacks, silicon = random_case(7)

    def alike(values):
        return np.repeat(values[..., :1], 5, axis=-1)

    names = ("layer_latency_s", "layer_energy_j", "stem_latency_s", "stem_energy_j")
    each = [replace(e, **{name: alike(getattr(e, name)) for name in names}) for e in stacks.each]
    stacks = Stacks(tuple(each), stacks.times)
    area, capacity, embodied = map(alike, (silicon.area_m2, silicon.capacity_bytes, silicon.embodied_kg))
    silicon = Silicon(area, capacity, embodied, np.zeros((2, 5)), 1.0, 1.0)
    assert list(undominated(stacks, silicon, "carbon", dict.fromkeys(QUANTITIES, 0.0))) == [0]


def test_a_strictly_worse_accelerator_goes_and_a_trade_off_stays():
    ones = np.ones((2, 1, 3))
    energy, latency = ones * [1.0, 2.0, 2.0], ones * [2.0, 1.0, 2.0]
    stack = StackCosts(
        layer_latency_s=latency,
        layer_energy_j=energy,
        stem_latency_s=latency,
        stem_energy_j=energy,
        layers=np.array([1, 2]),
        shape=np.array([0, 0]),
        stem=np.array([0, 0]),
        weight_bytes=np.array([10, 20]),
        activation_bytes=np.array([1, 1]),
    )
    silicon = Silicon(np.ones(3), np.full(3, 1e9), np.ones((2, 3)), np.zeros((2, 3)), 1.0, 1.0)
    assert list(undominated(twice(stack), silicon, "carbon", {"latency": 1.5})) == [0, 1]
    assert list(undominated(twice(stack), silicon, "carbon", {})) == [0]  # only what the study asks for counts
    leaky = Silicon(np.ones(3), np.full(3, 1e9), np.ones((2, 3)), np.tile([0.3, 0.1, 0.3], (2, 1)), 1e3, 1.0)
    assert list(undominated(twice(stack), leaky, "carbon", {})) == [0, 1]  # what is drawn while waiting counts too


def test_a_larger_buffer_can_be_worth_its_carbon():
    """The second accelerator is worse in everything but its buffer, which saves the DRAM."""
    stack = StackCosts(
        layer_latency_s=np.ones((2, 1, 2)),
        layer_energy_j=np.ones((2, 1, 2)) * [1.0, 1.1],
        stem_latency_s=np.ones((2, 1, 2)),
        stem_energy_j=np.ones((2, 1, 2)),
        layers=np.array([1, 4]),
        shape=np.array([0, 0]),
        stem=np.array([0, 0]),
        weight_bytes=np.array([10, 40]),
        activation_bytes=np.array([1, 1]),
    )
    area, capacity, embodied = np.array([1.0, 2.0]), np.array([30.0, 100.0]), np.array([[6.0, 7.0], [1.0, 2.0]])
    silicon = Silicon(area, capacity, embodied, np.zeros((2, 2)), 1.0, 1.0)
    _, winner = cheapest(twice(stack), silicon, "carbon", {})
    assert twice(stack).demand_bytes().ravel().tolist() == [21, 51, 51, 81]
    assert winner.tolist() == [0, 1, 1, 1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_shortfall_names_a_limit_that_is_really_missed(seed):
    rng, stacks, silicon = random_case(seed)
    free = designs(stacks.one(0), silicon, Limits(), parameters=10)
    limits = Limits(
        latency=float(np.median(free.latency_s) * rng.choice([0.2, 1, 3])),
        energy=float(np.median(free.energy_j) * rng.choice([0.2, 1, 3])),
    )
    found = designs(stacks.one(0), silicon, limits, parameters=10)
    missed = shortfall(found, limits)
    assert (missed is None) == bool(found.within.any())
    if missed is not None:
        assert missed.demand > missed.bound
        error = no_accelerator(missed, "the model")
        assert error.gap > 0
        assert f"max_{missed.quantity}_m" in str(error)


def test_too_many_parameters_is_said_before_anything_else():
    _, stacks, silicon = random_case(3)
    limits = Limits(latency=1e-9, parameters=9)
    found = designs(stacks.one(0), silicon, limits, parameters=10)
    missed = shortfall(found, limits)
    assert missed is not None
    assert (missed.quantity, missed.demand, missed.bound) == ("parameters", 10, 9)
    with pytest.raises(Exception, match="10 parameters, the limit is 9"):
        raise no_accelerator(missed, "the model")
