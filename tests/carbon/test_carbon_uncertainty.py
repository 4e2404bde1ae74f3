from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from catransformers.carbon.factors import FACTOR_NAMES, factor_ranges, typical_factors
from catransformers.carbon.footprint import footprint, footprint_range
from catransformers.carbon.ranges import Range
from catransformers.carbon.scenario import SCENARIO_NAMES, named_scenario, scenario_from_mapping
from catransformers.carbon.uncertainty import (
    draw_factors,
    front_probability,
    probability_less,
    sample_totals,
    tornado,
    total_quantiles,
)
from catransformers.errors import InputError


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_quantiles_of_a_range(a, b, c, u, v):
    low, typical, high = sorted((a, b, c))
    spread = Range(low, typical, high)
    least, median, most = spread.quantile(np.array([0.0, 0.5, 1.0]))
    assert (least, median, most) == pytest.approx((low, typical, high), abs=1e-12)
    x, y = spread.quantile(np.array(sorted((u, v))))
    assert low - 1e-12 <= x <= y + 1e-12 <= high + 2e-12


def test_each_side_of_a_range_is_triangular():
    # on either side the density falls linearly to 0 at the end: mean one third of the way out
    x = Range(0.0, 3.0, 9.0).quantile((np.arange(100_000) + 0.5) / 100_000)
    assert x[x < 3].mean() == pytest.approx(3 - 3 / 3, rel=1e-3)
    assert x[x > 3].mean() == pytest.approx(3 + 6 / 3, rel=1e-3)


@pytest.mark.parametrize("name", SCENARIO_NAMES)
def test_factors_are_ordered_and_draws_stay_within(name):
    scenario = named_scenario(name)
    ranges, draws = factor_ranges(scenario), draw_factors(scenario, 1000)
    assert tuple(ranges) == FACTOR_NAMES
    for factor, spread in ranges.items():
        drawn = getattr(draws, factor)
        assert 0 <= spread.low <= spread.typical <= spread.high
        assert spread.low <= drawn.min()
        assert drawn.max() <= spread.high
        assert np.median(drawn) == pytest.approx(spread.typical, rel=0.01)


def test_stratified_draws_are_independent():
    draws = draw_factors(named_scenario("default"), 4000)
    varying = [getattr(draws, name) for name in FACTOR_NAMES if np.ptp(getattr(draws, name)) > 0]
    correlations = np.corrcoef(varying) - np.eye(len(varying))
    assert len(varying) == len(FACTOR_NAMES)
    assert np.abs(correlations).max() < 0.06


def test_same_seed_same_numbers_other_seed_others():
    arguments = (np.array([1e-6, 1e-5]), 0.01, True, named_scenario("default"))
    first, again, other = (np.array(footprint_range(*arguments, samples=500, seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_other_ranges_leave_the_other_factors_draws_alone():
    one = draw_factors(named_scenario("default"), 100)
    two = draw_factors(scenario_from_mapping("default", {"use_region": "DE"}, "test"), 100)
    assert np.array_equal(one.dram_kg_per_gb, two.dram_kg_per_gb)
    assert not np.array_equal(one.use_intensity_kg_per_kwh, two.use_intensity_kg_per_kwh)


@pytest.mark.parametrize("name", SCENARIO_NAMES)
def test_the_range_surrounds_the_figure(name):
    scenario = named_scenario(name)
    area, energy, needs = np.geomspace(1e-7, 1e-4, 40), np.geomspace(1e-4, 1, 40), np.arange(40) % 2 == 0
    p5, p50, p95 = footprint_range(area, energy, needs, scenario)
    total = footprint(area, energy, needs, scenario).total_kg
    assert np.all((p5 < p50) & (p50 < p95))
    assert np.all((p5 < total) & (total < p95))
    assert p50 == pytest.approx(total, rel=0.25)  # sums of lopsided ranges move a little to their longer side


def test_no_uncertainty_no_range():
    scenario = named_scenario("default")
    typical = typical_factors(scenario)
    draws = replace(typical, **{name: np.full(10, getattr(typical, name)) for name in FACTOR_NAMES})
    totals = sample_totals(1e-5, 0.01, True, scenario, draws)
    assert totals == pytest.approx(float(footprint(1e-5, 0.01, True, scenario).total_kg))


def test_quantiles_agree_with_numpy_across_chunks():
    scenario = named_scenario("always-on")
    draws = draw_factors(scenario, 5000)
    area = np.geomspace(1e-7, 1e-4, 150).reshape(3, 50)  # more than one chunk
    totals = sample_totals(area, 0.001, False, scenario, draws)
    levels = (0.0, 0.05, 0.5, 0.95, 1.0)
    quantiles = total_quantiles(area, 0.001, False, scenario, draws, probabilities=levels)
    assert totals.shape == (3, 50, 5000)
    assert quantiles == pytest.approx(np.quantile(totals, levels, axis=-1), rel=1e-12)


def test_many_draws_of_one_factor_give_its_distribution():
    """Use alone on a grid without a range: the total is linear in one factor, so its quantiles are the factor's."""
    scenario = scenario_from_mapping("always-on", {"use_region": 481}, "test")
    energy = 1e9  # all else vanishes beside it
    p5, _, p95 = footprint_range(0.0, energy, False, scenario, samples=20_000)
    spread = factor_ranges(scenario)["energy_relative"]
    kg = energy * scenario.inferences / 3.6e6 * 0.481
    assert p5 / kg == pytest.approx(float(spread.quantile(np.array(0.05))), rel=1e-3)
    assert p95 / kg == pytest.approx(float(spread.quantile(np.array(0.95))), rel=1e-3)


def test_comparisons_share_their_draws():
    """A design that is slightly better in every respect is surely better, though the ranges overlap."""
    scenario = named_scenario("always-on")
    area, energy = np.array([1.0e-5, 1.01e-5]), np.array([0.0010, 0.00101])
    draws = draw_factors(scenario, 1000)
    better, worse = sample_totals(area, energy, False, scenario, draws)
    assert better.max() > worse.min()
    assert probability_less(better, worse) == 1
    assert probability_less(worse, better) == 0
    assert probability_less(better, better) == 0.5


def test_a_trade_of_silicon_for_energy_is_not_sure():
    scenario = named_scenario("always-on")
    area, energy = np.array([1.0e-5, 2.0e-5]), np.array([0.0010, 0.0008])
    small, frugal = sample_totals(area, energy, False, scenario, draw_factors(scenario, 4000))
    assert 0.02 < probability_less(small, frugal) < 0.98


def brute_force_front(totals, accuracies):
    member = np.zeros(totals.shape)
    for draw in range(totals.shape[1]):
        for i in range(len(accuracies)):
            beaten = any(
                accuracies[j] >= accuracies[i]
                and totals[j, draw] <= totals[i, draw]
                and (accuracies[j] > accuracies[i] or totals[j, draw] < totals[i, draw])
                for j in range(len(accuracies))
            )
            member[i, draw] = not beaten
    return member.mean(axis=1)


small_integers = st.integers(0, 4).map(float)


@given(arrays(float, (6, 5), elements=small_integers), arrays(float, 6, elements=small_integers))
def test_front_probability_matches_brute_force(totals, accuracies):
    assert front_probability(totals, accuracies) == pytest.approx(brute_force_front(totals, accuracies))


def test_tornado():
    scenario = named_scenario("always-on")
    swings = tornado(1e-5, 0.001, False, scenario)
    assert {swing.factor for swing in swings} == set(FACTOR_NAMES)
    assert all(wide.width_kg >= narrow.width_kg for wide, narrow in pairwise(swings))
    assert [swing.factor for swing in swings[:2]] == ["energy_relative", "use_intensity_kg_per_kwh"]
    use = float(footprint(1e-5, 0.001, False, scenario).operational_kg)
    assert swings[0].width_kg == pytest.approx((2.5 - 0.6) * use)
    assert swings[1].width_kg == pytest.approx(0.4 * use)
    by_name = {swing.factor: swing for swing in swings}
    assert by_name["dram_kg_per_gb"].width_kg == by_name["package_kg_per_ic"].width_kg == 0
    total = float(footprint(1e-5, 0.001, False, scenario).total_kg)
    assert all(swing.low_kg <= total + 1e-12 and total <= swing.high_kg + 1e-12 for swing in swings)


def test_the_hardware_model_is_in_doubt_and_all_designs_share_the_doubt():
    """With no other factor uncertain, area and energy scale every design's die and use by the same drawn numbers."""
    scenario = scenario_from_mapping("paper", {"use_region": 224, "fab_region": 642, "dram": "never"}, "test")
    typical, draws = typical_factors(scenario), draw_factors(scenario, 200)
    only = replace(typical, area_relative=draws.area_relative, energy_relative=draws.energy_relative)
    only = replace(only, use_intensity_kg_per_kwh=np.full(200, typical.use_intensity_kg_per_kwh))
    totals = sample_totals(np.array([1e-6, 4e-6]), np.array([0.0, 0.02]), False, scenario, only)
    made = footprint(np.array([1e-6, 4e-6]), np.array([0.0, 0.02]), False, scenario)
    for row in (0, 1):
        expected = made.die_kg[row] * draws.area_relative + made.operational_kg[row] * draws.energy_relative
        assert totals[row] == pytest.approx(expected)


def test_too_few_samples():
    with pytest.raises(InputError, match="samples"):
        footprint_range(1e-6, 1.0, False, named_scenario("paper"), samples=1)
