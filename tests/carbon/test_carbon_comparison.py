import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.carbon.comparison import Candidate, assess, compare
from catransformers.carbon.footprint import footprint, footprint_range
from catransformers.carbon.scenario import named_scenario, scenario_from_mapping
from catransformers.errors import InputError


def candidate(name="a", area=5e-6, energy=0.01, latency=0.02, idle=1e-4, dram=False, needed=0.0):
    return Candidate(
        name=name,
        area_m2=area,
        energy_j=energy,
        latency_s=latency,
        idle_w=idle,
        needs_dram=dram,
        needed_bytes=needed,
    )


def changed(base="default", **keys):
    return scenario_from_mapping(base, keys, "test")


def test_the_figures_are_those_of_the_footprint_with_the_wait():
    scenario = named_scenario("default")
    found = assess(candidate(), scenario, samples=500)
    life = 0.01 + 1e-4 * (1 - 0.02)
    assert found.life_energy_j == pytest.approx(life)
    made = footprint(5e-6, life, False, scenario)
    assert found.footprint.total_kg == made.total_kg
    assert found.range_kg == pytest.approx(
        [float(x) for x in footprint_range(5e-6, life, False, scenario, samples=500)]
    )
    assert found.split.total_kg == pytest.approx(float(made.embodied_kg))
    assert found.meets_rate
    assert not assess(candidate(latency=2.0), scenario, samples=10).meets_rate


def test_metrics_by_hand():
    found = assess(candidate(idle=0.0), named_scenario("default"), samples=10)
    embodied, total = float(found.footprint.embodied_kg), float(found.footprint.total_kg)
    m = found.metrics
    assert m.tcdp == pytest.approx(total * 0.02)
    assert m.cdp == pytest.approx(embodied * 0.02)
    assert m.cep == pytest.approx(embodied * 0.01)
    assert m.c2ep == pytest.approx(embodied**2 * 0.01)
    assert m.carbon_per_prediction_kg == pytest.approx(total / 94_608_000)
    assert m.sci_operational_kg + m.sci_embodied_kg == pytest.approx(m.carbon_per_prediction_kg)
    assert m.break_even_years == pytest.approx(3 * embodied / (total - embodied))


@given(st.floats(1e-6, 1e-4), st.floats(1e-5, 1), st.floats(-0.1, 0.1), st.floats(0.1, 1))
def test_at_its_break_even_use_has_emitted_as_much_as_manufacture(area, energy, change, duty):
    scenario = changed(use_intensity_change_per_year=change, duty=duty)
    found = assess(candidate(area=area, energy=energy), scenario, samples=2)
    if math.isfinite(found.metrics.break_even_years) and 0.01 < found.metrics.break_even_years < 300:
        then = changed(use_intensity_change_per_year=change, duty=duty, lifetime_years=found.metrics.break_even_years)
        made = footprint(area, found.life_energy_j, False, then)
        assert made.operational_kg == pytest.approx(float(made.embodied_kg), rel=1e-6)
    there = changed(duty=duty, use_region=1e3 * found.metrics.break_even_intensity_kg_per_kwh)
    made = footprint(area, found.life_energy_j, False, there)
    assert made.operational_kg == pytest.approx(float(made.embodied_kg), rel=1e-9)


def test_who_is_ahead_changes_where_it_says():
    small, frugal = candidate("small", area=3e-6, energy=0.02), candidate("frugal", area=9e-6, energy=0.01)
    found = compare(small, frugal, named_scenario("default"), samples=100)
    assert 0 < found.equal_after_years < math.inf
    then = changed(lifetime_years=found.equal_after_years)
    one, other = (float(assess(c, then, samples=2).footprint.total_kg) for c in (small, frugal))
    assert one == pytest.approx(other)
    there = changed(use_region=1e3 * found.equal_at_kg_per_kwh)
    one, other = (float(assess(c, there, samples=2).footprint.total_kg) for c in (small, frugal))
    assert one == pytest.approx(other)
    mirrored = compare(frugal, small, named_scenario("default"), samples=100)
    assert mirrored.equal_after_years == pytest.approx(found.equal_after_years)


def test_a_design_that_is_ahead_for_ever():
    better, worse = candidate(area=3e-6, energy=0.01), candidate(area=4e-6, energy=0.02)
    found = compare(better, worse, named_scenario("default"), samples=100)
    assert found.probability_a_less == 1
    assert found.equal_after_years == found.equal_at_kg_per_kwh == math.inf
    assert found.difference_kg[2] < 0
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["equal_after_years"] is None
    assert [design["design"] for design in plain["designs"]] == ["a", "a"]


def test_a_design_against_itself_is_a_toss():
    found = compare(candidate("a"), candidate("b"), named_scenario("default"), samples=50)
    assert found.probability_a_less == 0.5
    assert found.difference_kg == (0, 0, 0)
    assert found.equal_after_years == math.inf


def test_the_probability_is_within_draws_not_between_ranges():
    """Ranges that overlap almost wholly, and yet no doubt which is better."""
    found = compare(
        candidate(area=5e-6, energy=0.0100), candidate(area=5e-6, energy=0.0101), named_scenario("default"), samples=500
    )
    assert found.a.range_kg[2] > found.b.range_kg[0]
    assert found.probability_a_less == 1


def test_same_seed_same_numbers():
    pair = (candidate("a", area=3e-6, energy=0.02), candidate("b", area=9e-6, energy=0.01))
    one, again, other = (compare(*pair, named_scenario("default"), samples=400, seed=seed) for seed in (3, 3, 4))
    assert one.to_dict() == again.to_dict()
    assert one.difference_kg != other.difference_kg


def test_a_model_gets_a_dram_that_holds_it():
    found = assess(candidate(dram=True, needed=5e9), named_scenario("default"), samples=10)
    assert found.scenario.dram_gb == 8
    assert found.footprint.dram_kg == pytest.approx(8 * 0.0548571, rel=1e-5)
    assert assess(candidate(needed=5e9), named_scenario("default"), samples=10).footprint.dram_kg == 0


def test_every_bad_figure_is_named():
    with pytest.raises(InputError) as caught:
        assess(candidate(area=-1, energy=math.nan, latency=math.inf), named_scenario("default"))
    assert [problem.where for problem in caught.value.problems] == ["a: area_m2", "a: energy_j", "a: latency_s"]
