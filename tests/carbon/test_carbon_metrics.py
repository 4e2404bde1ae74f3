import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.carbon import metrics
from catransformers.carbon.footprint import footprint
from catransformers.carbon.scenario import named_scenario, scenario_from_mapping


def test_products():
    assert metrics.tcdp(2.0, 0.5) == 1.0
    assert metrics.cdp(2.0, 0.25) == 0.5
    assert metrics.cep(3.0, 2.0) == 6.0
    assert metrics.c2ep(3.0, 2.0) == 18.0
    assert np.array_equal(metrics.tcdp(np.array([1.0, 2.0]), 0.5), [0.5, 1.0])


def test_software_carbon_intensity():
    """A 1000 kg server kept for 4 years, used for an hour: 28.54 g."""
    share = metrics.embodied_share_kg(1000.0, 3600, 4 * 365 * 86400)
    assert share == pytest.approx(0.02854, abs=5e-6)
    assert metrics.sci(0.0, 0.5, share, 1) == pytest.approx(0.0285388, abs=1e-7)
    # 2 kWh at 0.5 kg and the share, over 10 requests
    assert metrics.sci(7.2e6, 0.5, share, 10) == pytest.approx((1 + share) / 10)
    assert metrics.embodied_share_kg(1000.0, 3600, 4 * 365 * 86400, 0.25) == pytest.approx(share / 4)


def test_a_prediction():
    assert metrics.energy_per_prediction_j(0.5, 1.2) == pytest.approx(0.6)
    assert metrics.carbon_per_prediction_kg(0.94608, 94_608_000) == pytest.approx(1e-8)


@given(st.floats(1e-4, 1), st.floats(1e-7, 1e-4))
def test_break_even_is_where_use_equals_manufacture(energy, area):
    scenario = named_scenario("default")
    embodied = float(footprint(area, energy, True, scenario).embodied_kg)
    rate, intensity = scenario.inferences_per_second, scenario.use_intensity_kg_per_kwh
    years = float(metrics.break_even_years(embodied, energy, rate, intensity))
    then = scenario_from_mapping("default", {"lifetime_years": years}, "test")
    assert footprint(area, energy, True, then).operational_kg == pytest.approx(embodied)
    grid = float(metrics.break_even_intensity_kg_per_kwh(embodied, energy, scenario.inferences))
    there = scenario_from_mapping("default", {"use_intensity_g_per_kwh": 1000 * grid}, "test")
    assert footprint(area, energy, True, there).operational_kg == pytest.approx(embodied)


def test_never_is_infinite():
    assert metrics.break_even_years(1.0, 0.5, 1.0, 0.0) == np.inf
    assert metrics.break_even_intensity_kg_per_kwh(1.0, 0.5, 0.0) == np.inf
    assert metrics.payback_units(57.0, np.array([0.57, 0.0, -1.0])) == pytest.approx([100.0, np.inf, np.inf])
