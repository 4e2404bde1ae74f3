"""The cheapest accelerator of every model, against brute force over all designs, to rounding."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_spaces import random_case

from catransformers.search.costs.cheapest import cheapest
from catransformers.search.costs.designs import designs, shortfall
from catransformers.search.costs.dominance import undominated
from catransformers.search.costs.stacks import Silicon, StackCosts, demand_bytes
from catransformers.search.problem import Limits

QUANTITIES = ("carbon", "latency", "energy", "area")


def brute_force(first, second, silicon, quantity, limits, times):
    least, winner = [], []
    for v, w in product(range(len(first.layers)), range(len(second.layers))):
        found = designs((first, v), (second, w), silicon, Limits(**limits), second_times=times, parameters=1)
        best = found.best(quantity)
        least.append(np.inf if best is None else found.quantity(quantity)[best])
        winner.append(best)
    return np.array(least), winner


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(QUANTITIES), st.sets(st.sampled_from(QUANTITIES)))
def test_equals_brute_force(seed, quantity, limited):
    rng, first, second, silicon = random_case(seed)
    times = float(rng.choice([1.0, 0.5, 3.0]))
    one = designs((first, 0), (second, 0), silicon, Limits(), second_times=times, parameters=1)
    share = 1 + 1e-9  # a limit to the last bit would test the rounding
    limits = {n: float(np.quantile(one.quantity(n), rng.random()) * rng.choice([share, 2])) for n in limited}
    least, winner = cheapest(first, second, silicon, quantity, limits, second_times=times)
    expected, chosen = brute_force(first, second, silicon, quantity, limits, times)
    assert least == pytest.approx(expected, rel=1e-12)
    for model, (mine, other) in enumerate(zip(winner, chosen, strict=True)):
        assert (mine == -1) == (other is None)
        if other is not None:  # equal designs may differ in what nobody asked for
            v, w = divmod(model, len(second.layers))
            found = designs((first, v), (second, w), silicon, Limits(**limits), second_times=times, parameters=1)
            assert found.within[mine]
            assert found.quantity(quantity)[mine] == pytest.approx(expected[model], rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_pruning_keeps_every_possible_winner_whatever_the_chunks(seed):
    _, first, second, silicon = random_case(seed)
    everything = np.arange(silicon.area_m2.size)
    for quantity in (*QUANTITIES, "power"):  # the least power is asked for where nothing keeps a limit on it
        with np.errstate(invalid="raise"):
            kept, _ = cheapest(first, second, silicon, quantity, {"latency": 9.0})
        every, _ = cheapest(first, second, silicon, quantity, {"latency": 9.0}, chosen=everything)
        assert kept == pytest.approx(every, rel=1e-12)


def test_the_least_power_is_looked_for_on_few_accelerators():
    _, first, second, silicon = random_case(7)
    count = silicon.area_m2.size
    assert count > 4
    assert undominated(first, second, silicon, "power", {}).size < count


def test_of_equal_accelerators_exactly_one_stays():
    _, first, second, silicon = random_case(7)

    def repeated(values):
        return np.repeat(values[..., :1], 5, axis=-1)

    names = ("layer_latency_s", "layer_energy_j", "stem_latency_s", "stem_energy_j")
    first, second = (
        StackCosts(**{**e.__dict__, **{name: repeated(getattr(e, name)) for name in names}}) for e in (first, second)
    )
    area, capacity, embodied = map(repeated, (silicon.area_m2, silicon.capacity_bytes, silicon.embodied_kg))
    silicon = Silicon(area, capacity, embodied, np.zeros((2, 5)), 1.0, 1.0)
    assert list(undominated(first, second, silicon, "carbon", dict.fromkeys(QUANTITIES, 0.0))) == [0]


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
    assert list(undominated(stack, stack, silicon, "carbon", {"latency": 1.5})) == [0, 1]
    assert list(undominated(stack, stack, silicon, "carbon", {})) == [0]  # only what the study asks for counts
    leaky = Silicon(np.ones(3), np.full(3, 1e9), np.ones((2, 3)), np.tile([0.3, 0.1, 0.3], (2, 1)), 1e3, 1.0)
    assert list(undominated(stack, stack, leaky, "carbon", {})) == [0, 1]  # what is drawn while waiting counts too


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
    _, winner = cheapest(stack, stack, silicon, "carbon", {})
    assert demand_bytes(stack, stack).ravel().tolist() == [21, 51, 51, 81]
    assert winner.tolist() == [0, 1, 1, 1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_shortfall_names_a_limit_that_is_really_missed(seed):
    rng, first, second, silicon = random_case(seed)
    free = designs((first, 0), (second, 0), silicon, Limits(), second_times=1.0, parameters=10)
    limits = Limits(
        latency=float(np.median(free.latency_s) * rng.choice([0.2, 1, 3])),
        energy=float(np.median(free.energy_j) * rng.choice([0.2, 1, 3])),
    )
    found = designs((first, 0), (second, 0), silicon, limits, second_times=1.0, parameters=10)
    missed = shortfall(found, limits)
    assert (missed is None) == bool(found.within.any())
    if missed is not None:
        assert missed.demand > missed.bound
        error = missed.error("the model")
        assert error.gap > 0
        assert f"max_{missed.quantity}_m" in str(error)


def test_too_many_parameters_is_said_before_anything_else():
    _, first, second, silicon = random_case(3)
    limits = Limits(latency=1e-9, parameters=9)
    found = designs((first, 0), (second, 0), silicon, limits, second_times=1.0, parameters=10)
    missed = shortfall(found, limits)
    assert missed is not None
    assert (missed.quantity, missed.demand, missed.bound) == ("parameters", 10, 9)
    with pytest.raises(Exception, match="10 parameters, the limit is 9"):
        raise missed.error("the model")
