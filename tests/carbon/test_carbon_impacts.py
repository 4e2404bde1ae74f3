import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catransformers.carbon.footprint import footprint
from catransformers.carbon.grid import region_intensity
from catransformers.carbon.impacts import IMPACTS, fab_kwh, impact_factor, impact_footprint, other_impacts, use_kwh
from catransformers.carbon.scenario import named_scenario, scenario_from_mapping
from catransformers.errors import InputError
from catransformers.facts import facts


def changed(base="default", **keys):
    return scenario_from_mapping(base, keys, "test")


def test_water_of_a_kilowatt_hour():
    assert impact_factor("water", region_intensity("US-CA")).per_kwh.typical == 5.189329
    assert impact_factor("water", region_intensity("world")).per_kwh.typical == 3.908
    assert impact_factor("water", named_scenario("default").use).place == "US-CA"


def test_a_state_without_its_own_factor_gets_its_countrys_and_says_so():
    found = impact_factor("primary_energy", region_intensity("US-CA"))
    assert (found.place, found.stands_in) == ("USA", True)
    assert found.per_kwh.typical == 9.6884
    assert not impact_factor("water", region_intensity("US-TX")).stands_in


def test_what_is_not_known_is_none_and_no_total_is_made_of_a_half():
    assert impact_factor("water", region_intensity(481)) is None
    assert impact_factor("minerals", region_intensity("world")) is None
    found = impact_footprint("minerals", 1e-5, 1e-5, named_scenario("always-on"))
    assert found.use is None
    assert found.fab is not None
    assert found.total is found.low is found.high is None
    assert json.loads(json.dumps(found.to_dict()))["total"] is None


def test_by_hand():
    """10 mm² at 22 nm and yield 0.875 in Taiwan; 10 mJ an inference for 94,608,000 of them in California."""
    scenario = changed("paper", pue=1.5, site_water_l_per_kwh=1.8)
    made = 0.1 * 1.077 / 0.875
    used = 0.01 * 94_608_000 / 3.6e6
    water = impact_footprint("water", 1e-5, 0.01, scenario)
    assert water.fab == pytest.approx(made * 1.4886)
    assert water.use == pytest.approx(used * 1.5 * 5.189329)
    assert water.site == pytest.approx(used * 1.8)  # per kWh of the device, not of the building
    assert water.total == pytest.approx(made * 1.4886 + used * 1.5 * 5.189329 + used * 1.8)
    energy = impact_footprint("primary_energy", 1e-5, 0.01, scenario)
    assert energy.total == pytest.approx(made * 10.9587 + used * 1.5 * 9.6884)
    assert energy.site == 0
    minerals = impact_footprint("minerals", 1e-5, 0.01, scenario)
    assert minerals.total == pytest.approx(made * 5.781e-8 + used * 1.5 * 9.855e-8)


def test_the_electricity_is_that_of_the_carbon():
    for keys in ({}, {"chiplets": 3, "chiplet_area_overhead": 0.2}, {"wafer_diameter_mm": 300}, {"duty": 0.3}):
        scenario = changed(use_region=300, fab_region=500, package="none", dram="never", **keys)
        dirtier = changed(use_region=300, fab_region=600, package="none", dram="never", **keys)
        made, more = (footprint(2e-4, 0.01, False, s).die_kg for s in (scenario, dirtier))
        assert fab_kwh(2e-4, scenario) * 0.1 == pytest.approx(more - made)
        assert use_kwh(0.01, scenario) * 0.3 == pytest.approx(footprint(2e-4, 0.01, False, scenario).operational_kg)


@given(st.floats(0, 1e-3), st.floats(0, 1), st.floats(0, 1))
def test_linear_in_energy_and_ordered(area, energy, more):
    scenario = changed(use_region="US-CA")
    for name in IMPACTS:
        one, both, none = (impact_footprint(name, area, e, scenario) for e in (energy, energy + more, 0.0))
        extra = impact_footprint(name, 0.0, more, scenario)
        assert both.total == pytest.approx(one.total + extra.total)
        assert one.low <= one.total * (1 + 1e-12)
        assert one.total <= one.high * (1 + 1e-12)
        assert none.total == pytest.approx(float(none.fab))


def test_broadcasts():
    found = other_impacts(np.array([1e-6, 2e-6]), np.array([[0.1], [0.2], [0.3]]), changed(use_region="FR"))
    assert set(found) == set(IMPACTS)
    assert found["water"].total.shape == (3, 2)


def test_an_unknown_impact():
    with pytest.raises(InputError, match="did you mean 'minerals'"):
        impact_factor("mineral", region_intensity("FR"))


def test_no_kilowatt_hour_takes_less_primary_energy_than_it_holds():
    for name, fact in facts("grid_energy_minerals").items():
        if name.startswith("primary_energy"):
            assert fact.low >= 3.6
